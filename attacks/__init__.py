"""Attacks on the model (poisoning) and on privacy, and their tables."""

from attacks.membership.gradient_ascent import GradientAscent
from attacks.membership.outsider.calibrated_loss import CalibratedLoss
from attacks.membership.outsider.entropy import Entropy
from attacks.membership.outsider.gradient_norm import GradientNorm
from attacks.membership.outsider.lira_offline import LiraOffline
from attacks.membership.outsider.lira_online import LiraOnline
from attacks.membership.outsider.loss_threshold import LossThreshold
from attacks.membership.outsider.quantile_regression import QuantileRegression
from attacks.membership.outsider.rank_ensemble import RankEnsemble
from attacks.membership.outsider.rmia import Rmia
from attacks.membership.outsider.shadow_models import ShadowModels
from attacks.membership.server.fedmia import FedMia
from attacks.membership.server.loss_trajectory import LossTrajectory
from attacks.membership.server.server_lira import ServerLira
from attacks.membership.server.source_inference import SourceInference
from attacks.membership.server.update_cosine import UpdateCosine
from attacks.membership.subject_membership import SubjectMembership
from attacks.poisoning.backdoors.backdoor import Backdoor
from attacks.poisoning.backdoors.dba import Dba
from attacks.poisoning.backdoors.edge_case import EdgeCase
from attacks.poisoning.backdoors.model_replacement import ModelReplacement
from attacks.poisoning.backdoors.neurotoxin import Neurotoxin
from attacks.poisoning.labels.label_flip import LabelFlip
from attacks.poisoning.labels.targeted_flip import TargetedFlip
from attacks.poisoning.updates.alie import Alie
from attacks.poisoning.updates.fang import Fang
from attacks.poisoning.updates.free_rider import FreeRider
from attacks.poisoning.updates.gaussian import Gaussian
from attacks.poisoning.updates.inflated_weight import InflatedWeight
from attacks.poisoning.updates.ipm import Ipm
from attacks.poisoning.updates.mimic import Mimic
from attacks.poisoning.updates.min_max import MinMax
from attacks.poisoning.updates.min_sum import MinSum
from attacks.poisoning.updates.mpaf import Mpaf
from attacks.poisoning.updates.opt_alie import OptAlie
from attacks.poisoning.updates.opt_ipm import OptIpm
from attacks.poisoning.updates.sign_flip import SignFlip
from attacks.poisoning.updates.sybil import Sybil
from attacks.property_inference import PropertyInference
from attacks.reconstruction.analytic.feature_inversion import FeatureInversion
from attacks.reconstruction.analytic.first_layer import FirstLayer
from attacks.reconstruction.analytic.label_counts import LabelCounts
from attacks.reconstruction.analytic.sentences import Sentences
from attacks.reconstruction.analytic.spear import Spear
from attacks.reconstruction.analytic.tabular import Tabular
from attacks.reconstruction.analytic.tokens import Tokens
from attacks.reconstruction.malicious_model.fishing import Fishing
from attacks.reconstruction.malicious_model.imprint import Imprint
from attacks.reconstruction.malicious_model.trap_weights import TrapWeights
from attacks.reconstruction.optimisation.dlg import Dlg
from attacks.reconstruction.optimisation.idlg import Idlg
from attacks.reconstruction.optimisation.inverting_gradients import InvertingGradients
from attacks.secret_exposure import Exposure
from attacks.secure_aggregation.alive_and_dead import AliveAndDead
from attacks.secure_aggregation.captured_neighbourhood import CapturedNeighbourhood
from attacks.secure_aggregation.inconsistent_models import InconsistentModels
from attacks.secure_aggregation.single_out import SingleOut
from attacks.secure_aggregation.sum_difference import SumDifference
from attacks.secure_aggregation.sybils import Sybils
from attacks.secure_aggregation.weak_masks import WeakMasks
from lab.interfaces.poisoning import PoisoningAttack
from lab.interfaces.privacy_attacks import PrivacyAttack

POISONING_ATTACKS = PoisoningAttack.enter(
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
PRIVACY_ATTACKS = PrivacyAttack.enter(
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

__all__ = ["POISONING_ATTACKS", "PRIVACY_ATTACKS"]
