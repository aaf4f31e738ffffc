"""Who is one person inside a component: a pure function of its evidence and of the identity policy.

Links are taken in a fixed order and each unites two groups of identifiers, unless a rule forbids it. The
order depends on the evidence alone, never on arrival, so every order of arrival gives the same profiles.
Groups only grow, so a link that is refused once would be refused again at the end: one pass is enough, and
the lower-ranked identifier of a refused link goes on with its other links.
Source: docs/decisions/0001-component-stored-profile-computed.md, docs/reference/identity.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeAlias

from .alike import Alike, unite_alike
from .policy import OnConflict, Policy, Unique

PROFILE_ID_BYTES: Final = 16
Told: TypeAlias = dict[str, dict[str, str]]
"""Identifier → trait → value, of the traits that keep people apart, in the form in which they are compared.
An identifier that has told none of them may be absent."""
Span: TypeAlias = tuple[int, int]
"""Event times in ms, first and last, both within."""
NOTHING_TOLD: Final[Told] = {}
ONE_SIDE: Final = 1
OTHER_SIDE: Final = 2
BOTH_SIDES: Final = frozenset((ONE_SIDE, OTHER_SIDE))
"""Of a ruling that parts: a group on one side may not unite with one on the other."""


@dataclass(frozen=True, slots=True)
class Link:
    """Two identifiers that were seen together. Event times in ms; `first_event` is the oldest touch's id."""

    stronger: str
    weaker: str
    first_ms: int
    last_ms: int
    first_event: str


