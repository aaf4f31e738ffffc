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
- A limit with `within` counts the values whose times of use overlap: from the first to the last time that the
  value was seen with another one, `within` added, the end left out.
- A value of a unique type belongs to the first stronger identifier that will have it, asked in the order of
  the last time together, latest first (`oldest`: of the first time), then rank and text; its other links
  with stronger ones unite nothing. That is settled before the first link that it is the stronger end of.
- Identifiers of which two values of a `cannot_link` trait were told are never one profile. What an identifier
  has told is the surviving value of its own touches.
- Decisions come before links and rules: see decision_oracle.py. Matches come after links: see
  matching_oracle.py.
- A refusal of consent holds until a later grant by an identifier that was linked by then with the one that
  refused.
- The profile id comes from the identifier with the first touch; of several, the strongest.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any

from pipeline.core.policy import Policy
from pipeline.core.touch import Touch
from tests.support import decision_oracle, matching_oracle, segment_oracle
from tests.support.consent_oracle import consent_of
from tests.support.decision_oracle import Ruled

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

    def is_inside(
        self, definition: JsonDefinition, now_ms: int, others: segment_oracle.Definitions | None = None
    ) -> bool:
        """Whether the person is inside a segment at `now_ms`. `others`: those that it may refer to, by id."""
        return segment_oracle.is_inside(definition, self._for_segments(), now_ms, others)

    def memberships(self, definitions: Iterable[JsonDefinition], now_ms: int) -> set[str]:
        """Ids of the segments that the person is inside at `now_ms`."""
        by_id = {segment_oracle.id_of(one): one for one in definitions}
        segments = {name: one for name, one in by_id.items() if "trait" not in one}
        return {name for name, one in segments.items() if self.is_inside(one, now_ms, by_id)}

    def computed(self, definitions: Iterable[JsonDefinition], now_ms: int) -> dict[str, Any]:
        """The computed traits by name at `now_ms`; None where one has no value."""
        by_id = {segment_oracle.id_of(one): one for one in definitions}
        person = self._for_segments()
        return {
            one["trait"]: segment_oracle.trait_value(one, person, now_ms, by_id)
            for one in by_id.values() if "trait" in one
        }  # fmt: skip

    def window_edges(
        self, definition: JsonDefinition, others: segment_oracle.Definitions, from_ms: int
    ) -> list[int]:
        """Instants from `from_ms` on at which time alone may change who is inside."""
        return segment_oracle.window_edges(definition, self._for_segments(), others, from_ms)

    def _for_segments(self) -> segment_oracle.Person:
        events = [
            {
                "event_id": f"{touch.identifiers[0]} {touch.event_id}",
                "type": touch.type,
                "occurred_at": touch.occurred_at,
                "properties": _properties(touch.properties),
            }
            for touch in self.touches
        ]
        types = {kind_of(identifier) for identifier in self.identifiers}
        return segment_oracle.Person(events, self.traits, self.consent, types)


