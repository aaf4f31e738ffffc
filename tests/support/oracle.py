"""The oracle: who everybody is and which segments they are in, decided slowly and obviously from the touches.

Takes the touches that were accepted, in any order, and looks at all of them every time. Shares nothing with
`pipeline.core` but the shape of a touch and the values of a policy. The identity rules, as documented:

- A touch links its strongest identifier with each other one, and each other one of a strong type (limit 1)
  with the weaker ones after it.
- An identifier is shared when it was seen with more than `shared_after` distinct stronger identifiers of one
  strong type. Links of a shared identifier count for nothing; it is a profile of its own.
- Links unite in the order: rank of the stronger type, rank of the weaker type, time (the first time they were
  seen together; where the weaker type moves, the last time, latest first), the two texts. A link that would
  give a profile more values of a type than its limit unites nothing.
- The profile id comes from the identifier with the first touch; of several, the strongest.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pipeline.core.policy import Policy
from pipeline.core.touch import Touch
from tests.support import segment_oracle

JsonDefinition = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """One profile, as it must be. `identifiers` strongest first; instants in ms."""

    profile_id: str
    identifiers: list[str]
    touches: list[Touch]
    traits: dict[str, Any]
    counters: dict[str, int]
    consent: dict[str, bool]
    first_seen: int
    last_seen: int

    def is_inside(self, definition: JsonDefinition, now_ms: int) -> bool:
        """Whether the person is inside a segment at `now_ms`."""
        return segment_oracle.is_inside(definition, self._for_segments(), now_ms)

    def memberships(self, definitions: Iterable[JsonDefinition], now_ms: int) -> set[str]:
        """Ids of the segments that the person is inside at `now_ms`."""
        return {one["id"] for one in definitions if self.is_inside(one, now_ms)}

    def window_edges(self, definition: JsonDefinition) -> list[int]:
        """Instants at which a window of the definition loses an event."""
        return segment_oracle.window_edges(definition, self._for_segments())

    def _for_segments(self) -> segment_oracle.Person:
        events = [
            {
                "event_id": f"{touch.identifiers[0]} {touch.event_id}",
                "type": touch.type,
                "occurred_at": touch.occurred_at,
                "properties": json.loads(touch.properties),
            }
            for touch in self.touches
        ]
        types = {kind_of(identifier) for identifier in self.identifiers}
        return segment_oracle.Person(events, self.traits, self.consent, types)


def kind_of(identifier: str) -> str:
    """The type of `type:value`."""
    return identifier.partition(":")[0]


def accepted(touches: Iterable[Touch]) -> list[Touch]:
    """Without repetitions: the same event id at the same strongest identifier counts once."""
    return list({(touch.identifiers[0], touch.event_id): touch for touch in touches}.values())


def people(touches: Iterable[Touch], policy: Policy, profile_key: bytes) -> list[Person]:
    """Everybody who has a touch of their own, sorted by profile id."""
    once = accepted(touches)
    shared = shared_identifiers(once, policy)
    found = []
    for group in groups(once, shared, policy):
        own = [touch for touch in once if touch.identifiers[0] in group]
        if own:
            found.append(_person(group, own, policy, profile_key))
    return sorted(found, key=lambda person: person.profile_id)


def links_of(touch: Touch, policy: Policy) -> list[tuple[str, str]]:
    """The pairs that a touch is evidence for, (stronger, weaker)."""
    strongest, *others = touch.identifiers
    pairs = [(strongest, other) for other in others]
    for at, other in enumerate(others):
        if policy.rules[kind_of(other)].limit == 1:
            pairs += [(other, weaker) for weaker in others[at + 1 :]]
    return pairs


def shared_identifiers(touches: Sequence[Touch], policy: Policy) -> set[str]:
    """Identifiers that were seen with too many people."""
    partners: dict[tuple[str, str], set[str]] = {}
    for touch in touches:
        for stronger, weaker in links_of(touch, policy):
            if policy.rules[kind_of(stronger)].limit == 1:
                partners.setdefault((weaker, kind_of(stronger)), set()).add(stronger)
    found = set()
    for (identifier, _), values in partners.items():
        shared_after = policy.rules[kind_of(identifier)].shared_after
        if shared_after is not None and len(values) > shared_after:
            found.add(identifier)
    return found


def groups(touches: Sequence[Touch], shared: Collection[str], policy: Policy) -> list[list[str]]:
    """All identifiers, grouped into people."""
    times: dict[tuple[str, str], list[int]] = {}
    for touch in touches:
        for pair in links_of(touch, policy):
            times.setdefault(pair, []).append(touch.occurred_at)

    def order(pair: tuple[str, str]) -> tuple[Any, ...]:
        stronger, weaker = (policy.rules[kind_of(one)] for one in pair)
        moves = weaker.on_conflict == "move"
        return stronger.rank, weaker.rank, -max(times[pair]) if moves else min(times[pair]), *pair

    group_of = {identifier: [identifier] for touch in touches for identifier in touch.identifiers}
    for a, b in sorted(times, key=order):
        if a in shared or b in shared or group_of[a] is group_of[b]:
            continue
        both = group_of[a] + group_of[b]
        counts = Counter(kind_of(identifier) for identifier in both)
        if all(count <= policy.rules[kind].limit for kind, count in counts.items()):
            for identifier in both:
                group_of[identifier] = both
    distinct = {id(group): group for group in group_of.values()}
    return list(distinct.values())


def _person(group: Collection[str], own: Sequence[Touch], policy: Policy, profile_key: bytes) -> Person:
    identifiers = sorted(group, key=lambda one: (policy.rules[kind_of(one)].rank, one))
    first_ms = min(touch.occurred_at for touch in own)
    first = [touch.identifiers[0] for touch in own if touch.occurred_at == first_ms]
    earliest = min(first, key=identifiers.index)
    return Person(
        profile_id=blake2b(earliest.encode(), key=profile_key, digest_size=16).hexdigest(),
        identifiers=identifiers,
        touches=sorted(own, key=lambda touch: touch.occurred_at),
        traits=_traits(own, policy),
        counters=dict(sorted(Counter(touch.type for touch in own).items())),
        consent=_consent(own),
        first_seen=first_ms,
        last_seen=max(touch.occurred_at for touch in own),
    )


def _consent(touches: Sequence[Touch]) -> dict[str, bool]:
    """The newest word; of two at one instant, the refusal."""
    words: dict[str, list[tuple[int, bool]]] = {}
    for touch in touches:
        for purpose, granted in touch.consent.items():
            words.setdefault(purpose, []).append((touch.occurred_at, not granted))
    return {purpose: not max(said)[1] for purpose, said in sorted(words.items())}


def text_of(value: Any) -> str:
    """JSON of a value, as compact and as sorted as can be: what decides between values of one instant."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _traits(touches: Sequence[Touch], policy: Policy) -> dict[str, Any]:
    said: dict[str, list[tuple[int, Any]]] = {}
    for touch in touches:
        for name, value in json.loads(touch.traits).items():
            said.setdefault(name, []).append((touch.occurred_at, value))
    values = {
        name: surviving(pairs, str(policy.traits.get(name, "newest"))) for name, pairs in sorted(said.items())
    }
    return {name: value for name, value in values.items() if value is not None}


