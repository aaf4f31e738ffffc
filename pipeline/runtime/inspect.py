"""The state of all partitions, read from `elo.state`: for comparison, for looking into, for the demo's truth
check.

Profiles are computed from the stored evidence by the same pure functions as in the workers. Nothing here
depends on how many partitions there are or in which order touches arrived.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from math import ceil
from typing import Any, Final, NamedTuple

import orjson
from confluent_kafka import KafkaError, KafkaException

from ..core.links import links_of
from ..core.node import COMPONENT_KEY, PAGE_KEY, Component, page_key
from ..core.outbox import Outbox, traits_of
from ..core.outputs import Outputs
from ..core.policy import Policy
from ..core.segments.catalogue import Catalogue
from ..settings import Settings
from .owner import notes_of
from .published import policy_of_workers, read_definitions
from .restore import partitions_of, read_log, read_logs, topic_id
from .sample import NOTED, SLICES

HASH_BYTES: Final = 32


class _NoNodes:
    """Stands where the outputs look for nodes of a running task."""


Records = dict[bytes, bytes]


class Chosen(NamedTuple):
    """Some components that stand for all, and how many of all they are."""

    components: list[Component]
    share: float


def latest_records(settings: Settings, partition: int) -> tuple[Records, Records]:
    """The newest values of a partition: those of components, redirects among them, and of their pages."""
    return _latest(read_log(settings, settings.topics().state, partition, 0))


def _latest(log: Iterable[list[Any]]) -> tuple[Records, Records]:
    components: Records = {}
    pages: Records = {}
    for records in log:
        for record in records:
            key = record.key()
            kind = key[:1]
            latest = components if kind == COMPONENT_KEY else pages if kind == PAGE_KEY else None
            if latest is None:
                continue
            value = record.value()
            if value is None:
                latest.pop(key, None)
            else:
                latest[key] = value
    return components, pages


def read_components(settings: Settings) -> Iterator[Component]:
    """Every live component of every partition, with all its pages."""
    for partition in range(partitions_of(settings, settings.topics().state)):
        yield from live_components(settings, partition)


def live_components(settings: Settings, partition: int) -> Iterator[Component]:
    """Every live component of one partition, with all its pages."""
    components, pages = latest_records(settings, partition)
    yield from _live(components.items(), pages)


def choose_components(settings: Settings, most: int, above: int) -> Chosen | None:
    """About `most` live components of the sample, chosen evenly.

    None if there are no more than about `above` components, or not all partitions are in the sample yet.
    Components are spread over partitions by a hash, so some stand for all: no more are read than it takes.
    """
    topics = settings.topics()
    partitions = partitions_of(settings, topics.state)
    if not _is_whole(settings, partitions):
        return None
    components, pages = _latest(read_logs(settings, topics.sample, {0: 0}))
    wanted = ceil(most / len(components)) if components else partitions
    numbers = range(1, min(partitions, wanted))
    if numbers:
        more = _latest(read_logs(settings, topics.sample, dict.fromkeys(numbers, 0)))
        components |= more[0]
        pages |= more[1]
    share = (1 + len(numbers)) / partitions / SLICES
    if len(components) <= above * share:
        return None
    taken = list(components.items())[:: max(1, len(components) // most)]
    return Chosen(list(_live(taken, pages)), share * len(taken) / max(1, len(components)))


def _is_whole(settings: Settings, partitions: int) -> bool:
    """Whether the owners of all partitions copy to the topic that there is now."""
    topics = settings.topics()
    try:
        there = topic_id(settings, topics.sample)
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return False
        raise
    notes = notes_of(settings, topics.touches, partitions)
    return all(note.get(NOTED) == there for note in notes)


def _live(records: Iterable[tuple[bytes, bytes]], pages: Mapping[bytes, bytes]) -> Iterator[Component]:
    for key, value in records:
        component = Component.decode(key[1:].decode(), value)
        if component.redirect:
            continue
        for page in range(1, len(component.pages)):
            stored = pages.get(page_key(component.root, page))
            if stored is not None:
                component.load_page(page, stored)
        yield component


def outputs_for(settings: Settings, policy: Policy) -> Outputs:
    """What computes profiles of components that are read from outside. It keeps every instant of a leaf."""
    nodes: Any = _NoNodes()
    return Outputs(policy, Catalogue(()), nodes, settings.profile_key.get_secret_value().encode(), 0)


def state_dump(settings: Settings) -> Iterator[dict[str, Any]]:
    """Every live profile as a mapping of the contract's shape, in no particular order.

    Computed traits have the values that they have now, by the newest definitions.
    """
    outputs = outputs_for(settings, policy_of_workers(settings).policy)
    catalogue, now_ms = Catalogue(read_definitions(settings).values()), time.time_ns() // 1_000_000
    for component in read_components(settings):
        outputs.outbox = Outbox()
        for profile in outputs.profiles(component):
            fold, entry = profile.fold, profile.entry
            if fold.last_seen == 0 and not fold.counters:
                continue  # An identifier that was only seen beside others, and is refused there: nobody yet.
            assert entry is not None
            yield {
                "profile_id": profile.id,
                "identifiers": [
                    dict(zip(("type", "value"), one.split(":", 1), strict=True))
                    for one in sorted(profile.identifiers)
                ],
                "traits": traits_of(profile, catalogue.computed(fold, profile.types, now_ms)),
                "counters": dict(sorted(fold.counters.items())),
                "memberships": {
                    segment: {"sequence": membership[1], "since": membership[2]}
                    for segment, membership in sorted(entry.memberships.items())
                    if membership[0]
                },
                "aliases": sorted(
                    old for old, one in component.entries.items() if one.alias_of == profile.id
                ),
                "first_seen": profile.anchor[0],
                "last_seen": fold.last_seen,
                "consent": {purpose: word[0] for purpose, word in sorted(fold.consent.items())},
            }


def state_hash(settings: Settings) -> str:
    """An order-independent hash of all profiles, memberships and evidence, decisions among it."""
    return hash_of(read_components(settings), outputs_for(settings, policy_of_workers(settings).policy))


def hash_of(components: Iterable[Component], outputs: Outputs) -> str:
    """The hash of live components, all their pages loaded. `outputs`: compute their profiles.

    Sequences, aliases and the times at which memberships began depend on the order in which touches arrived,
    and are left out; who is inside is not.
    """
    total = 0
    repeated: set[int] = set()
    for component in components:
        outputs.outbox = Outbox()
        for profile in outputs.profiles(component):
            assert profile.entry is not None
            fold = profile.fold
            total ^= _digest([
                "profile", profile.id, sorted(profile.identifiers), fold.first_seen, fold.last_seen,
                sorted(fold.counters.items()), sorted(fold.trait_values().items()),
                sorted((purpose, word[0]) for purpose, word in fold.consent.items()),
                sorted(fold.leaves.items()),
                sorted(name for name, one in profile.entry.memberships.items() if one[0]),
            ])  # fmt: skip
        for identifier in component.identifiers:
            if identifier in component.inert:
                continue  # What it was seen with is kept only as long as it is not shared.
            facet = component.facet(identifier)
            for link in () if facet is None else links_of(identifier, facet):
                total ^= _digest(["link", identifier, link.stronger, link.weaker, link.first_ms, link.last_ms,
                                  link.first_event])  # fmt: skip
        repeated.update(_digest(["decision", name, row]) for name, row in component.decisions.items())
        for one, (_, edges) in component.matches.items():
            repeated.update(_digest(["match", *sorted((one, other)), edges[other]]) for other in edges)
    for digest in repeated:  # Several components may have heard of an undo, or of a match.
        total ^= digest
    return total.to_bytes(HASH_BYTES, "big").hex()


def _digest(value: list[Any]) -> int:
    packed = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(packed, digest_size=HASH_BYTES).digest(), "big")
