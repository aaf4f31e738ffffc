"""What operators ask about delivery, and what they decide: read from Kafka, written to Kafka.

It works whether `elo deliver run` runs or not.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from connectors.deliver.commands import (
    Backfill,
    Command,
    State,
    backfill_key,
    decode_command,
    encode_command,
    state_key,
)
from connectors.deliver.destinations import Destination, read_destinations
from connectors.deliver.records import (
    LetterReason,
    Status,
    Stored,
    decode_change,
    decode_stored,
    destination_of,
    encode_stored,
    key_of,
)

from ..core.duration import parse_duration_ms
from ..settings import Settings
from .kafka import SLICE_S, client_config, connect, follow, partitions_of, read_to_end, reader, send_all
from .options import CommandFailed, fail

COMMITTED_S = 10.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A change that was given up, and where its record lies."""

    stored: Stored
    partition: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant; None: all. Instants in ms, `since` included, `until` not."""

    destination: str | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None

    @classmethod
    def of(cls, destination: str | None, reason: str | None, since: str | None, until: str | None) -> Wanted:
        """From options. Raises CommandFailed for what cannot be understood."""
        if reason is not None and reason not in tuple(LetterReason):
            fail(f"--reason {reason} is none, take one of {', '.join(LetterReason)}")
        return cls(destination, reason, _instant("--since", since), _instant("--until", until))

    def takes(self, stored: Stored) -> bool:
        """Whether a letter is meant."""
        return (
            stored.status is Status.LETTER
            and self.destination in (None, stored.destination)
            and self.reason in (None, stored.reason)
            and (self.since is None or stored.at >= self.since)
            and (self.until is None or stored.at < self.until)
        )


def destinations_of(settings: Settings) -> tuple[Destination, ...]:
    """The destinations of this deployment. Raises ConfigError with one sentence."""
    if settings.destinations is None:
        fail("name the file of destinations with --destinations or ELO_DESTINATIONS")
    return read_destinations(settings.destinations)


def read_letters(settings: Settings, wanted: Wanted) -> list[Letter]:
    """The letters that are meant, in the order in which they were given up."""
    found = [
        Letter(stored, partition)
        for (partition, _), stored in _read_deliveries(settings).items()
        if wanted.takes(stored)
    ]
    return sorted(found, key=lambda letter: (letter.stored.at, letter.stored.offset))


def letter_document(stored: Stored) -> dict[str, Any]:
    """A letter as JSON; without the identifiers of the person."""
    change = decode_change(stored.value)
    shown = ("change_id", "profile_id", "segment_id", "segment_version", "change", "sequence", "occurred_at")
    return {
        "destination": stored.destination,
        "reason": stored.reason,
        "detail": stored.detail,
        "attempts": stored.attempts,
        "given_up_at": stored.at,
        **{name: change[name] for name in shown},
    }


def send_again(settings: Settings, letters: list[Letter]) -> None:
    """Turn letters into changes that wait, due at once. Whoever delivers their partition takes them."""
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)

    topic = settings.topics().deliveries
    producer = Producer(client_config(settings, enable_idempotence=True, message_timeout_ms=30_000))
    for letter in letters:
        stored = msgspec.structs.replace(
            letter.stored, status=Status.WAITING, at=_now_ms(), attempts=0, failed_at=0, due_at=0, reason="",
            detail="", redriven=True,
        )  # fmt: skip
        change_id = str(decode_change(stored.value)["change_id"])
        key = key_of(stored.destination, change_id)
        while True:
            try:
                producer.produce(topic, encode_stored(stored), key, letter.partition, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(SLICE_S)
    while producer.flush(SLICE_S):
        pass
    if failures:
        raise KafkaException(failures[0])


def read_status(settings: Settings) -> list[dict[str, Any]]:
    """One document for each destination of the file."""
    destinations = destinations_of(settings)
    commands = _read_commands(settings)
    counts = Counter((stored.destination, stored.status) for stored in _read_deliveries(settings).values())
    shown = []
    for one in destinations:
        said = commands.get(state_key(one.name))
        behind, held = _ahead(settings, one, commands)
        shown.append({
            "destination": one.name,
            "state": said.answer if said else State.RUNNING.value,
            "reason": said.reason if said else "",
            "behind": behind,
            "waiting": counts[one.name, Status.WAITING],
            "letters": counts[one.name, Status.LETTER],
            "backfills": [
                {"segment": segment, "version": version, "changes": count}
                for (segment, version), count in sorted(held.items())
            ],
        })  # fmt: skip
    return shown


def say_state(settings: Settings, destination: str, state: str, by: str, reason: str) -> None:
    """Ask for a state of a destination."""
    _destination(settings, destination)
    before = _read_commands(settings).get(state_key(destination))
    # A clock that is behind must not make an older word of it.
    at = max(_now_ms(), before.at + 1 if before else 0)
    _say(settings, state_key(destination), Command(State(state).value, by, reason, at))


def answer_backfill(
    settings: Settings, destination: str, segment: str, answer: str, by: str, reason: str
) -> tuple[int, int]:
    """Answer for the newest version of a segment that waits. Returns the version and how many changes."""
    one = _destination(settings, destination)
    _, held = _ahead(settings, one, _read_commands(settings))
    versions = [version for name, version in held if name == segment]
    if not versions:
        raise CommandFailed(f"no back-fill of {segment} waits for {destination}, see `elo deliver status`")
    for version in versions:
        said = Command(Backfill(answer).value, by, reason, _now_ms())
        _say(settings, backfill_key(destination, segment, version), said)
    return max(versions), sum(held[segment, version] for version in versions)


def _destination(settings: Settings, name: str) -> Destination:
    found = {one.name: one for one in destinations_of(settings)}
    if name not in found:
        fail(f"{name} is no destination of {settings.destinations}, it has {', '.join(found)}")
    return found[name]


def _ahead(
    settings: Settings, destination: Destination, commands: dict[str, Command]
) -> tuple[int, Counter[tuple[str, int]]]:
    """Changes behind the committed position that a destination wants, and those of held back-fills."""
    topic = settings.topics().membership
    numbers = partitions_of(connect(settings), [topic])[topic]
    asked = [TopicPartition(topic, number) for number in numbers]
    group = Consumer(client_config(settings, group_id=settings.deliver_group(destination.name)))
    try:
        committed = group.committed(asked, COMMITTED_S)
    finally:
        group.close()
    known = [one for one in committed if one.offset >= 0]
    behind, held = 0, Counter[tuple[str, int]]()
    consumer = reader(settings, known)
    try:
        for messages in follow(consumer, len(known), to_end=True) if known else ():
            for message in messages:
                change = decode_change(message.value() or b"")
                if not destination.wants(change):
                    continue
                behind += 1
                segment = str(change["segment_id"]), int(str(change["segment_version"]))
                is_held = destination.backfill == Backfill.ASK and change["backfill"]
                if is_held and backfill_key(destination.name, *segment) not in commands:
                    held[segment] += 1
    finally:
        consumer.close()
    return behind, held


def _read_deliveries(settings: Settings) -> dict[tuple[int, bytes], Stored]:
    """What `elo.deliveries` holds: partition and key → record."""
    topic = settings.topics().deliveries
    partitions = partitions_of(connect(settings), [topic])[topic]
    found: dict[tuple[int, bytes], Stored] = {}
    for message in read_to_end(settings, topic, partitions):
        key, value = message.key() or b"", message.value()
        place = message.partition() or 0, key
        found.pop(place, None)
        if value is not None and destination_of(key):
            found[place] = decode_stored(value)
    return found


def _read_commands(settings: Settings) -> dict[str, Command]:
    topic = settings.topics().destinations
    partitions = partitions_of(connect(settings), [topic])[topic]
    found: dict[str, Command] = {}
    for message in read_to_end(settings, topic, partitions):
        key, value = (message.key() or b"").decode("utf-8", "replace"), message.value()
        if value is not None:
            found[key] = decode_command(key, value)
    return found


def _say(settings: Settings, key: str, command: Command) -> None:
    send_all(settings, settings.topics().destinations, [(key.encode(), encode_command(command))])


def _instant(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return _now_ms() - parse_duration_ms(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"{option} {text} is no instant, write 2026-01-31T12:00:00Z or 2h") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
