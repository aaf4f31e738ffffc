"""The body of a request: bounded bytes in, JSON out, whatever the content type says.

Bytes are unpacked when they look like gzip. JSON that other languages write and RFC 8259 forbids (NaN, half
of an emoji, wrong UTF-8) is mended, for a sender drops a whole batch that is refused.
"""

from __future__ import annotations

import json
import zlib
from typing import Final

import orjson

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a body, packed and unpacked: eight times what Segment takes, and what RudderStack does."""
MENDED_BYTES_MAX: Final = 1024 * 1024  # the slow reader is for bodies of ordinary size
GZIP: Final = b"\x1f\x8b"


class BadBody(Exception):
    """A body that is no answerable request; `status` is that of HTTP, the message one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def unpacked(body: bytes) -> bytes:
    """The body without gzip, at most BODY_BYTES_MAX. Raises BadBody."""
    if not body.startswith(GZIP):
        return body
    packer = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = packer.decompress(body, BODY_BYTES_MAX + 1)
    except zlib.error:
        raise BadBody(400, "the gzip data is damaged") from None
    if len(plain) > BODY_BYTES_MAX:
        raise BadBody(413, f"unpacked, the body has more than {BODY_BYTES_MAX} bytes, split the batch")
    if not packer.eof:
        raise BadBody(400, "the gzip data breaks off")
    return plain


def parsed(body: bytes) -> object:
    """The JSON document of an unpacked body. Raises BadBody."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if len(body) > MENDED_BYTES_MAX:
            raise BadBody(400, f"not JSON, {error}") from None
        try:
            document = json.loads(body.decode("utf-8", "replace"), parse_constant=lambda _: None)
            return orjson.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise BadBody(400, f"not JSON, {error}") from None
