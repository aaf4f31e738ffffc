"""The intake's judgement of one touchpoint: from the value on the topic to a `Touch`, or why it is rejected.

It decides what a good touchpoint is. It must not know how Avro is read (it is given a function for that), nor
where a touch goes. It checks, in this order, size, encoding and the fields in the order of the schema; the
first fault names the reason. A detail never repeats a value: it may be personal. A null is an absent field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec
import orjson

from . import contact
from .errors import Reason, Rejection
from .normalise import RAW_CHARS_MAX, Normalise, Normaliser
from .policy import Policy
from .touch import Touch

TOUCHPOINT_BYTES_MAX: Final = 256 * 1024
"""The contract's limit: a larger value is too large, whatever it holds."""
EVENT_ID_CHARS_MAX: Final = 200
TYPE_CHARS_MAX: Final = 100
KINDS_MAX: Final = 1_000
"""Event types that are remembered as good ones; more are checked each time."""
IDENTIFIERS_MAX: Final = 50
"""Per touchpoint. More than a person shows at once; it bounds the work that one touchpoint can cause."""
FUTURE_MS_MAX: Final = 5 * 60_000
"""Clocks differ: an event may lie this far ahead of now."""
NESTING_MAX: Final = 64
"""Levels of objects and arrays in traits and properties. Whoever writes them again can write 254 (orjson)."""

Headers = Sequence[tuple[str, bytes | str | None]]
AvroDecode = Callable[[bytes], dict[str, Any] | Rejection]
"""Reads a whole Avro value, header included, instants as `int`: `pipeline.wire.avro.TouchpointDecoder`."""

_SNAKE_CASE: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PATH_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,50}")
TRACEPARENT: Final = "traceparent"
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.{0,100})?"
)
_JSON_FIRST: Final = frozenset(b" \t\n\r") | frozenset(range(0x21, 0x7F))
_BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_AVRO: Final = 0
_EMPTY: Final = "{}"


