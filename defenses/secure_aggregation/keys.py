"""Keys, masks and sealed letters, all from well-known primitives.

X25519 (RFC 7748) between two clients, HKDF-SHA256 (RFC 5869) bound to round, purpose and the model
that was sent, AES-256 in counter mode as mask generator, AES-256-GCM for letters.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12


@dataclass(frozen=True)
class KeyPair:
    """A private key, and the public half that others are told."""

    private: X25519PrivateKey

    @classmethod
    def fresh(cls) -> KeyPair:
        return cls(X25519PrivateKey.generate())

    @classmethod
    def of(cls, secret: bytes) -> KeyPair:
        return cls(X25519PrivateKey.from_private_bytes(secret))

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def secret(self) -> bytes:
        return self.private.private_bytes_raw()

    def agree(self, other: bytes, purpose: bytes) -> bytes:
        """The 32-byte key that the two ends of this pair share for one purpose."""
        shared = self.private.exchange(X25519PublicKey.from_public_bytes(other))
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(shared)


def fresh_seed() -> bytes:
    return os.urandom(KEY_BYTES)


def mask(key: bytes, words: int) -> np.ndarray:
    """The pseudo-random words of that key.  -> (words,) uint32

    The counter starts at zero: every key is derived for one mask of one round, and used once.
    """
    stream = Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(4 * words))
    return np.frombuffer(stream, np.dtype("<u4"))


def seal(key: bytes, letter: bytes, address: bytes) -> bytes:
    """Encrypt and authenticate; `address` is bound to the letter but not hidden."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, letter, address)


def unseal(key: bytes, sealed: bytes, address: bytes) -> bytes:
    """Raises cryptography's InvalidTag when letter or address were touched."""
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], address)
