"""Signatures against a server that lies about keys or survivors: Ed25519 (RFC 8032).

They are the underlined steps in Bonawitz et al. 2017, eprint 2017/281, figure 4, for the malicious
model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class Identity:
    """A signing key, and all clients' public keys from a registry that the server does not run."""

    private: Ed25519PrivateKey
    registry: Mapping[int, bytes]

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)

    def signed(self, who: int, signature: bytes, message: bytes) -> bool:
        """Return whether that client signed that message."""
        if who not in self.registry:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.registry[who]).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def enrolled(clients: Collection[int]) -> dict[int, Identity]:
    """Create fresh identities of clients who know each other's public keys."""
    private = {client: Ed25519PrivateKey.generate() for client in clients}
    registry = {who: key.public_key().public_bytes_raw() for who, key in private.items()}
    return {who: Identity(key, registry) for who, key in private.items()}


def list_of(session: bytes, alive: Collection[int]) -> bytes:
    """Return the message that a client signs to confirm a list of survivors."""
    return b"alive|" + session + b"|" + ",".join(map(str, sorted(alive))).encode()
