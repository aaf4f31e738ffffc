"""What must come out: groups of identifiers that the evidence links, and who is in which segment, and when.

Plain Python over the touchpoints that were sent, with none of the pipeline's code: it is what Elo is checked
against. The simulator hands over canonical identifiers, so no normaliser is needed either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .behaviour import DAY_MS, MINUTE_MS


@dataclass(slots=True, eq=False)
class Group:
    """One expected profile: the identifiers linked so far and what was seen through them.

    `events`: (event time, type, category). `traits`: name → (event time, value), the newest. `words`:
    purpose → (event time, yes, by which identifier). `together`: those of one touchpoint → the first time.
    `people` are the simulator's person numbers; more than one would be a mistake of the simulator.
    """

    identifiers: set[str]
    people: set[int]
    events: list[tuple[int, str, str]] = field(default_factory=list)
    traits: dict[str, tuple[int, Any]] = field(default_factory=dict)
    words: dict[str, set[tuple[int, bool, str]]] = field(default_factory=dict)
    together: dict[frozenset[str], int] = field(default_factory=dict)

    def counters(self) -> dict[str, int]:
        """Events of each type, ever."""
        return dict(Counter(event_type for _, event_type, _ in self.events))

    def count(self, event_type: str, at_ms: int, within_ms: int, category: str = "") -> int:
        """Events of a type in the window: one at t counts in [t, t + within_ms)."""
        return sum(
            1
            for t, kind, of in self.events
            if kind == event_type and t <= at_ms < t + within_ms and (not category or of == category)
        )

    def trait(self, name: str) -> Any:
        """The newest value, None where there is none."""
        return self.traits[name][1] if name in self.traits else None

    def granted(self, purpose: str) -> bool:
        """Whether nobody's no stands: one is taken back by a later yes of whom it was linked with by then."""
        words = self.words.get(purpose, set())
        grants = [(at_ms, one) for at_ms, yes, one in words if yes]
        return bool(grants) and all(
            any(later > at_ms and who in self._linked(one, later) for later, one in grants)
            for at_ms, yes, who in words
            if not yes
        )

    def _linked(self, identifier: str, at_ms: int) -> set[str]:
        """The identifiers that were known by then to belong to the same person."""
        found, grown = {identifier}, True
        while grown:
            near = [one for one, first_ms in self.together.items() if first_ms <= at_ms and one & found]
            grown = any(not one <= found for one in near)
            found = found.union(*near)
        return found

    def has(self, kind: str) -> bool:
        """Whether an identifier of the type is known."""
        return any(one.startswith(kind + ":") for one in self.identifiers)

    def absorb(self, other: Group) -> None:
        """Become the union of both."""
        self.identifiers |= other.identifiers
        self.people |= other.people
        self.events += other.events
        keep_newest(self.traits, other.traits)
        for purpose, words in other.words.items():
            self.words.setdefault(purpose, set()).update(words)
        for seen, first_ms in other.together.items():
            self.together[seen] = min(first_ms, self.together.get(seen, first_ms))


def keep_newest(mine: dict[str, tuple[int, Any]], theirs: Mapping[str, tuple[int, Any]]) -> None:
    """Fold dated values into `mine`; no two values of a name share an instant."""
    for name, dated in theirs.items():
        if name not in mine or dated[0] > mine[name][0]:
            mine[name] = dated


SECOND_MS: Final = 1_000
EVER_MS: Final = 1 << 60
Predicate = Callable[[Group, int], bool]


def _madrid_running_no_purchase(group: Group, at_ms: int) -> bool:
    return (
        group.granted("marketing")
        and group.trait("city") == "Madrid"
        and group.count("product_viewed", at_ms, 7 * DAY_MS, "running shoes") > 0
        and group.count("order_completed", at_ms, 7 * DAY_MS) == 0
    )


def _cart_abandoned(group: Group, at_ms: int) -> bool:
    return (
        group.count("cart_added", at_ms, 15 * MINUTE_MS) > 0
        and group.count("cart_added", at_ms, 10 * SECOND_MS) == 0
        and group.count("order_completed", at_ms, 15 * MINUTE_MS) == 0
    )


def _shopping_now(group: Group, at_ms: int) -> bool:
    return any(group.count(kind, at_ms, 10 * SECOND_MS) for kind in ("product_viewed", "cart_added"))


def _recent_buyer(group: Group, at_ms: int) -> bool:
    return group.count("order_completed", at_ms, 14 * DAY_MS) > 0


def _one_time_buyer(group: Group, at_ms: int) -> bool:
    return group.count("order_completed", at_ms, EVER_MS) == 1


