"""Signatures of Standard Webhooks: `v1` with a secret that both sides know, `v1a` with an Ed25519 key pair.

A key says by its prefix which it is: `whsec_` is a secret, `whsk_` a secret key whose public half, `whpk_`,
is what receivers are given. It must not know requests.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import datetime
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

SHARED: Final = "whsec_"
SECRET: Final = "whsk_"
PUBLIC: Final = "whpk_"
SHARED_BYTES_MIN: Final = 24  # of the specification
HALF_BYTES: Final = 32  # of a pair: the seed, and the public key that may follow it


class Signer(Protocol):
    """One key at work."""

    def sign(self, msg_id: str, timestamp: datetime, data: str) -> str:
        """The signature with its version, as it stands in `webhook-signature`."""
        ...


class PairSigner:
    """Signs with the secret half of a key pair. Raises ValueError when it is none."""

    def __init__(self, key: str) -> None:
        raw = _bytes_of(key.removeprefix(SECRET))
        if len(raw) not in (HALF_BYTES, 2 * HALF_BYTES):
            raise ValueError(f"signing: a {SECRET} key is 32 bytes in base64, or 64 with the public half")
        self._key = Ed25519PrivateKey.from_private_bytes(raw[:HALF_BYTES])
        self._public = self._key.public_key().public_bytes_raw()
        if raw[HALF_BYTES:] not in (b"", self._public):
            raise ValueError(f"signing: the two halves of the {SECRET} key do not belong together")

    @property
    def public(self) -> str:
        """The half for receivers."""
        return PUBLIC + base64.b64encode(self._public).decode()

    def sign(self, msg_id: str, timestamp: datetime, data: str) -> str:
        """The signature with its version, as it stands in `webhook-signature`."""
        signed = self._key.sign(f"{msg_id}.{int(timestamp.timestamp())}.{data}".encode())
        return f"v1a,{base64.b64encode(signed).decode()}"


def signer_of(key: str) -> Signer:
    """What signs with a key. Raises ValueError with one sentence that does not repeat it."""
    if key.startswith(SECRET):
        return PairSigner(key)
    if key.startswith(PUBLIC):
        raise ValueError(f"signing: a {PUBLIC} key is for receivers, name the {SECRET} key")
    if len(_bytes_of(key.removeprefix(SHARED))) < SHARED_BYTES_MIN:
        raise ValueError(
            f"signing: a key is {SHARED} and at least {SHARED_BYTES_MIN} bytes in base64, or a {SECRET} key, "
            "make one with `elo deliver key FILE`"
        )
    return Webhook(key)


def make_shared() -> str:
    """A new secret for both sides."""
    return SHARED + base64.b64encode(secrets.token_bytes(HALF_BYTES)).decode()


def make_pair() -> str:
    """A new key pair, by its secret half."""
    seed = secrets.token_bytes(HALF_BYTES)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return SECRET + base64.b64encode(seed + public).decode()


def _bytes_of(text: str) -> bytes:
    """What base64 says, padded or not; nothing when it is none."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
