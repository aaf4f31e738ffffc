"""The collector without a network: ASGI calls in this process, and an outlet that only remembers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.collect.app import Collector
from connectors.collect.outlet import Busy
from connectors.collect.spool import Record
from pipeline.topics import Topics
from pipeline.wire.avro import decode_record

KEYS = {"wk": "web", "wk:secret": "app", "next": "web"}


class Memory:
    """An outlet that takes everything, or nothing while it is `full`."""

    is_live, has_room = True, True

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.full = False

    class spool:
        """Nothing is on the disk."""

        bytes = 0

    async def deliver(self, records: Sequence[Record]) -> None:
        """Remember the records."""
        if self.full:
            raise Busy
        self.records += records


@dataclass(frozen=True)
class Answered:
    """What a request was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)


class Asked:
    """A collector under test with what it has sent."""

    def __init__(self, **more: Any) -> None:
        self.outlet = Memory()
        traits = ("cpf", "nis", "email", "phone")
        outlet: Any = self.outlet
        self.app = Collector(outlet, Topics(), KEYS, traits, 32 * 1024, **more)

    def ask(
        self, method: str, target: str, body: bytes | Any = b"", headers: Mapping[str, str] | None = None,
        pieces: int = 1,
    ) -> Answered:  # fmt: skip
        """Send one request; a body that is not bytes is written as JSON. `pieces`: chunks of the body."""
        path, _, query = target.partition("?")
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        size = -(-len(raw) // pieces) or 1
        chunks = [raw[at : at + size] for at in range(0, len(raw), size)] or [b""]
        waiting = [
            {"type": "http.request", "body": chunk, "more_body": number + 1 < len(chunks)}
            for number, chunk in enumerate(chunks)
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "scheme": "http",
            "client": ("127.0.0.1", 1),
            "headers": [(name.lower().encode(), text.encode()) for name, text in (headers or {}).items()],
        }  # fmt: skip
        asyncio.run(self.app(scope, receive, send))
        told = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
        return Answered(sent[0]["status"], told, sent[1]["body"])

    def post(self, target: str, body: Any, packed: bool = False, **headers: str) -> Answered:
        """POST with the write key `wk`, unless the headers say otherwise; `_` in a name stands for `-`."""
        named = {name.replace("_", "-"): text for name, text in headers.items()} or {"x-write-key": "wk"}
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.ask("POST", target, gzip.compress(raw) if packed else raw, named)

    def touchpoints(self) -> list[dict[str, Any]]:
        """What went to the topics of sources, with traits and properties as objects."""
        found = []
        for record in self.outlet.records:
            if record.topic != "touchpoints.rejected":
                one: Any = decode_record(record.value)
                found.append(one | {name: orjson.loads(one[name]) for name in ("traits", "properties")})
        return found

    def rejected(self) -> list[tuple[str, str, Any]]:
        """Reason, field and value of what was refused."""
        return [
            (
                dict(record.headers)["elo.reason"],
                dict(record.headers)["elo.field"],
                orjson.loads(record.value),
            )
            for record in self.outlet.records
            if record.topic == "touchpoints.rejected"
        ]


def ids(touchpoint: Mapping[str, Any]) -> list[str]:
    """Identifiers as `type:value`."""
    return [f"{entry['type']}:{entry['value']}" for entry in touchpoint["identifiers"]]
