"""Attacks: a file each, and these tables.  Poisons harm the model, spies read private data."""

from attacks.alie import Alie
from attacks.alive_and_dead import AliveAndDead
from attacks.backdoor import Backdoor
from attacks.calibrated_loss import CalibratedLoss
from attacks.captured_neighbourhood import CapturedNeighbourhood
from attacks.dba import Dba
from attacks.dlg import Dlg
from attacks.edge_case import EdgeCase
from attacks.entropy import Entropy
from attacks.exposure import Exposure
from attacks.fang import Fang
from attacks.feature_inversion import FeatureInversion
from attacks.fedmia import FedMia
from attacks.first_layer import FirstLayer
from attacks.fishing import Fishing
from attacks.free_rider import FreeRider
from attacks.gaussian import Gaussian
from attacks.gradient_ascent import GradientAscent
from attacks.gradient_norm import GradientNorm
from attacks.idlg import Idlg
from attacks.imprint import Imprint
from attacks.inconsistent_models import InconsistentModels
from attacks.inflated_weight import InflatedWeight
from attacks.inverting_gradients import InvertingGradients
from attacks.ipm import Ipm
from attacks.label_counts import LabelCounts
from attacks.label_flip import LabelFlip
from attacks.lira_offline import LiraOffline
from attacks.lira_online import LiraOnline
from attacks.loss_threshold import LossThreshold
from attacks.loss_trajectory import LossTrajectory
from attacks.mimic import Mimic
from attacks.min_max import MinMax
from attacks.min_sum import MinSum
from attacks.model_replacement import ModelReplacement
from attacks.mpaf import Mpaf
from attacks.neurotoxin import Neurotoxin
from attacks.opt_alie import OptAlie
from attacks.opt_ipm import OptIpm
from attacks.property_inference import PropertyInference
from attacks.quantile_regression import QuantileRegression
from attacks.rank_ensemble import RankEnsemble
from attacks.rmia import Rmia
from attacks.sentences import Sentences
from attacks.server_lira import ServerLira
from attacks.shadow_models import ShadowModels
from attacks.sign_flip import SignFlip
from attacks.single_out import SingleOut
from attacks.source_inference import SourceInference
from attacks.spear import Spear
from attacks.subject_membership import SubjectMembership
from attacks.sum_difference import SumDifference
from attacks.sybil import Sybil
from attacks.sybils import Sybils
from attacks.tabular import Tabular
from attacks.targeted_flip import TargetedFlip
from attacks.tokens import Tokens
from attacks.trap_weights import TrapWeights
from attacks.update_cosine import UpdateCosine
from attacks.weak_masks import WeakMasks
from lab.parts import Poison, Spy

POISONS = Poison.enter(
    LabelFlip,
    TargetedFlip,
    Backdoor,
    Dba,
    EdgeCase,
    ModelReplacement,
    Neurotoxin,
    Sybil,
    InflatedWeight,
    SignFlip,
    Gaussian,
    Alie,
    Ipm,
    MinMax,
    MinSum,
    Fang,
    Mimic,
    Mpaf,
    OptAlie,
    OptIpm,
    FreeRider,
)
SPIES = Spy.enter(
    FirstLayer,
    Idlg,
    Dlg,
    InvertingGradients,
    Spear,
    Tabular,
    FeatureInversion,
    LabelCounts,
    Tokens,
    Sentences,
    Imprint,
    TrapWeights,
    Fishing,
    LossThreshold,
    Entropy,
    ShadowModels,
    CalibratedLoss,
    QuantileRegression,
    LiraOnline,
    LiraOffline,
    Rmia,
    RankEnsemble,
    GradientNorm,
    UpdateCosine,
    LossTrajectory,
    FedMia,
    ServerLira,
    SourceInference,
    SubjectMembership,
    Exposure,
    GradientAscent,
    PropertyInference,
    SingleOut,
    Sybils,
    CapturedNeighbourhood,
    SumDifference,
    InconsistentModels,
    WeakMasks,
    AliveAndDead,
)

__all__ = ["POISONS", "SPIES"]
