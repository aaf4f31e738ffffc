"""Paths and what reads them: one table of all requests that the collector understands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from . import posthog, segment, snowplow
from .event import Arrival, Items, object_of, text_of

Read = Callable[[object, Arrival, int], Items]
"""From the decoded body, who sent it and the size of the body to touchpoints and refusals."""


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    `api`: label of metrics; empty: nothing is there. `read` None: answered with `reply` and nothing else.
    `kind`: the content type of `reply` where that is not JSON.
    `key`: the write key of a body. `document`: whose settings document is asked for.
    """

    api: str = ""
    read: Read | None = None
    key: Callable[[object], str] = lambda body: text_of(object_of(body).get("writeKey"))
    reply: bytes = b""
    kind: bytes = b""
    document: str = ""


NOWHERE: Final = Route()
SHORT: Final = MappingProxyType({call[0]: call for call in segment.CALLS if call != "alias"} | {"a": "alias"})
"""Paths of browsers, which ad blockers know less well: /v1/t is /v1/track."""


def _one(call: str) -> Read:
    return lambda body, arrival, size: segment.read_one(body, call, arrival, size)


def _table() -> dict[tuple[str, str], Route]:
    """Method and path, without a slash at its end, to a route."""
    found: dict[tuple[str, str], Route] = {}
    batch = Route("segment", segment.read_batch)
    for path in ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch"):
        found["POST", path] = batch
    for short, call in SHORT.items():
        route = Route("segment", _one(call))
        found["POST", f"/v1/{call}"] = found["POST", f"/v1/{short}"] = route
        for path in ("/api/s", "/api/s/s2s"):
            found["POST", f"{path}/{call}"] = Route("jitsu", _one(call))
    found["POST", "/v1/m"] = Route("segment", None, reply=b'{"success":true}')  # figures of the SDK itself
    captures = Route("posthog", posthog.read, posthog.key_of, b'{"status":1}')
    for path in ("/batch", "/capture", "/e", "/i/v0/e", "/track"):
        found["POST", path] = captures
    found["POST", snowplow.PATH] = Route("snowplow", snowplow.read, snowplow.key_of, b"ok", b"text/plain")
    found["GET", "/i"] = Route("snowplow", snowplow.read, snowplow.key_of, snowplow.PIXEL, b"image/gif")
    return found


TABLE: Final = MappingProxyType(_table())


def route_of(method: str, path: str) -> Route:
    """The route of a request; NOWHERE when there is none. HEAD is GET."""
    path = path.rstrip("/") or "/"
    route = TABLE.get(("GET" if method == "HEAD" else method, path))
    if route is not None:
        return route
    if method == "GET" and path.startswith("/v1/projects/") and path.endswith("/settings"):
        return Route("segment", document="segment")
    if method == "GET" and path.endswith("/sourceConfig"):
        return Route("rudderstack", document="rudderstack")
    return NOWHERE