@cache
def _properties(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def kind_of(identifier: str) -> str:
    """The type of `type:value`."""
    return identifier.partition(":")[0]


def accepted(touches: Iterable[Touch]) -> list[Touch]:
    """Without repetitions: the same event id at the same strongest identifier counts once."""
    return list({(touch.identifiers[0], touch.event_id): touch for touch in touches}.values())


def people(
    touches: Iterable[Touch], policy: Policy, profile_key: bytes, decisions: Sequence[Ruled] = ()
) -> list[Person]:
    """Everybody who has a touch of their own, sorted by profile id."""
    once = accepted(touches)
    shared = shared_identifiers(once, policy)
    found = []
    ruled = decision_oracle.in_force(decisions)
    matches = matching_oracle.evident(once, shared, policy, surviving)
    for group in groups(once, shared, policy, ruled):
        own = [touch for touch in once if touch.identifiers[0] in group]
        if own:
            links = {
                (touch.occurred_at, a, b)
                for touch in once for a, b in links_of(touch, policy)
                if a in group and b in group and not shared & {a, b}
            } | {
                (one.at_ms, a, b) for one in ruled for a in one.identifiers for b in one.identifiers
                if a in group and b in group
            } | {
                (known_ms, a, b) for (a, b), (_, known_ms) in matches.items() if a in group and b in group
            }  # fmt: skip
            found.append(_person(group, own, sorted(links), policy, profile_key))
    return sorted(found, key=lambda person: person.profile_id)


def is_strong(identifier: str, policy: Policy) -> bool:
    """Whether an identifier tells people apart: limit 1, for ever."""
    rule = policy.rules[kind_of(identifier)]
    return rule.limit == 1 and rule.within_ms is None


def links_of(touch: Touch, policy: Policy) -> list[tuple[str, str]]:
    """The pairs that a touch is evidence for, (stronger, weaker)."""
    strongest, *others = touch.identifiers
    pairs = [(strongest, other) for other in others]
    for at, other in enumerate(others):
        if is_strong(other, policy):
            pairs += [(other, weaker) for weaker in others[at + 1 :]]
    return pairs


def shared_identifiers(touches: Sequence[Touch], policy: Policy) -> set[str]:
    """Identifiers that were seen with too many people."""
    partners: dict[tuple[str, str], set[str]] = {}
    for touch in touches:
        for stronger, weaker in links_of(touch, policy):
            if is_strong(stronger, policy):
                partners.setdefault((weaker, kind_of(stronger)), set()).add(stronger)
    found = set()
    for (identifier, _), values in partners.items():
        shared_after = policy.rules[kind_of(identifier)].shared_after
        if shared_after is not None and len(values) > shared_after:
            found.add(identifier)
    return found


def groups(
    touches: Sequence[Touch],
    shared: Set[str],
    policy: Policy,
    decisions: Sequence[Ruled] = (),
    until_ms: float = float("inf"),
) -> list[list[str]]:
    """All identifiers, grouped into people, by `decisions` (strongest first) and by what was seen first until
    `until_ms`.
    """
    times = _seen_together(touches, shared, policy, until_ms)
    rules = policy.rules
    unique = [pair for pair in times if rules[kind_of(pair[1])].unique is not None]

    def turn(pair: tuple[str, str]) -> tuple[Any, ...]:
        """When a link is looked at."""
        stronger, weaker = (rules[kind_of(one)] for one in pair)
        if pair in unique:
            newest = weaker.unique == "newest"
            at_ms = -max(times[pair]) if newest else min(times[pair])
            return weaker.rank, "owners first", at_ms, stronger.rank, *pair
        moves = weaker.on_conflict == "move"
        at_ms = -max(times[pair]) if moves else min(times[pair])
        return stronger.rank, "then the others", weaker.rank, at_ms, *pair

    told = told_apart(touches, policy)
    everybody = [one for each in (*touches, *decisions) for one in each.identifiers]
    group_of = {identifier: [identifier] for identifier in everybody}

    def others_of(decision: Ruled, before: Sequence[Ruled]) -> set[str]:
        then = groups(touches, shared, policy, before, decision.at_ms)
        return {one for group in then if set(group) & set(decision.identifiers) for one in group}

    splits = decision_oracle.apply(decisions, group_of, others_of, lambda one: rules[kind_of(one)].rank)
    rank = {one: rules[kind_of(one)].rank for one in group_of}
    has_owner = {
        one for one, group in group_of.items()
        if rules[kind_of(one)].unique and any(rank[other] < rank[one] for other in group)
    }  # fmt: skip
    for a, b in sorted(times, key=turn):
        if group_of[a] is not group_of[b]:
            if b in has_owner or decision_oracle.are_parted(group_of[a], group_of[b], splits):
                continue
            if not may_be_one(group_of[a], group_of[b], times, told, policy):
                continue
            both = group_of[a] + group_of[b]
            for identifier in both:
                group_of[identifier] = both
        if (a, b) in unique:
            has_owner.add(b)

    def may_unite(some: Collection[str], others: Collection[str]) -> bool:
        parted = decision_oracle.are_parted(some, others, splits)
        return not parted and may_be_one(some, others, times, told, policy)

    _match(group_of, touches, shared, policy, until_ms, may_unite)
    distinct = {id(group): group for group in group_of.values()}
    return list(distinct.values())


def _seen_together(
    touches: Sequence[Touch], shared: Set[str], policy: Policy, until_ms: float
) -> dict[tuple[str, str], list[int]]:
    """The links that count, with all of their instants, if the first is not after `until_ms`."""
    times: dict[tuple[str, str], list[int]] = {}
    for touch in touches:
        for pair in links_of(touch, policy):
            if not shared.intersection(pair):
                times.setdefault(pair, []).append(touch.occurred_at)
    return {pair: instants for pair, instants in times.items() if min(instants) <= until_ms}


def _match(
    group_of: dict[str, list[str]], touches: Sequence[Touch], shared: Set[str], policy: Policy,
    until_ms: float, may_unite: Callable[[Collection[str], Collection[str]], bool],
) -> None:  # fmt: skip
    """Unite those whose records match, by what was known until `until_ms`."""
    known = matching_oracle.evident(touches, shared, policy, surviving)
    pairs = {pair: match for pair, match in known.items() if match[1] <= until_ms}
    if pairs:
        records = matching_oracle.records_of(touches, policy, surviving)
        matching_oracle.unite(group_of, pairs, records, may_unite, policy)


def may_be_one(
    some: Collection[str],
    others: Collection[str],
    times: Mapping[tuple[str, str], Sequence[int]],
    told: Mapping[str, Mapping[str, str]],
    policy: Policy,
) -> bool:
    """Whether limits and traits let two groups be one profile. What is wrong in one of them already is not
    held against it: only a decision can have made it so.
    """
    for trait in policy.apart_traits:
        a, b = ({told[one][trait] for one in side if trait in told.get(one, {})} for side in (some, others))
        if a - b and b - a:
            return False
    for kind, rule in policy.rules.items():
        a, b = ({one for one in side if kind_of(one) == kind} for side in (some, others))
        if not a or not b or len(a | b) <= rule.limit:
            continue
        if rule.within_ms is None:
            return False
        seen = {
            one: [at_ms for pair, instants in times.items() if one in pair for at_ms in instants]
            for one in a | b
        }
        for begin_ms in [min(instants) for instants in seen.values() if instants]:
            used = {
                one for one, instants in seen.items()
                if instants and min(instants) <= begin_ms < max(instants) + rule.within_ms
            }  # fmt: skip
            if used & a and used & b and len(used) > rule.limit:
                return False
    return True


def told_apart(touches: Sequence[Touch], policy: Policy) -> dict[str, dict[str, str]]:
    """Identifier → trait → what it has told, of the traits that keep people apart."""
    said: dict[tuple[str, str], list[tuple[int, Any]]] = {}
    for touch in touches:
        for name, value in json.loads(touch.traits).items():
            if name in policy.apart_traits:
                said.setdefault((touch.identifiers[0], name), []).append((touch.occurred_at, value))
    found: dict[str, dict[str, str]] = {}
    for (identifier, name), pairs in said.items():
        value = surviving(pairs, str(policy.traits.get(name, "newest")))
        value = int(value) if isinstance(value, float) and value.is_integer() else value
        text = (value if isinstance(value, str) else text_of(value)).strip().lower()
        if name in ("cpf", "nis"):
            text = "".join(one for one in text if one.isdigit())
        if value is not None and text not in ("", *policy.blocked_values):
            found.setdefault(identifier, {})[name] = text
    return found


def _person(
    group: Collection[str],
    own: Sequence[Touch],
    links: Sequence[tuple[int, str, str]],
    policy: Policy,
    profile_key: bytes,
) -> Person:
    """`links`: (time, a, b), between identifiers of the group that are not shared."""
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
        consent=consent_of(own, links),
        first_seen=first_ms,
        last_seen=max(touch.occurred_at for touch in own),
    )


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
    strong = any(is_strong(one, policy) for one in component)
    reachable = any(policy.rules[kind_of(one)].normalise in ("email", "phone") for one in component)
    return not strong and not reachable and now_ms - last_ms >= policy.anonymous_retention_ms