@dataclass(frozen=True, slots=True)
class RefusedLink:
    """A link that may not unite two profiles, kept with its reason (`limit_<type>`, `unique_<type>`,
    `trait_<name>`, `shared`, `decision_<id>`). `match`: the two were not seen together, their records match;
    `unlike` is a reason as well.
    """

    link: Link
    reason: str
    match: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a decision means here: `together` are one person, and none of `others` is."""

    id: str
    together: tuple[str, ...]
    others: frozenset[str] = frozenset()


def profile_id(identifier: str, key: bytes) -> str:
    """The profile id that an identifier gives: a keyed hash, so that it says nothing about the identifier.

    `key`: 1 to 64 bytes, one per deployment; the same in every replay.
    """
    return blake2b(identifier.encode(), key=key, digest_size=PROFILE_ID_BYTES).hexdigest()


def kind_of(identifier: str) -> str:
    """The type of `type:value`."""
    return identifier.partition(":")[0]


def within_limits(identifiers: Iterable[str], policy: Policy) -> bool:
    """Whether all of them could be one profile, whatever their links say.

    The common case, decided without looking at a link.
    """
    counts: dict[str, int] = {}
    for identifier in identifiers:
        kind = identifier.partition(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    if policy.unique_types and not _has_one_owner(counts, policy):
        return False
    return all(count <= policy.rules[kind].limit for kind, count in counts.items())


def _has_one_owner(counts: dict[str, int], policy: Policy) -> bool:
    """Whether no unique value has more than one stronger identifier to choose from.

    Where one has, only the links say whose it is.
    """
    for kind in policy.unique_types.intersection(counts):
        rank = policy.rules[kind].rank
        stronger = sum(count for other, count in counts.items() if policy.rules[other].rank < rank)
        if stronger + counts[kind] - 1 > 1:  # Of several of one type, the first is stronger than the last.
            return False
    return True


def agree(told: Told) -> bool:
    """Whether no trait that keeps people apart has two values."""
    common: dict[str, str] = {}
    return all(
        common.setdefault(trait, value) == value
        for values in told.values()
        for trait, value in values.items()
    )


def group_identifiers(
    identifiers: Collection[str],
    links: Iterable[Link],
    inert: Collection[str],
    policy: Policy,
    told: Told = NOTHING_TOLD,
    rulings: Sequence[Ruling] = (),
    alike: Alike | None = None,
) -> tuple[list[list[str]], list[RefusedLink]]:
    """Unite identifiers into profiles.

    Args:
        identifiers: all of the component.
        links: the evidence, in any order; both ends may lie outside `identifiers`, such links are ignored.
        inert: identifiers that no longer link (shared ones); each is a profile of its own.
        policy: limits, ranks and conflict rules.
        told: what keeps people apart.
        rulings: what was decided, the strongest first; it comes before all links and rules.
        alike: whose records match; it comes after all links.
    Returns: groups of identifiers, each strongest first, and the refused links in the order of their
    decision.
    """
    groups = _Groups(identifiers, policy, told)
    known = [link for link in links if link.stronger in groups.parents and link.weaker in groups.parents]
    known.sort(key=lambda link: _decision_order(link, policy))
    if policy.sliding_types:
        groups.take_spans(link for link in known if link.stronger not in inert and link.weaker not in inert)
    refused: list[RefusedLink] = []
    unique_types = policy.unique_types
    owned: set[str] = set()
    if rulings:
        groups.obey(rulings)
        owned = groups.with_owner(identifiers)
    for link in known:
        weaker = link.weaker
        if link.stronger in inert or weaker in inert:
            refused.append(RefusedLink(link, "shared"))
            continue
        a, b = groups.root(link.stronger), groups.root(weaker)
        if a != b:
            reason = f"unique_{kind_of(weaker)}" if weaker in owned else groups.obstacle(a, b)
            if reason:
                refused.append(RefusedLink(link, reason))
                continue
            groups.unite(a, b)
        if unique_types and kind_of(weaker) in unique_types:
            owned.add(weaker)
    if alike is not None:
        for pair, reason in unite_alike(groups, identifiers, alike, policy):
            link = Link(pair.stronger, pair.weaker, pair.known_ms, pair.known_ms, "")
            refused.append(RefusedLink(link, reason, True))
    if owned:  # A second owner that turned out to be the same person was not refused.
        refused = [one for one in refused if groups.root(one.link.stronger) != groups.root(one.link.weaker)]
    found: dict[str, list[str]] = {}
    for identifier in sorted(identifiers, key=policy.order_of):
        found.setdefault(groups.root(identifier), []).append(identifier)
    return list(found.values()), refused


def _decision_order(link: Link, policy: Policy) -> tuple[int, int, int, int, str, str]:
    """Rank first, then time: the oldest link wins, or the latest where the weaker type moves between
    profiles.

    The owner of a unique value is decided when the turn of its own rank begins, by time before the rank of
    the owner.
    """
    stronger, weaker = policy.rule_of(link.stronger), policy.rule_of(link.weaker)
    if weaker.unique is not None:
        instant = link.first_ms if weaker.unique is Unique.OLDEST else -link.last_ms
        return weaker.rank, -1, instant, stronger.rank, link.stronger, link.weaker
    instant = -link.last_ms if weaker.on_conflict is OnConflict.MOVE else link.first_ms
    return stronger.rank, weaker.rank, instant, stronger.rank, link.stronger, link.weaker


class _Groups:
    """The groups that are united so far, each named by one of its identifiers, and what the rules ask of
    them.
    """

    def __init__(self, identifiers: Collection[str], policy: Policy, told: Told) -> None:
        self._policy = policy
        self.parents = {identifier: identifier for identifier in identifiers}
        self._counts: dict[str, dict[str, int]] = {one: {kind_of(one): 1} for one in identifiers}
        self._told: dict[str, dict[str, frozenset[str]]] = {
            one: {trait: frozenset((value,)) for trait, value in values.items()}
            for one, values in told.items()
        }
        self._spans: dict[str, dict[str, list[Span]]] = {}
        self._rulings: Sequence[Ruling] = ()
        self._sides: dict[str, dict[int, int]] = {}

    def take_spans(self, links: Iterable[Link]) -> None:
        """Note from when to when each value of a sliding limit was seen with any other identifier."""
        sliding = self._policy.sliding_types
        spans: dict[str, Span] = {}
        for link in links:
            for end in (link.stronger, link.weaker):
                if kind_of(end) in sliding:
                    first_ms, last_ms = spans.get(end, (link.first_ms, link.last_ms))
                    spans[end] = min(first_ms, link.first_ms), max(last_ms, link.last_ms)
        self._spans = {one: {kind_of(one): [span]} for one, span in spans.items()}

    def root(self, identifier: str) -> str:
        """The name of the group that an identifier is in."""
        parents = self.parents
        while parents[identifier] != identifier:
            parents[identifier] = parents[parents[identifier]]
            identifier = parents[identifier]
        return identifier

    def obstacle(self, a: str, b: str) -> str:
        """Why two groups may not be one; empty if they may."""
        if self._sides and (parted := self._parted(a, b)):
            return f"decision_{parted}"
        rules, counts = self._policy.rules, self._counts[a]
        over = [
            kind
            for kind, count in self._counts[b].items()
            # Of a type that one side has none of nothing becomes too much; a decision may have made it so.
            if kind in counts and count + counts[kind] > rules[kind].limit and self._is_over(a, b, kind)
        ]
        if over:
            return f"limit_{min(over, key=lambda kind: rules[kind].rank)}"
        if self._told:
            mine = self._told.get(a, {})
            for trait, theirs in sorted(self._told.get(b, {}).items()):
                values = mine.get(trait, theirs)
                if not (values <= theirs or theirs <= values):  # Only after a decision one has several.
                    return f"trait_{trait}"
        return ""

    def obey(self, rulings: Sequence[Ruling]) -> None:
        """Unite and part what was decided, before any link is looked at. The strongest ruling comes first."""
        self._rulings = rulings
        for number, ruling in enumerate(rulings):
            if ruling.others:
                for one in ruling.together:
                    self._take_side(one, number, ONE_SIDE)
                for one in ruling.others:
                    self._take_side(one, number, OTHER_SIDE)
            known = [one for one in ruling.together if one in self.parents]
            for at, one in enumerate(known):
                for earlier in known[:at]:
                    a, b = self.root(earlier), self.root(one)
                    if a != b and not (self._sides and self._parted(a, b)):
                        self.unite(a, b)

    def _take_side(self, identifier: str, number: int, side: int) -> None:
        if identifier in self.parents:
            sides = self._sides.setdefault(self.root(identifier), {})
            sides[number] = sides.get(number, 0) | side

    def _parted(self, a: str, b: str) -> str:
        """The id of the strongest ruling of which two groups are on different sides; empty if of none.

        A group that stronger rulings have put on both sides is on neither.
        """
        mine, theirs = self._sides.get(a), self._sides.get(b)
        if mine is None or theirs is None:
            return ""
        numbers = [one for one, side in mine.items() if one in theirs and {side, theirs[one]} == BOTH_SIDES]
        return self._rulings[min(numbers)].id if numbers else ""

    def with_owner(self, identifiers: Iterable[str]) -> set[str]:
        """The unique values that a ruling has given to a stronger identifier."""
        rules = self._policy.rules
        best: dict[str, int] = {}
        unique: list[str] = []
        for one in identifiers:
            kind, root = kind_of(one), self.root(one)
            best[root] = min(best.get(root, len(rules)), rules[kind].rank)
            if kind in self._policy.unique_types:
                unique.append(one)
        return {one for one in unique if best[self.root(one)] < rules[kind_of(one)].rank}

    def _is_over(self, a: str, b: str, kind: str) -> bool:
        """Whether two groups, which have too many values of a type, have too many at one instant."""
        rule = self._policy.rules[kind]
        if rule.within_ms is None:
            return True
        mine, theirs = self._spans.get(a, {}).get(kind, []), self._spans.get(b, {}).get(kind, [])
        # Each side is as it is, so only what meets the other side can be too much.
        from_ms = min((first_ms for first_ms, _ in theirs), default=0)
        until_ms = max((last_ms for _, last_ms in theirs), default=0) + rule.within_ms
        near = [span for span in mine if span[0] < until_ms and span[1] + rule.within_ms > from_ms]
        return bool(near and theirs) and most_together(near, theirs, rule.within_ms) > rule.limit

    def unite(self, a: str, b: str) -> None:
        """Make group `b` part of group `a`."""
        self.parents[b] = a
        counts = self._counts[a]
        for kind, count in self._counts.pop(b).items():
            counts[kind] = counts.get(kind, 0) + count
        if b in self._told:
            told = self._told.setdefault(a, {})
            for trait, values in self._told.pop(b).items():
                told[trait] = told[trait] | values if trait in told else values
        if b in self._sides:
            sides = self._sides.setdefault(a, {})
            for number, side in self._sides.pop(b).items():
                sides[number] = sides.get(number, 0) | side
        if b in self._spans:
            spans = self._spans.setdefault(a, {})
            for kind, more in self._spans.pop(b).items():
                spans[kind] = [*spans.get(kind, []), *more]


def most_together(some: list[Span], others: list[Span], within_ms: int) -> int:
    """How many values of two sides are in use at the busiest of the instants at which both sides use one."""
    edges: list[tuple[int, int, int]] = []
    for side, spans in enumerate((some, others)):
        edges += [(first_ms, 1, side) for first_ms, _ in spans]
        edges += [(last_ms + within_ms, -1, side) for _, last_ms in spans]
    edges.sort(key=lambda edge: edge[:2])  # At one instant what ends comes before what begins.
    used, most = [0, 0], 0
    for _, step, side in edges:
        used[side] += step
        if used[0] and used[1]:
            most = max(most, used[0] + used[1])
    return most


def most_at_once(spans: list[Span], within_ms: int) -> int:
    """How many values are in use at the busiest instant.

    A value is in use from its first instant until `within_ms` after its last one, where it no longer is: of
    several values, all lie in one half-open window of that length exactly if they are in use at one instant.
    """
    edges = [(first_ms, 1) for first_ms, _ in spans] + [(last_ms + within_ms, -1) for _, last_ms in spans]
    edges.sort()  # At one instant what ends comes before what begins.
    used = most = 0
    for _, step in edges:
        used += step
        most = max(most, used)
    return most
