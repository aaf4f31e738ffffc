"""For receivers in Python of what `elo deliver` signs with a key pair.

The libraries of Standard Webhooks know shared secrets only. It needs nothing else of Elo to run.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PUBLIC: Final = "whpk_"
VERSION: Final = "v1a"
LATE_S: Final = 300
SIGNATURES_MAX: Final = 20  # of one request; more are not looked at


class NotVerified(Exception):
    """The request is not from whom it should be, or it is not of now: answer 401."""


def verify(raw: bytes, headers: Mapping[str, str], *keys: str, now_s: float | None = None) -> Any:
    """The JSON body of a request that one of the public keys (`whpk_`) verifies, at most five minutes old.

    `raw`: the body as it came. Raises NotVerified, and ValueError for a key that is none.
    """
    known = [_public(key) for key in keys]
    given = {name.lower(): text for name, text in headers.items()}
    identity, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    try:
        sent_s = int(timestamp)
    except ValueError:
        raise NotVerified("there is no webhook-timestamp") from None
    if abs((time.time() if now_s is None else now_s) - sent_s) > LATE_S:
        raise NotVerified("the request is too old or too new")
    signed = f"{identity}.{timestamp}.".encode() + raw
    for part in given.get("webhook-signature", "").split()[:SIGNATURES_MAX]:
        version, _, signature = part.partition(",")
        if version == VERSION and any(_is_good(key, signature, signed) for key in known):
            return orjson.loads(raw)
    raise NotVerified("no signature is of these keys")


def _public(key: str) -> Ed25519PublicKey:
    if not key.startswith(PUBLIC):
        raise ValueError(f"a public key begins with {PUBLIC}")
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix(PUBLIC), validate=True))


def _is_good(key: Ed25519PublicKey, signature: str, signed: bytes) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), signed)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