class TouchpointReader:
    """Reads, checks and normalises touchpoints under one policy. It keeps nothing of a touchpoint but counts.

    `left_out_unknown` and `left_out_unusable` count identifiers that were left out because their type is not
    configured, or their value is blocked or invalid. They only grow; the caller may set them back.
    """

    def __init__(
        self,
        policy: Policy,
        sources: Collection[str],
        avro_decode: AvroDecode,
        bytes_max: int = TOUCHPOINT_BYTES_MAX,
    ) -> None:
        """`sources`: all registered sources. `bytes_max`: a larger value is rejected unread."""
        self.left_out_unknown = 0
        self.left_out_unusable = 0
        normaliser = Normaliser(policy)
        self._types, self._by_source = normaliser.types, normaliser.by_source
        self._sources = frozenset(sources)
        self._avro_decode = avro_decode
        self._bytes_max = bytes_max
        self._kinds: set[str] = set()

    def read(self, value: bytes | None, now_ms: int) -> Touch | Rejection:
        """Judge the value of one record. `now_ms`: the clock that event times are held against."""
        if not value:
            return Rejection(Reason.MALFORMED_JSON, detail="the value is empty")
        if len(value) > self._bytes_max:
            return Rejection(Reason.TOO_LARGE, detail=f"{len(value)} bytes, at most {self._bytes_max}")
        record = self._avro_decode(value) if value[0] == _AVRO else _read_other(value)
        return record if isinstance(record, Rejection) else self.judge(record, now_ms)

    def judge(self, record: dict[str, Any], now_ms: int) -> Touch | Rejection:
        """Judge a decoded touchpoint, of the shape of JSON or of Avro. Unknown fields are ignored."""
        event_id, source = record.get("event_id"), record.get("source")
        kind, occurred_at = record.get("type"), record.get("occurred_at")
        if (
            type(event_id) is not str
            or not 0 < len(event_id) <= EVENT_ID_CHARS_MAX
            or (not event_id.isprintable() and _CONTROL.search(event_id))
            or type(source) is not str
            or source not in self._sources
            or type(kind) is not str
            or (kind not in self._kinds and not self._is_new_kind(kind))
            or type(occurred_at) is not int  # a bool is one by isinstance
            or not 0 <= occurred_at <= now_ms + FUTURE_MS_MAX
        ):
            return _head_fault(record, self._sources, now_ms)
        types = self._by_source.get(source, self._types) if self._by_source else self._types
        identifiers = self._identify(record.get("identifiers"), types)
        if isinstance(identifiers, Rejection):
            if kind in contact.KINDS and identifiers.reason is Reason.CONFLICTING_IDENTIFIERS:
                return self.judge(contact.kept_apart(record, types), now_ms)
            return identifiers
        if (traits := record.get("traits")) != _EMPTY:
            traits = _object_text("traits", traits)
            if isinstance(traits, Rejection):
                return traits
        if (properties := record.get("properties")) != _EMPTY:
            properties = _object_text("properties", properties)
            if isinstance(properties, Rejection):
                return properties
        consent, context = record.get("consent"), record.get("context")
        if consent is None:
            consent = {}
        elif consent != {} and (fault := _entry_fault("consent", consent, bool)) is not None:
            return fault
        if context is None or context == {}:
            return Touch(event_id, source, kind, occurred_at, identifiers, traits, properties, consent)
        if (fault := _entry_fault("context", context, str)) is not None:
            return fault
        parent = context.get(TRACEPARENT, "")
        parent = parent if _TRACEPARENT.fullmatch(parent) else ""  # a trace is never worth a rejection
        return Touch(event_id, source, kind, occurred_at, identifiers, traits, properties, consent, parent)

    def _is_new_kind(self, kind: str) -> bool:
        """Whether an event type is a good one. The first KINDS_MAX are remembered: a look-up costs less."""
        is_good = len(kind) <= TYPE_CHARS_MAX and _SNAKE_CASE.fullmatch(kind) is not None
        if is_good and len(self._kinds) < KINDS_MAX:
            self._kinds.add(kind)
        return is_good

    def _identify(
        self, entries: object, types: dict[str, tuple[Normalise, int, bool]]
    ) -> list[str] | Rejection:
        """The usable identifiers, normalised, distinct, strongest first; or the first fault."""
        if not isinstance(entries, list) or len(entries) > IDENTIFIERS_MAX:
            return _identifiers_fault(entries)
        ranked: list[tuple[int, str]] = []
        for index, entry in enumerate(entries):
            if type(entry) is not dict:
                return Rejection(Reason.INVALID_FIELD, f"identifiers[{index}]", "must have type and value")
            name, raw = entry.get("type"), entry.get("value")
            if type(name) is not str or type(raw) is not str:
                part = "type" if type(name) is not str else "value"
                return Rejection(Reason.INVALID_FIELD, f"identifiers[{index}].{part}", "must be a string")
            rule = types.get(name)
            if rule is None:
                self.left_out_unknown += 1
                continue
            identify, rank, strong = rule
            identifier = identify(raw) if len(raw) <= RAW_CHARS_MAX else None
            if identifier is None:
                self.left_out_unusable += 1
                continue
            ranking = (rank, identifier)
            if ranked:
                if ranking in ranked:
                    continue
                if strong and any(rank == other for other, _ in ranked):
                    detail = f"another value of {name}, which has one value per person"
                    return Rejection(Reason.CONFLICTING_IDENTIFIERS, f"identifiers[{index}].value", detail)
            ranked.append(ranking)
        if not ranked:
            detail = "all are of an unknown type, blocked or invalid" if entries else "there is none"
            return Rejection(Reason.NO_USABLE_IDENTIFIER, "identifiers", detail)
        ranked.sort()
        return [identifier for _, identifier in ranked]


def with_trace(touch: Touch, headers: Headers) -> Touch:
    """The touch with the trace in the headers of its record, unless it has one of its own."""
    if touch.traceparent:
        return touch
    for name, given in headers:
        if name == TRACEPARENT and given:
            parent = given if isinstance(given, str) else given.decode("utf-8", "replace")
            if _TRACEPARENT.fullmatch(parent):
                return msgspec.structs.replace(touch, traceparent=parent)
    return touch


def read_json(value: bytes) -> dict[str, Any] | Rejection:
    """Read a JSON object as RFC 8259 has it: no NaN, no lone surrogates, no byte order mark, not too deep."""
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Rejection(Reason.MALFORMED_JSON, detail=str(error))
    if not isinstance(record, dict):
        return Rejection(Reason.MALFORMED_JSON, detail=f"must be an object, not {type(record).__name__}")
    return record


def _read_other(value: bytes) -> dict[str, Any] | Rejection:
    """Read what is not Avro by its first byte; if no JSON text can begin so, Avro was meant."""
    if value[0] in _JSON_FIRST:
        return read_json(value)
    if value.startswith(_BYTE_ORDER_MARKS):
        return Rejection(Reason.MALFORMED_JSON, detail="must be UTF-8 without a byte order mark")
    return Rejection(Reason.MALFORMED_AVRO, detail=f"wrong magic byte 0x{value[0]:02x}")