def surviving(said: Sequence[tuple[int, Any]], rule: str) -> Any:
    """The value that survives of those said, as (event time, value)."""
    if rule == "most_frequent":
        counts = Counter(text_of(value) for _, value in said)
        newest = {text: max(at for at, value in said if text_of(value) == text) for text in counts}
        return json.loads(min(counts, key=lambda text: (-counts[text], -newest[text], text)))
    if rule == "union":
        texts = {text_of(one) for _, value in said for one in (value if isinstance(value, list) else [value])}
        return [json.loads(text) for text in sorted(texts)]
    instants = [at for at, _ in said]
    at_ms = min(instants) if rule == "first" else max(instants)
    return max((value for at, value in said if at == at_ms), key=text_of)


@dataclass(frozen=True, slots=True)
class Change:
    """One membership change as it must be told. `timed`: by time alone, at its own instant."""

    segment_id: str
    change: str
    sequence: int
    occurred_at: int
    timed: bool


def told_in_order(
    definitions: Sequence[JsonDefinition],
    arrivals: Sequence[tuple[int, Touch]],
    until_ms: int,
    policy: Policy,
    profile_key: bytes,
) -> list[Change]:
    """What is told of one person whose touches arrive in this order, each seen at its instant of arrival.

    The first touch names all identifiers of the person, so that nothing merges later.
    """
    told: list[Change] = []
    sequences: dict[str, int] = {}
    clock_ms = arrivals[0][0]
    for number in range(1, len(arrivals) + 1):
        (person,) = people([touch for _, touch in arrivals[:number]], policy, profile_key)
        at_ms, touch = arrivals[number - 1]
        next_ms = arrivals[number][0] if number < len(arrivals) else until_ms
        clock_ms = max(clock_ms, at_ms)
        steps = [(clock_ms, touch.occurred_at, False)]
        edges = {
            edge for one in definitions for edge in person.window_edges(one) if clock_ms < edge <= next_ms
        }
        steps += [(edge, edge, True) for edge in sorted(edges)]
        for now_ms, occurred_at, timed in steps:
            for definition in definitions:
                sequence = sequences.get(definition["id"], 0)
                if person.is_inside(definition, now_ms) != bool(sequence % 2):
                    sequences[definition["id"]] = sequence + 1
                    change = "exited" if sequence % 2 else "entered"
                    told.append(Change(definition["id"], change, sequence + 1, occurred_at, timed))
    return told


def remembered(arrivals: Sequence[tuple[int, Touch]], now_ms: int, policy: Policy) -> list[Touch]:
    """Touches, in order of arrival, of which nobody has been forgotten until `now_ms`.

    A component, everything that was ever seen together, of types with a limit above 1 that are neither e-mail
    nor phone, is forgotten when the anonymous retention has passed since its last touch.
    """
    kept: list[tuple[int, Touch]] = []
    for at_ms, touch in [*arrivals, (now_ms, None)]:
        kept = [one for one in kept if not _is_forgotten(one, kept, at_ms, policy)]
        if touch is not None:
            kept.append((at_ms, touch))
    return [touch for _, touch in kept]


def _is_forgotten(
    one: tuple[int, Touch], kept: Sequence[tuple[int, Touch]], now_ms: int, policy: Policy
) -> bool:
    component, last_ms = set(one[1].identifiers), one[0]
    grown = -1
    while len(component) != grown:
        grown = len(component)
        for at_ms, touch in kept:
            if component & set(touch.identifiers):
                component |= set(touch.identifiers)
                last_ms = max(last_ms, at_ms)
    rules = [policy.rules[kind_of(identifier)] for identifier in component]
    weak = all(rule.limit > 1 and rule.normalise not in ("email", "phone") for rule in rules)
    return weak and now_ms - last_ms >= policy.anonymous_retention_ms
