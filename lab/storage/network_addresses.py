"""Addresses: names for the network addresses that visitors come from.

Visitors of one address share some limits, since anybody can make up as many cookies as they like.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network

KEY = secrets.token_bytes(32)  # of this process: nobody learns an address from its name
HERE = "this machine"
SUBSCRIBER = 64  # bits of an IPv6 address that one subscriber cannot choose


def name_of(address: str | None) -> str:
    """The name of an address, or of the IPv6 network that one subscriber has.

    address: None for this machine
    """
    return hmac.new(KEY, _network(address).encode(), sha256).hexdigest()[:32]


def _network(address: str | None) -> str:
    if address is None:
        return HERE
    try:
        found = ip_address(address)
    except ValueError:  # a proxy may send anything
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ip_network((found, SUBSCRIBER), strict=False))
