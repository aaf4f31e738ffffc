"""One identity policy taking the place of another: what may change while workers run, and whom it can touch.

What names and routes stored things stays as it is. It must not know how a policy reaches the workers.
Source: docs/decisions/0015-policy-changes-live.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from .duration import format_duration
from .facet import PAIR
from .identity import within_limits
from .node import Component
from .policy import Policy

OTHERWISE: Final = "keep it, or begin a new deployment (another topic prefix) and send the touchpoints again"


def fault_of(old: Policy, new: Policy) -> str:
    """Why `new` cannot take the place of `old` while workers run, in one sentence; empty if it can."""
    if new.version <= old.version:
        return (
            f"version {new.version} is not greater than version {old.version}, which is in force, "
            f"write version: {old.version + 1}"
        )
    return fault_of_rules(old, new)


def fault_of_rules(old: Policy, new: Policy) -> str:
    """As `fault_of`, whatever the versions are."""
    fault = _fault_of_types(old, new)
    if not fault and new.history_ms != old.history_ms:
        fault = f"history is {format_duration(old.history_ms)} in force and decides what touchpoints are kept"
    if not fault and new.default_region != old.default_region:
        fault = f"default_region is {old.default_region} in force and decides what phone numbers are"
    if not fault and new.namespaces != old.namespaces:
        fault = "namespaces is another one in force and decides what identifiers are"
    return f"{fault}, {OTHERWISE}" if fault else ""


def _fault_of_types(old: Policy, new: Policy) -> str:
    before, after = list(old.rules), list(new.rules)
    for name in before:
        if name not in new.rules:
            return f"identifiers.{name} is removed, but stored components are named by its values"
    if after[: len(before)] != before:
        moved = next(a for a, b in zip(after, before, strict=False) if a != b)
        where = "has another rank" if moved in old.rules else "is not below all types that are in force"
        return f"identifiers.{moved} {where}, but stored components are named by the strongest type"
    for name, rule in old.rules.items():
        other = new.rules[name]
        if other.normalise != rule.normalise:
            return f"identifiers.{name}.normalise is {rule.normalise} in force and decides what values are"
        if (name in old.strong_types) != (name in new.strong_types):
            return (
                f"identifiers.{name}.limit changes between 1 and another, "
                "but which links are kept depends on it"
            )
    return ""


def notes_on(old: Policy, new: Policy) -> Iterator[str]:
    """What of a change has no effect on what is kept already, one sentence each."""
    change = PolicyChange(old, new)
    for name in sorted(change.kept_shared):
        yield (
            f"{name} identifiers that are shared already stay so: "
            "with whom else they were seen since was not kept"
        )
    for name in sorted(change.traits):
        yield f"kept values of the trait {name} were chosen by the present rule and stand as they are"
    if new.blocked_values != old.blocked_values or new.blocked_patterns != old.blocked_patterns:
        yield "blocked values are left out of touchpoints from then on, identifiers that are kept stay"
    if new.component_identifiers_max > old.component_identifiers_max:
        yield "components that are full already stay closed for links from outside"
    if old.matching != new.matching:
        yield "profiles are judged by the matches that are known; new ones join people once it is published"
    for name in [name for name in new.rules if name not in old.rules]:
        yield f"identifiers of the new type {name} are taken from touchpoints from then on"


class PolicyChange:
    """What the policy `new` makes different for what was decided under `old`.

    `recounted`: types that share from fewer people on than before. `kept_shared`: types that would from more
    people on, or not at all; who is shared already stays so. `traits`: those whose survivorship is another.
    """

    def __init__(self, old: Policy, new: Policy) -> None:
        self.old = old
        self.new = new
        recounted, kept = set(), set()
        for name, rule in new.rules.items():
            before = old.rules[name].shared_after if name in old.rules else rule.shared_after
            after = rule.shared_after
            if after is not None and (before is None or after < before):
                recounted.add(name)
            elif before is not None and (after is None or after > before):
                kept.add(name)
        self.recounted = frozenset(recounted)
        self.kept_shared = frozenset(kept)
        self.tells_partners = any(old.rules[name].shared_after is None for name in recounted)
        """Identifiers of a type that was never shared before do not know yet with whom they were seen."""
        names = {*old.traits, *new.traits}
        self.traits = frozenset(name for name in names if old.traits.get(name) != new.traits.get(name))
        self._apart = bool(old.apart_traits or new.apart_traits)

    @property
    def compares(self) -> bool:
        """Whether records are compared under either policy: how, or whether, may change."""
        return self.old.matching is not None or self.new.matching is not None

    def spares(self, identifiers: Collection[str]) -> bool:
        """Whether components of these identifiers, none of them shared, are one profile before and after,
        with the same traits, whatever their links say.
        """
        if len(identifiers) == 1:
            return True
        if self._apart or self.traits or (self.recounted and self.may_share(identifiers)):
            return False
        return within_limits(identifiers, self.new) and within_limits(identifiers, self.old)

    def may_share(self, identifiers: Iterable[str]) -> bool:
        """Whether there are enough strong identifiers for one that is recounted to be shared."""
        counts: dict[str, int] = {}
        for identifier in identifiers:
            kind = identifier.partition(":")[0]
            counts[kind] = counts.get(kind, 0) + 1
        most = max((counts.get(kind, 0) for kind in self.new.strong_types), default=0)
        rules = self.new.rules
        return any(
            kind in counts and (after := rules[kind].shared_after) is not None and after < most
            for kind in self.recounted
        )

    def partners(self, component: Component) -> dict[str, list[str]]:
        """Identifiers of recounted types → the strong ones that they were seen with, each once."""
        found: dict[str, dict[str, None]] = {}
        if not self.recounted:
            return {}
        for identifier in component.identifiers:
            facet = component.facet(identifier)
            for key in () if facet is None else facet.links:
                stronger, _, weaker = key.rpartition(PAIR)
                partner = stronger or identifier
                if (
                    weaker.partition(":")[0] in self.recounted
                    and weaker in component.identifiers
                    and self.new.is_strong(partner)
                ):
                    found.setdefault(weaker, {})[partner] = None
        return {identifier: list(partners) for identifier, partners in found.items()}

    def newly_shared(self, component: Component, partners: dict[str, list[str]]) -> list[str]:
        """Which of the identifiers that are not shared yet were seen with too many people."""
        found = []
        for identifier, seen in partners.items():
            after = self.new.rule_of(identifier).shared_after
            counts: dict[str, int] = {}
            for partner in seen:
                kind = partner.partition(":")[0]
                counts[kind] = counts.get(kind, 0) + 1
            if after is not None and identifier not in component.inert and max(counts.values()) > after:
                found.append(identifier)
        return found
