"""Secure aggregation: real keys, real masks, real shares (Bonawitz 2017, Bell et al. 2020)."""

from defenses.secure_aggregation.channel import Masked
from defenses.secure_aggregation.client import Client, Refused
from defenses.secure_aggregation.protocol import Exchange, aggregate
from defenses.secure_aggregation.ring import Ring
from defenses.secure_aggregation.terms import Context, Terms, enough

__all__ = [
    "Client",
    "Context",
    "Exchange",
    "Masked",
    "Refused",
    "Ring",
    "Terms",
    "aggregate",
    "enough",
]
