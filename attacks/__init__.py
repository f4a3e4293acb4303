"""Attacks: a file each, and these tables.  Poisons harm the model, spies read private data."""

from attacks.alive_and_dead import AliveAndDead
from attacks.backdoor import Backdoor
from attacks.first_layer import FirstLayer
from attacks.idlg import Idlg
from attacks.inconsistent_models import InconsistentModels
from attacks.inverting_gradients import InvertingGradients
from attacks.label_flip import LabelFlip
from attacks.loss_threshold import LossThreshold
from attacks.sign_flip import SignFlip
from attacks.single_out import SingleOut
from attacks.sum_difference import SumDifference
from attacks.sybils import Sybils
from attacks.weak_masks import WeakMasks
from lab.parts import Poison, Spy

POISONS = Poison.enter(LabelFlip, SignFlip, Backdoor)
SPIES = Spy.enter(
    FirstLayer,
    Idlg,
    InvertingGradients,
    LossThreshold,
    SingleOut,
    Sybils,
    SumDifference,
    InconsistentModels,
    WeakMasks,
    AliveAndDead,
)

__all__ = ["POISONS", "SPIES"]
