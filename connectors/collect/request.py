"""One HTTP request as the collector sees it, and its answer: headers, write key, query, CORS.

A browser SDK sends from any page, so the origin is echoed; what protects a source is its write key.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from .body import BadBody

QUERY_FIELDS_MAX: Final = 200
CONTEXT_CHARS_MAX: Final = 500
KEY_FIELDS: Final = ("writeKey", "write_key", "write-key", "api_key")  # in a query
NO_CONTENT: Final = 204
_JSON: Final = (b"content-type", b"application/json")


@dataclass(slots=True)
class Answer:
    """Status, body and further headers."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def answer_json(document: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, orjson.dumps(document))


class Request:
    """The head of a request. Header names are lower case, values are bytes as they came.

    `traceparent`: the trace that its touchpoints belong to, the sender's unless somebody replaces it.
    """

    def __init__(self, scope: Any) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.traceparent = self.header(b"traceparent")
        self._scope = scope

    def header(self, name: bytes) -> str:
        """A header's value, empty when it is not there."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def scheme(self) -> str:
        """`http` or `https`, as the browser sees it."""
        return self.header(b"x-forwarded-proto").partition(",")[0].strip() or str(self._scope["scheme"])

    @property
    def host(self) -> str:
        """Host and port, as the browser sees them."""
        return self.header(b"x-forwarded-host").partition(",")[0].strip() or self.header(b"host")

    @property
    def uri(self) -> str:
        """The whole address, as the sender wrote it."""
        query = self._scope["query_string"].decode("latin-1")
        return f"{self.scheme}://{self.host}{self.path}{'?' if query else ''}{query}"

    def fields(self) -> dict[str, str]:
        """The query; of several fields of one name the last. Raises BadBody."""
        try:
            text = self._scope["query_string"].decode("ascii")
            return dict(parse_qsl(text, max_num_fields=QUERY_FIELDS_MAX))
        except ValueError:
            raise BadBody(400, "the query cannot be read") from None

    def key(self) -> str:
        """The write key of the headers or the query, empty when it is not there."""
        if given := self.header(b"x-write-key"):
            return given
        kind, _, credentials = self.header(b"authorization").partition(" ")
        if kind.lower() == "basic":
            try:
                return b64decode(credentials).decode().partition(":")[0]
            except ValueError:  # no base64, or no text in it
                return credentials  # no key of ours: it is answered with 401
        if self._scope["query_string"]:
            fields = self.fields()
            return next((fields[name] for name in KEY_FIELDS if name in fields), "")
        return ""

    def context(self) -> dict[str, str]:
        """What the head says of the sender, for the context of its touchpoints."""
        given = {"user_agent": self.header(b"user-agent"), "traceparent": self.traceparent}
        return {name: text[:CONTEXT_CHARS_MAX] for name, text in given.items() if text}

    async def reply(self, send: Callable[[Any], Any], answer: Answer) -> None:
        """Send the answer, with what a browser needs to let a page read it."""
        headers = list(answer.headers)
        if answer.status != NO_CONTENT:  # which must not say how long it is
            headers.append((b"content-length", b"%d" % len(answer.body)))
        if answer.body and not any(name == b"content-type" for name, _ in answer.headers):
            headers.append(_JSON)
        if origin := self.headers.get(b"origin"):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", b"retry-after"),
                (b"vary", b"origin"),
            ]
            if self.method == "OPTIONS":
                asked = self.headers.get(b"access-control-request-headers", b"content-type")
                headers += [
                    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
                    (b"access-control-allow-headers", asked),
                    (b"access-control-max-age", b"86400"),
                ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def read_body(
    request: Request, receive: Callable[[], Any], bytes_max: int, hold: Callable[[int], None]
) -> bytes:
    """The whole body as it came. `hold` is told of each piece, and may raise.

    Raises BadBody when it is too large, or the sender has gone.
    """
    if int(request.headers.get(b"content-length", b"0") or 0) > bytes_max:
        raise BadBody(413, f"more than {bytes_max} bytes, split the batch")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadBody(400, "the body breaks off")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        hold(len(chunks[-1]))
        if size > bytes_max:
            raise BadBody(413, f"more than {bytes_max} bytes, split the batch")
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
