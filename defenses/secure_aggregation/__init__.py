"""Secure aggregation: real keys, real masks, real shares (Bonawitz et al. 2017)."""

from defenses.secure_aggregation.channel import Masked
from defenses.secure_aggregation.protocol import Client, Refused, aggregate
from defenses.secure_aggregation.ring import Ring

__all__ = ["Client", "Masked", "Refused", "Ring", "aggregate"]
