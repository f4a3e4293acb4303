"""Keys and sealed letters, built from standard primitives.

X25519 (RFC 7748) between two clients, HKDF-SHA256 (RFC 5869) bound to round, purpose and the model
that was sent, AES-256-GCM for letters.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12


@dataclass(frozen=True)
class KeyPair:
    """A private key and its public half."""

    private: X25519PrivateKey

    @classmethod
    def fresh(cls) -> KeyPair:
        return cls(X25519PrivateKey.generate())

    @classmethod
    def of(cls, secret: bytes) -> KeyPair:
        return cls(X25519PrivateKey.from_private_bytes(secret))

    @cached_property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def secret(self) -> bytes:
        return self.private.private_bytes_raw()

    def agree(self, other: bytes, purpose: bytes) -> bytes:
        """Derive the 32-byte key that the two ends of this pair share for one purpose."""
        shared = self.private.exchange(_public(other))
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(shared)


@lru_cache(maxsize=2**14)
def _public(key: bytes) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(key)


Agree = Callable[[KeyPair, bytes, bytes], bytes]  # as `KeyPair.agree`


class Once:
    """A cache of shared keys: both ends derive the same key, and the lab plays both."""

    def __init__(self) -> None:
        self._known: dict[tuple[frozenset[bytes], bytes], bytes] = {}

    def __call__(self, mine: KeyPair, other: bytes, purpose: bytes) -> bytes:
        pair = frozenset((mine.public, other)), purpose
        if pair not in self._known:
            self._known[pair] = mine.agree(other, purpose)
        return self._known[pair]


def fresh_seed() -> bytes:
    return os.urandom(KEY_BYTES)


def seal(key: bytes, letter: bytes, address: bytes) -> bytes:
    """Encrypt and authenticate; `address` is authenticated with the letter but not hidden."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, letter, address)


def unseal(key: bytes, sealed: bytes, address: bytes) -> bytes:
    """Decrypt.  Raises cryptography's InvalidTag when letter or address were changed."""
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], address)