def _head_fault(record: dict[str, Any], sources: Collection[str], now_ms: int) -> Rejection:
    """The first fault of the fields that come before the identifiers; there is one."""
    for name, kind in (("event_id", str), ("source", str), ("type", str), ("occurred_at", int)):
        given = record.get(name)
        if given is None:
            return Rejection(Reason.MISSING_FIELD, name, f"{name} is required")
        if type(given) is not kind:
            expected = "a string" if kind is str else "an integer, milliseconds since 1970"
            return Rejection(Reason.INVALID_FIELD, name, f"must be {expected}")
        detail = _head_detail(name, given, sources)
        if detail:
            return Rejection(Reason.INVALID_FIELD, name, detail)
    ahead_s = (record["occurred_at"] - now_ms) // 1_000
    detail = f"{ahead_s} s ahead of now, at most {FUTURE_MS_MAX // 1_000}"
    return Rejection(Reason.FUTURE_EVENT, "occurred_at", detail)


def _head_detail(name: str, given: Any, sources: Collection[str]) -> str:
    """What is wrong with a field of the right type; empty when nothing is."""
    if name == "event_id" and (not 0 < len(given) <= EVENT_ID_CHARS_MAX or _CONTROL.search(given)):
        return f"must have 1 to {EVENT_ID_CHARS_MAX} characters and no control characters"
    if name == "source" and given not in sources:
        return "must be a registered source"
    if name == "type" and (len(given) > TYPE_CHARS_MAX or not _SNAKE_CASE.fullmatch(given)):
        return f"must be snake_case, at most {TYPE_CHARS_MAX} characters"
    if name == "occurred_at" and given < 0:
        return "must not be negative"
    return ""


def _identifiers_fault(entries: object) -> Rejection:
    if entries is None:
        return Rejection(Reason.MISSING_FIELD, "identifiers", "identifiers is required")
    if not isinstance(entries, list):
        return Rejection(Reason.INVALID_FIELD, "identifiers", "must be an array")
    detail = f"{len(entries)} identifiers, at most {IDENTIFIERS_MAX}"
    return Rejection(Reason.INVALID_FIELD, "identifiers", detail)


def _object_text(name: str, given: object) -> str | Rejection:
    """The JSON text of an object that is given as such or as text. Text is checked and passed on as it is."""
    if isinstance(given, str):
        try:
            parsed, text = orjson.loads(given), given
        except orjson.JSONDecodeError as error:
            return Rejection(Reason.INVALID_FIELD, name, f"must hold a JSON object: {error}")
        if not isinstance(parsed, dict):
            return Rejection(Reason.INVALID_FIELD, name, "must hold a JSON object")
    elif isinstance(given, dict):
        try:
            parsed, text = given, orjson.dumps(given).decode()
        except orjson.JSONEncodeError:  # more levels than it writes
            return Rejection(Reason.MALFORMED_JSON, name, f"more than {NESTING_MAX} levels deep")
    elif given is None:
        return _EMPTY
    else:
        return Rejection(Reason.INVALID_FIELD, name, "must be a JSON object, or a string that holds one")
    if text.count("{") + text.count("[") > NESTING_MAX and _is_too_deep(parsed):
        reason = Reason.MALFORMED_JSON if parsed is given else Reason.INVALID_FIELD
        return Rejection(reason, name, f"more than {NESTING_MAX} levels deep")
    return text


def _is_too_deep(parsed: object) -> bool:
    """Whether objects and arrays are nested in more than NESTING_MAX levels."""
    level: list[Any] = [parsed]
    for _ in range(NESTING_MAX):
        parts = (part for outer in level for part in (outer.values() if isinstance(outer, dict) else outer))
        level = [part for part in parts if isinstance(part, dict | list)]
    return bool(level)


def _entry_fault(name: str, given: object, kind: type) -> Rejection | None:
    """Why `given` is not a map of strings to `kind`, or None if it is one."""
    expected = "true or false" if kind is bool else "a string"
    if not isinstance(given, dict):
        return Rejection(Reason.INVALID_FIELD, name, f"must be an object, every value {expected}")
    for key, entry in given.items():
        if type(entry) is not kind:
            path = f"{name}.{key}" if _PATH_NAME.fullmatch(key) else name
            return Rejection(Reason.INVALID_FIELD, path, f"every value must be {expected}")
    return None
