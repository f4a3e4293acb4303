"""Defences: a file each, and these tables."""

from defenses.clip import Clip
from defenses.krum import Krum
from defenses.mean import Mean
from defenses.median import Median
from defenses.noise import Noise, Release
from defenses.plain import Plain
from defenses.secure_aggregation import Masked
from defenses.trimmed_mean import TrimmedMean
from lab.parts import Channel, Rule, Stage

RULES = Rule.enter(Mean, Median, TrimmedMean, Krum)
STAGES = Stage.enter(Clip, Noise, Release)
CHANNELS = Channel.enter(Plain, Masked)

__all__ = ["CHANNELS", "RULES", "STAGES"]
