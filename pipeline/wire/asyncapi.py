"""The AsyncAPI document of this version: every topic, who writes it, its key, and what a record looks like.

Printed from the declared topics and the registered schemas to `schemas/asyncapi.json` (`make docs`); a test
compares the file, and that no topic was forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from pipeline.topics import Topics, TopicSpec

from .registry import Registry, default_registry

VERSION: Final = "3.0.0"
AVRO: Final = "application/vnd.apache.avro;version=1.12.0"
_PLACE: Final = "#/components/messages"
Way = Literal["in", "out", "internal"]

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_IDENTIFIER: Final[dict[str, Any]] = {
    "type": "object", "required": ["type", "value"], "properties": {"type": _TEXT, "value": _TEXT},
}  # fmt: skip
_DECISION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["decision_id", "action", "by", "reason"],
    "properties": {
        "decision_id": _TEXT, "action": {"enum": ["merge", "split", "undo"]}, "by": _TEXT, "reason": _TEXT,
        "identifiers": {"type": "array", "items": _IDENTIFIER}, "decided_at": {"type": "integer"},
    },
}  # fmt: skip
_POLICY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["version", "document", "by", "reason", "published_at"],
    "properties": {
        "version": {"type": "integer"}, "document": _TEXT, "by": _TEXT, "reason": _TEXT,
        "published_at": {"type": "integer"}, "model": {"type": ["object", "null"]},
    },
}  # fmt: skip
_DEFINITION_CHANGE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["segment_id", "change", "version", "by", "at", "content_hash", "definition"],
    "properties": {
        "segment_id": _TEXT, "change": {"enum": ["created", "updated", "deleted", "paused", "resumed"]},
        "version": {"type": "integer"}, "by": _TEXT, "at": {"type": "integer"},
        "content_hash": {"type": ["string", "null"]}, "definition": {"type": ["object", "null"]},
    },
}  # fmt: skip
_DEFINITION: Final[dict[str, Any]] = {"type": "object", "description": "schemas/segments.schema.json"}
_ANY: Final[dict[str, Any]] = {"description": "The original bytes; headers say why, elo.reason first."}
_OWN: Final[dict[str, Any]] = {"description": "Not for others to read."}


def _channels(topics: Topics) -> Mapping[str, tuple[Way, str, Mapping[str, Any] | None]]:
    """Topic → way, key, and a JSON Schema; None: the value is Avro, by the registered schema of the topic."""
    own = (
        topics.redriven, topics.destinations, topics.deliveries, topics.touches, topics.mail, topics.state,
        topics.sample,
    )  # fmt: skip
    return {
        **dict.fromkeys(topics.touchpoints, ("in", "any", None)),
        topics.definitions: ("in", "segment id", _DEFINITION),
        topics.decisions: ("in", "an identifier type:value", _DECISION),
        topics.policy: ("in", "policy", _POLICY),
        topics.privacy_requests: ("in", "an identifier type:value", {"type": "object"}),
        topics.segment_history: ("out", "segment id", _DEFINITION_CHANGE),
        topics.rejected: ("out", "as it came", _ANY),
        topics.membership: ("out", "profile id", None),
        topics.current: ("out", "profile_id|segment_id", None),
        topics.profiles: ("out", "profile id", None),
        topics.merges: ("out", "old profile id", None),
        topics.review: ("out", "component", None),
        topics.receipts: ("out", "request id", None),
        **dict.fromkeys(own, ("internal", "own", _OWN)),
    }  # fmt: skip


CLEANUP: Final[Mapping[str, list[str]]] = MappingProxyType(
    {"delete": ["delete"], "compact": ["compact"], "compact,delete": ["compact", "delete"]}
)


def asyncapi_document(version: str, registry: Registry | None = None) -> dict[str, Any]:
    """The document. Raises KeyError for a topic that is declared and not described here."""
    registry, topics = registry or default_registry(), Topics()
    described = _channels(topics)
    schemas = {topic: found[-1] for found in registry.by_subject.values() for topic in found[-1].topics}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for spec in topics.specs():
        if spec.name not in described:
            raise KeyError(f"{spec.name} is not described in pipeline/wire/asyncapi.py")
        way, key, schema = described[spec.name]
        name = spec.name.replace(".", "-")
        avro = schemas.get(spec.name) if schema is None else None
        message = avro.subject if avro else name
        messages[message] = _avro(avro.raw) if avro else _json(schema or {})
        channels[name] = _channel(spec, way, key, message)
        if way != "internal":
            operations[f"{'receive' if way == 'in' else 'send'}-{name}"] = {
                "action": "receive" if way == "in" else "send", "channel": {"$ref": f"#/channels/{name}"},
            }  # fmt: skip
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Elo",
            "version": version,
            "description": "Touchpoints in, one profile per person and segment changes out. Names may have a "
            "prefix. Read outputs with isolation.level=read_committed.",
        },
        "defaultContentType": "application/octet-stream",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _channel(spec: TopicSpec, way: Way, key: str, message: str) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        "cleanup.policy": CLEANUP[spec.config.get("cleanup.policy", "delete")],
    }
    for name in ("retention.ms", "max.message.bytes"):
        if name in spec.config:
            configuration[name] = int(spec.config[name])
    return {
        "address": spec.name,
        "description": {"in": "Elo reads it.", "out": "Elo writes it.", "internal": "Of Elo itself."}[way]
        + f" Key: {key}.",
        "messages": {message: {"$ref": f"{_PLACE}/{message}"}},
        "bindings": {"kafka": {"topic": spec.name, "topicConfiguration": configuration}},
    }


def _avro(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "contentType": "application/octet-stream",
        "description": "Avro in the Confluent wire format: a zero byte, the schema id in four, the record.",
        "payload": {"schemaFormat": AVRO, "schema": dict(schema)},
    }


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"contentType": "application/json", "payload": dict(schema)}
