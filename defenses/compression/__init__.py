"""Compression: codecs that pack updates into real bytes, one a file."""

from defenses.compression.half import Half
from defenses.compression.powersgd import PowerSgd
from defenses.compression.qsgd import Qsgd
from defenses.compression.quantise import Quantise
from defenses.compression.random_k import RandomK
from defenses.compression.sign import Sign
from defenses.compression.top_k import TopK
from defenses.compression.whole import Whole

__all__ = ["Half", "PowerSgd", "Qsgd", "Quantise", "RandomK", "Sign", "TopK", "Whole"]
