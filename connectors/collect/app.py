"""The collector as an ASGI application: routes, write keys, CORS, answers.

A request is read, its key is looked up, an adapter makes touchpoints of it, and the answer waits until the
outlet has them. It must not know any format: that is for the adapters.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from pipeline.core.errors import Reason
from pipeline.core.touchpoint import TRACEPARENT
from pipeline.runtime.metrics import exemplar, exposition
from pipeline.topics import Topics
from pipeline.wire.avro import encode_touchpoint

from . import metrics
from .allowance import Allowance
from .body import BODY_BYTES_MAX, GZIP, BadBody, parsed, unpacked
from .documents import rudder_settings, segment_settings
from .event import Arrival, Item, Refused
from .outlet import RETRY_AFTER_S, Busy, Outlet
from .rejected import rejected_record
from .request import Answer, Request, answer_json, read_body
from .routes import Route, route_of
from .spool import Record
from .webhooks import Webhook

if TYPE_CHECKING:
    from pipeline.runtime.otel import Spans

ITEMS_MAX: Final = 10_000
"""Of one batch: four times what Segment takes. More is answered with 413, so that the sender splits it."""
INLINE_BYTES_MAX: Final = 1024  # of gzip, which is at most 1 MiB unpacked: a millisecond
SLICE_ITEMS: Final = 200  # made into touchpoints before the loop may turn to others: some milliseconds
HELD_BYTES_MAX: Final = 128 * 1024 * 1024  # bodies in memory at one time
FALLBACK_SOURCE: Final = "crm"  # where touchpoints of a source without a topic of its own go
DONE: Final = orjson.dumps({"success": True})

log = structlog.get_logger()


class Collector:
    """Answers requests. `keys`: write key → source, may be replaced at any time. `spans`: None is off."""

    def __init__(
        self,
        outlet: Outlet,
        topics: Topics,
        keys: Mapping[str, str],
        trait_identifiers: tuple[str, ...],
        event_bytes_max: int,
        webhooks: Mapping[str, Webhook] | None = None,
        key_events_s: float = 0,
        spans: Spans | None = None,
    ) -> None:
        self.outlet, self.keys, self.webhooks = outlet, keys, webhooks or {}
        self._spans = spans
        self._topics = {topics.source_of(name): name for name in topics.touchpoints}
        self._rejected_topic = topics.rejected
        self._trait_identifiers, self._event_bytes_max = trait_identifiers, event_bytes_max
        self._allowance = Allowance(key_events_s)
        self._held_bytes = 0
        self._events: dict[tuple[str, str], Any] = {}
        self._requests: dict[tuple[str, int], Any] = {}

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        """One ASGI request."""
        if scope["type"] != "http":
            return
        begun_s = time.perf_counter()
        request = Request(scope)
        route = route_of(request.method, request.path)
        webhook = request.path.rpartition("/")[2] if request.path in self.webhooks else ""
        span = None
        if self._spans is not None and (route.read is not None or webhook):
            span = self._spans.received(request.method, request.path, request.traceparent)
            request.traceparent = self._spans.traceparent_of(span)
        try:
            answer = await self._answer(route, request, receive)
        except BadBody as bad:
            answer = answer_json({"success": False, "message": bad.message}, bad.status)
        except Busy:
            answer = answer_json({"success": False, "message": "come again later"}, 503)
            answer.headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
        await request.reply(send, answer)
        if self._spans is not None and span is not None:
            self._spans.end(span, answer.status, str(answer.status) if answer.status >= 500 else "")
        self._count(route.api or webhook, answer.status)
        metrics.SECONDS.observe(time.perf_counter() - begun_s, exemplar(request.traceparent))

    async def _answer(self, route: Route, request: Request, receive: Callable[[], Any]) -> Answer:
        if request.method == "OPTIONS":
            return Answer(204, b"")
        if route.document:
            return self._document(route, request)
        if request.path in self.webhooks and request.method == "POST":
            return await self._notice(self.webhooks[request.path], request, receive)
        if not route.api:
            return self._page(request)
        if route.read is None:
            return Answer(200, route.reply)
        received_ms = time.time_ns() // 1_000_000
        # A key that comes before the body is judged before the body is read.
        key = request.key()
        if key and key not in self.keys:
            return _unauthorised()
        if key and (wait_s := self._allowance.wait_s(key, time.monotonic())):
            return _too_many(wait_s)
        with self._holding() as hold:
            body = await read_body(request, receive, BODY_BYTES_MAX, hold)
            plain = await _plain(body)
            if plain is not body:
                hold(len(plain))
            return await self._take(route, request, key, plain, received_ms)

    @contextlib.contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """A function that counts bytes of this request among all that are held, and raises Busy.

        They are counted as they come: many who each send half a body must not fill the memory.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._held_bytes + size > HELD_BYTES_MAX:
                raise Busy
            held += size
            self._held_bytes += size

        try:
            yield hold
        finally:
            self._held_bytes -= held

    async def _take(self, route: Route, request: Request, key: str, plain: bytes, received_ms: int) -> Answer:
        assert route.read is not None
        document: object = parsed(plain) if request.method == "POST" else request.fields()
        key = key or route.key(document)
        source = self.keys.get(key)
        if source is None:
            return _unauthorised()
        if wait_s := self._allowance.wait_s(key, time.monotonic()):
            return _too_many(wait_s)
        arrival = Arrival(
            source, received_ms, self._trait_identifiers, self._event_bytes_max, request.context()
        )
        records, refused, accepted = await self._records(route.read(document, arrival, len(plain)), arrival)
        self._allowance.spend(key, len(records), time.monotonic())
        await self.outlet.deliver(records)
        self._counter(route.api, source).inc(accepted)
        for entry in refused:
            metrics.REJECTED.labels(entry["reason"]).inc()
        if not refused or request.method != "POST":  # a pixel is an image, whatever becomes of its event
            return Answer(200, route.reply or DONE, [(b"content-type", route.kind)] if route.kind else [])
        return answer_json({"success": True, "rejected": refused})

    async def _notice(self, webhook: Webhook, request: Request, receive: Callable[[], Any]) -> Answer:
        """A webhook: verified by its signature, over the body as it came."""
        with self._holding() as hold:
            body = await read_body(request, receive, BODY_BYTES_MAX, hold)
            received_ms = time.time_ns() // 1_000_000
            items = await webhook.read(request, body, received_ms)
            arrival = Arrival(webhook.source, received_ms, headers=request.context())
            is_safe = False
            try:
                records, refused, accepted = await self._records(items, arrival)
                await self.outlet.deliver(records)
                is_safe = True
            finally:
                webhook.settled(request, body, is_safe)
        self._counter(request.path.rpartition("/")[2], webhook.source).inc(accepted)
        for entry in refused:
            metrics.REJECTED.labels(entry["reason"]).inc()
        return Answer(200, DONE)

    async def _records(
        self, items: Iterable[Item | Record], arrival: Arrival
    ) -> tuple[list[Record], list[dict[str, Any]], int]:
        """Records for Kafka; what was refused, as the sender is told; and how many were not."""
        topic = self._topics.get(arrival.source, self._topics[FALLBACK_SOURCE])
        parent = arrival.headers.get(TRACEPARENT)
        headers = ((TRACEPARENT, parent),) if parent else ()
        records: list[Record] = []
        refused: list[dict[str, Any]] = []
        for index, item in enumerate(items):
            if index == ITEMS_MAX:
                raise BadBody(413, f"more than {ITEMS_MAX} events, split the batch")
            if index % SLICE_ITEMS == SLICE_ITEMS - 1:
                await asyncio.sleep(0)
            record = _record(item, topic, headers) if isinstance(item, dict) else item
            if isinstance(record, Refused):
                refused.append({"index": index, "reason": record.reason.value, "field": record.field,
                                "detail": record.detail})  # fmt: skip
                record = rejected_record(record, self._rejected_topic, topic, arrival.headers)
            records.append(record)
        return records, refused, len(records) - len(refused)

    def _page(self, request: Request) -> Answer:
        """What operators and load balancers ask for."""
        outlet, path = self.outlet, request.path
        if path == "/livez":
            return answer_json({"status": "live"})
        if path == "/readyz":
            status = "ready" if outlet.has_room else "the spool is full"
            shown = {"status": status, "broker": outlet.is_live, "spool_bytes": outlet.spool.bytes}
            return answer_json(shown, 200 if outlet.has_room else 503)
        if path == "/metrics":
            body, kind = exposition(metrics.REGISTRY, request.header(b"accept"))
            return Answer(200, body, [(b"content-type", kind.encode())])
        return answer_json({"success": False, "message": "there is nothing at this path"}, 404)

    def _document(self, route: Route, request: Request) -> Answer:
        key = request.path.split("/")[3] if route.document == "segment" else request.key()
        source = self.keys.get(key)
        if source is None:
            return _unauthorised()
        if route.document == "segment":
            return answer_json(segment_settings(key, request.scheme, request.host))
        return answer_json(rudder_settings(key, source))

    def _count(self, api: str, status: int) -> None:
        series = self._requests.get((api, status))
        if series is None:
            series = self._requests[api, status] = metrics.REQUESTS.labels(api or "other", str(status))
        series.inc()

    def _counter(self, api: str, source: str) -> Any:
        series = self._events.get((api, source))
        if series is None:
            series = self._events[api, source] = metrics.EVENTS.labels(api, source)
        return series


async def _plain(body: bytes) -> bytes:
    """The body unpacked; what may become large on a thread, or a few bombs would hold up everybody."""
    if len(body) > INLINE_BYTES_MAX and body.startswith(GZIP):
        return await asyncio.to_thread(unpacked, body)
    return unpacked(body)


def _record(item: dict[str, Any], topic: str, headers: tuple[tuple[str, str], ...]) -> Record | Refused:
    try:
        value = encode_touchpoint(item)
    except ValueError as error:  # nested deeper than JSON is written again
        return Refused(Reason.INVALID_FIELD, "", str(error), item)
    first = item["identifiers"][0] if item["identifiers"] else None
    key = f"{first['type']}:{first['value']}".encode("utf-8", "replace") if first else None
    return Record(topic, key, value, headers)


def _too_many(wait_s: int) -> Answer:
    answer = answer_json({"success": False, "message": "too many events of this write key"}, 429)
    answer.headers.append((b"retry-after", b"%d" % wait_s))
    return answer


def _unauthorised() -> Answer:
    return answer_json({"success": False, "message": "the write key is unknown"}, 401)