def _engaged_email(group: Group, at_ms: int) -> bool:
    opened = group.count("email_opened", at_ms, 7 * DAY_MS)
    return group.granted("marketing") and group.has("email") and opened >= 2


def _vip(group: Group, at_ms: int) -> bool:
    return group.trait("loyalty") == "gold" or group.count("order_completed", at_ms, EVER_MS) >= 3


def _app_only(group: Group, at_ms: int) -> bool:
    return (
        group.has("device_id")
        and group.count("screen_viewed", at_ms, 7 * DAY_MS) > 0
        and group.count("page_viewed", at_ms, EVER_MS) == 0
    )


SEGMENTS: Final[Mapping[str, Predicate]] = {
    "madrid-running-no-purchase": _madrid_running_no_purchase,
    "cart-abandoned": _cart_abandoned,
    "shopping-now": _shopping_now,
    "recent-buyer": _recent_buyer,
    "one-time-buyer": _one_time_buyer,
    "engaged-email": _engaged_email,
    "vip": _vip,
    "app-only": _app_only,
}
WINDOWS_MS: Final = (10 * SECOND_MS, 15 * MINUTE_MS, 7 * DAY_MS, 14 * DAY_MS)
"""Every window of the segments above: a membership changes by itself at an event time plus one of them."""


class Truth:
    """The simulator's own account of everything it has sent."""

    def __init__(self) -> None:
        self.group_of: dict[str, Group] = {}
        self.rejected: Counter[str] = Counter()
        self.accepted = 0
        self.resent = 0
        self.merges = 0

    def record(
        self,
        *,
        person: int,
        identifiers: Iterable[str],
        occurred_ms: int,
        event_type: str,
        category: str = "",
        traits: Mapping[str, Any] | None = None,
        consent: Mapping[str, bool] | None = None,
    ) -> Group:
        """Take in one accepted touchpoint, once. `identifiers`: `type:canonical`, those that it links."""
        self.accepted += 1
        names = list(identifiers)
        group = self._link(names, person)
        group.events.append((occurred_ms, event_type, category))
        keep_newest(group.traits, {name: (occurred_ms, value) for name, value in (traits or {}).items()})
        for purpose, yes in (consent or {}).items():
            group.words.setdefault(purpose, set()).add((occurred_ms, yes, names[0]))
        if len(names) > 1:
            seen = frozenset(names)
            group.together[seen] = min(occurred_ms, group.together.get(seen, occurred_ms))
        return group

    def reject(self, reason: str) -> None:
        """Take in one touchpoint that must be rejected."""
        self.rejected[reason] += 1

    def groups(self) -> list[Group]:
        """The expected profiles, each once."""
        return list({id(group): group for group in self.group_of.values()}.values())

    def members(self, segment_id: str, at_ms: int) -> list[Group]:
        """The groups that are inside the segment at the instant."""
        return [group for group in self.groups() if SEGMENTS[segment_id](group, at_ms)]

    def settled(self, group: Group, segment_id: str, from_ms: int, to_ms: int) -> bool | None:
        """Whether the group is inside during all of [from_ms, to_ms]; None when that changes in between."""
        inside = SEGMENTS[segment_id]
        instants = {from_ms, to_ms} | self._edges(group, from_ms, to_ms)
        answers = {inside(group, instant) for instant in instants}
        return answers.pop() if len(answers) == 1 else None

    def next_change_ms(self, after_ms: int, horizon_ms: int) -> int | None:
        """The first instant in (after_ms, after_ms + horizon_ms] at which time alone changes a membership."""
        end_ms = after_ms + horizon_ms
        found: int | None = None
        for group in self.groups():
            for instant in sorted(self._edges(group, after_ms, end_ms)):
                if found is not None and instant >= found:
                    break
                if any(inside(group, instant) != inside(group, instant - 1) for inside in SEGMENTS.values()):
                    found = instant
        return found

    @staticmethod
    def _edges(group: Group, after_ms: int, end_ms: int) -> set[int]:
        """Instants in (after_ms, end_ms] at which an event of the group leaves a window."""
        return {
            t + window for t, _, _ in group.events for window in WINDOWS_MS if after_ms < t + window <= end_ms
        }

    def _link(self, identifiers: list[str], person: int) -> Group:
        found = [self.group_of[one] for one in identifiers if one in self.group_of]
        touched = list({id(group): group for group in found}.values())
        if not touched:
            group = Group(set(), {person})
        else:
            group = max(touched, key=lambda one: len(one.events))
            for other in touched:
                if other is not group:
                    self.merges += 1
                    group.absorb(other)
                    for one in other.identifiers:
                        self.group_of[one] = group
        group.people.add(person)
        group.identifiers.update(identifiers)
        for one in identifiers:
            self.group_of[one] = group
        return group
