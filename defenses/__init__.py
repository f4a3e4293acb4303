"""Aggregation rules, pre-aggregators, privacy transforms, codecs, channels, and their tables."""

from defenses.aggregation.bulyan import Bulyan
from defenses.aggregation.dnc import DivideAndConquer
from defenses.aggregation.flame import Flame
from defenses.aggregation.fltrust import FlTrust
from defenses.aggregation.geometric_median import GeometricMedian
from defenses.aggregation.krum import Krum
from defenses.aggregation.mda import MinimumDiameter
from defenses.aggregation.meamed import MeanAroundMedian
from defenses.aggregation.mean import Mean
from defenses.aggregation.median import Median
from defenses.aggregation.multi_krum import MultiKrum
from defenses.aggregation.rlr import RobustRate
from defenses.aggregation.signguard import SignGuard
from defenses.aggregation.trimmed_mean import TrimmedMean
from defenses.channels.plain import Plain
from defenses.channels.silent import Silent
from defenses.compression import Half, PowerSgd, Qsgd, Quantise, RandomK, Sign, TopK, Whole
from defenses.pre_aggregation.arc import AdaptiveClipping
from defenses.pre_aggregation.bucketing import Bucketing
from defenses.pre_aggregation.centered_clipping import CenteredClipping
from defenses.pre_aggregation.foolsgold import FoolsGold
from defenses.pre_aggregation.nnm import NearestNeighbours
from defenses.pre_aggregation.norm_bound import NormBound
from defenses.privacy.clipping import Clip
from defenses.privacy.gaussian_noise import Noise, Release
from defenses.secure_aggregation import Masked
from lab.interfaces.aggregation import (
    AggregationRule,
    Channel,
    Codec,
    PreAggregator,
    UpdateTransform,
)

AGGREGATION_RULES = AggregationRule.enter(
    *(Mean, Median, TrimmedMean, MeanAroundMedian, GeometricMedian),
    *(Krum, MultiKrum, Bulyan, MinimumDiameter),
    *(FlTrust, Flame, RobustRate, SignGuard, DivideAndConquer),
)
CODECS = Codec.enter(Whole, TopK, RandomK, Qsgd, Sign, Quantise, PowerSgd, Half)
PREPARATIONS = PreAggregator.enter(
    *(NormBound, CenteredClipping, FoolsGold, NearestNeighbours, Bucketing, AdaptiveClipping)
)
UPDATE_TRANSFORMS = UpdateTransform.enter(
    Clip, Noise, Release, *CODECS.values(), *PREPARATIONS.values()
)
CHANNELS = Channel.enter(Plain, Masked, Silent)

__all__ = ["CHANNELS", "CODECS", "PREPARATIONS", "AGGREGATION_RULES", "UPDATE_TRANSFORMS"]
