"""Secure aggregation with real keys, masks and shares (Bonawitz 2017, Bell et al. 2020)."""

from defenses.secure_aggregation.channel import Masked
from defenses.secure_aggregation.checks import Refused
from defenses.secure_aggregation.client import Client
from defenses.secure_aggregation.protocol import Exchange, Scheme, aggregate
from defenses.secure_aggregation.ring import Ring
from defenses.secure_aggregation.terms import Context, Terms, enough

__all__ = [
    "Client",
    "Context",
    "Exchange",
    "Masked",
    "Refused",
    "Ring",
    "Scheme",
    "Terms",
    "aggregate",
    "enough",
]
