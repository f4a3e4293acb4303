"""Attacks: a file each, and these tables.  Poisons harm the model, spies read private data."""

from attacks.backdoor import Backdoor
from attacks.first_layer import FirstLayer
from attacks.idlg import Idlg
from attacks.inverting_gradients import InvertingGradients
from attacks.label_flip import LabelFlip
from attacks.loss_threshold import LossThreshold
from attacks.sign_flip import SignFlip
from lab.parts import Poison, Spy

POISONS = Poison.enter(LabelFlip, SignFlip, Backdoor)
SPIES = Spy.enter(FirstLayer, Idlg, InvertingGradients, LossThreshold)

__all__ = ["POISONS", "SPIES"]
