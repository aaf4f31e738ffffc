"""What a new identity policy would make of the people who are known, compared with what the present one does.

Nothing is changed: each component is judged twice. Those that cannot differ are told from the stored form, by
their identifiers alone. It must not know where components are read, nor in how many processes.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from .alike import records_in
from .evidence import Edge, edges_of
from .identity import RefusedLink
from .node import Component, Profile, is_nil
from .outbox import Outbox
from .outputs import Outputs
from .policy import Policy
from .policy_change import PolicyChange
from .rehearsal_examples import EXAMPLES_MAX, Examples
from .rehearsed_pairs import RECORDS_MAX, Known, PairsFound, contrast_pairs
from .segments.catalogue import Catalogue
from .stored import decode_live

IDENTIFIERS_SHOWN_MAX: Final = 10  # of a profile in an example
KIND_AT: Final = 9
"""A stored component begins with the instant of its next timer and the head of an array: then its kind."""


@dataclass(slots=True)
class Moves:
    """Profiles that would enter and leave one segment."""

    entered: Examples = field(default_factory=Examples)
    left: Examples = field(default_factory=Examples)


@dataclass(slots=True)
class Rehearsal:
    """What the new policy would do. It adds up over partitions.

    `merges_gained`: profile ids that would become aliases; `merges_lost`: those that would come out of
    another. `changed`: components whose profiles would be others. `stay_shared`: by type, identifiers that
    the new policy would not call shared and that stay so all the same. `described`: how many comparison
    records there are, and `records` all of them, if they are to be compared and are not too many; `pairs`:
    what was found then.
    """

    components: int = 0
    changed: int = 0
    profiles_before: int = 0
    profiles_after: int = 0
    merges_gained: Examples = field(default_factory=Examples)
    merges_lost: Examples = field(default_factory=Examples)
    largest: list[tuple[int, str, list[str]]] = field(default_factory=list)
    segments: dict[str, Moves] = field(default_factory=dict)
    refused_before: Counter[str] = field(default_factory=Counter)
    refused_after: Counter[str] = field(default_factory=Counter)
    newly_shared: Counter[str] = field(default_factory=Counter)
    stay_shared: Counter[str] = field(default_factory=Counter)
    described: int = 0
    records: dict[str, Known] = field(default_factory=dict)
    pairs: PairsFound | None = None

    def note(self, identifier: str, record: Known) -> None:
        """Keep a comparison record, as long as there are not too many."""
        self.described += 1
        if self.described <= RECORDS_MAX:
            self.records[identifier] = record
        else:
            self.records.clear()

    def compare(self, before: Policy, after: Policy) -> None:
        """Find the pairs, once the records of all partitions are there."""
        if self.records:
            self.pairs = contrast_pairs(self.records, before, after)
            self.records = {}

    def take(self, other: Rehearsal) -> None:
        """Add what another partition gave."""
        self.components += other.components
        self.changed += other.changed
        self.profiles_before += other.profiles_before
        self.profiles_after += other.profiles_after
        self.merges_gained.take(other.merges_gained)
        self.merges_lost.take(other.merges_lost)
        for one in other.largest:
            self.see_size(*one)
        for name, moves in other.segments.items():
            mine = self.segments.setdefault(name, Moves())
            mine.entered.take(moves.entered)
            mine.left.take(moves.left)
        self.described += other.described
        self.records = self.records | other.records if self.described <= RECORDS_MAX else {}
        for counter, more in (
            (self.refused_before, other.refused_before), (self.refused_after, other.refused_after),
            (self.newly_shared, other.newly_shared), (self.stay_shared, other.stay_shared),
        ):  # fmt: skip
            counter.update(more)

    def is_large(self, count: int) -> bool:
        """Whether a profile of so many identifiers is larger than the smallest of the largest so far."""
        return len(self.largest) < EXAMPLES_MAX or count > -self.largest[-1][0]

    def see_size(self, size: int, profile_id: str, identifiers: list[str]) -> None:
        """Note a profile; `size` is minus the number of its identifiers, so that the largest come first."""
        insort(self.largest, (size, profile_id, identifiers))
        del self.largest[EXAMPLES_MAX:]

    def to_json(self) -> dict[str, Any]:
        """The body of `elo identity rehearse --json`."""
        return {
            "components": self.components,
            "components_changed": self.changed,
            "profiles": {"before": self.profiles_before, "after": self.profiles_after},
            "merges_gained": self.merges_gained.to_json(),
            "merges_lost": self.merges_lost.to_json(),
            "largest_profiles": [
                {"profile_id": pid, "size": -size, "identifiers": identifiers}
                for size, pid, identifiers in self.largest
            ],
            "memberships": {
                name: {"entered": moves.entered.to_json(), "left": moves.left.to_json()}
                for name, moves in sorted(self.segments.items())
            },
            "refused_links": {
                "before": dict(sorted(self.refused_before.items())),
                "after": dict(sorted(self.refused_after.items())),
            },
            "shared": {
                "newly": dict(sorted(self.newly_shared.items())),
                "stay": dict(sorted(self.stay_shared.items())),
            },
            "records": None
            if not self.described
            else {
                "count": self.described,
                "pairs": None if self.pairs is None else self.pairs.to_json(),
            },
        }


class Rehearsing:
    """Judges components one at a time. `before`, `after`: outputs under the two policies."""

    def __init__(
        self, change: PolicyChange, before: Outputs, after: Outputs, catalogue: Catalogue, now_ms: int
    ) -> None:
        self._change = change
        self._before = before
        self._after = after
        self._catalogue = catalogue
        self._now_ms = now_ms
        self._compares = change.old.matching != change.new.matching
        self.result = Rehearsal()

    def see(self, root: str, value: bytes, load_pages: Callable[[Component], None]) -> None:
        """Judge a component in its stored form. `load_pages` brings further pages, if it is needed."""
        if value[KIND_AT]:
            return  # A redirect.
        stored = decode_live(memoryview(value)[8:])
        pages, inert, _, claims = stored.head
        result = self.result
        if (
            len(pages) == 1
            and not self._compares
            and not (inert or claims or stored.decisions or stored.matches)
        ):
            identifiers = pages[0]
            if (
                not result.is_large(len(identifiers))
                and self._change.spares(identifiers)
                and not all(map(is_nil, stored.facets))
            ):
                result.components += 1
                result.profiles_before += 1
                result.profiles_after += 1
                return
        component = Component.decode(root, value)
        load_pages(component)
        self.judge(component)

    def judge(self, component: Component) -> None:
        """Judge a live component with all its pages. It is of no further use afterwards."""
        result, change = self.result, self._change
        result.components += 1
        old = self._profiles(component, self._before)
        if self._compares:
            self._note_records(component, old)
        _, refused_before = self._before.group(component)
        live = [pid for pid, entry in component.entries.items() if not entry.alias_of]
        for identifier in component.inert:
            kind = identifier.partition(":")[0]
            if kind in change.kept_shared:
                result.stay_shared[kind] += 1
        shared = change.newly_shared(component, change.partners(component))
        if shared:
            component.make_inert(shared)
            result.newly_shared.update(one.partition(":")[0] for one in shared)
        new = self._profiles(component, self._after)
        _, refused_after = self._after.group(component)
        result.profiles_before += len(old)
        result.profiles_after += len(new)
        result.refused_before.update(one.reason for one in refused_before)
        result.refused_after.update(one.reason for one in refused_after)
        for profile in new:
            if result.is_large(len(profile.identifiers)):
                shown = profile.identifiers[:IDENTIFIERS_SHOWN_MAX]
                result.see_size(-len(profile.identifiers), profile.id, shown)
        same = {(one.id, *one.identifiers) for one in old} == {(one.id, *one.identifiers) for one in new}
        if same and not (change.traits and len(component.identifiers) > 1):
            return
        if not same:
            result.changed += 1
            self._compare(component, old, new, refused_before, refused_after)
        self._memberships(component, live, new)

    def _note_records(self, component: Component, profiles: list[Profile]) -> None:
        whose = {identifier: one.id for one in profiles for identifier in one.identifiers}
        for identifier, text in records_in(component, self._change.new).items():
            known = Known(text, whose.get(identifier, ""), identifier in component.inert)
            self.result.note(identifier, known)

    def _profiles(self, component: Component, outputs: Outputs) -> list[Profile]:
        outputs.outbox = Outbox()
        component.profiles = None
        return outputs.profiles(component)

    def _compare(
        self,
        component: Component,
        old: list[Profile],
        new: list[Profile],
        refused_before: list[RefusedLink],
        refused_after: list[RefusedLink],
    ) -> None:
        """Profiles that become part of another, and those that come out of one."""
        for gone, kept, refused, found in (
            (old, new, refused_before, self.result.merges_gained),
            (new, old, refused_after, self.result.merges_lost),
        ):
            ids = {profile.id for profile in kept}
            for profile in gone:
                if profile.id not in ids:
                    heir = next((one for one in kept if profile.anchor[2] in one.identifiers), None)
                    found.add(
                        profile.id,
                        partial(_example, component, profile, heir, refused, self._after.policy),
                    )

    def _memberships(self, component: Component, live: Iterable[str], new: list[Profile]) -> None:
        """Who would be told to enter or leave: against what was told, by what the definitions say now."""
        current = {profile.id: profile for profile in new}
        for pid in live:
            if pid not in current:
                for name, membership in component.entries[pid].memberships.items():
                    if membership[0]:
                        self._move(name, pid, [component.entries[pid].anchor], inside=False)
        for profile in new:
            entry = profile.entry
            assert entry is not None
            for segment in self._catalogue.segments.values():
                inside, _ = segment.evaluate(profile.fold, profile.types, self._now_ms)
                told = entry.memberships.get(segment.id)
                if inside != bool(told is not None and told[0]):
                    self._move(segment.id, profile.id, profile.identifiers, inside=inside)

    def _move(self, segment_id: str, profile_id: str, identifiers: list[str], *, inside: bool) -> None:
        moves = self.result.segments.setdefault(segment_id, Moves())
        shown = {"profile_id": profile_id, "identifiers": identifiers[:IDENTIFIERS_SHOWN_MAX]}
        (moves.entered if inside else moves.left).add(profile_id, lambda: shown)


def _example(
    component: Component,
    profile: Profile,
    heir: Profile | None,
    refused: list[RefusedLink],
    policy: Policy,
) -> dict[str, Any]:
    """A profile that is there under one policy only, and the link on which that depends.

    `heir`: the profile that it is part of under the other; `refused`: the links that are refused while it is
    there.
    """
    own = set(profile.identifiers)
    others = [] if heir is None else [one for one in heir.identifiers if one not in own]
    return {
        "profile_id": profile.id,
        "identifiers": profile.identifiers[:IDENTIFIERS_SHOWN_MAX],
        "with_profile_id": None if heir is None else heir.id,
        "with_identifiers": others[:IDENTIFIERS_SHOWN_MAX],
        "link": next(_deciding(edges_of(component, policy), own, set(others), refused), None),
    }


def _deciding(
    found: Iterable[Edge], own: set[str], others: set[str], refused: list[RefusedLink]
) -> Iterator[dict[str, Any]]:
    """Links between the two that one policy refuses and the other takes, the first to be decided first."""
    edges = {(edge.stronger, edge.weaker): edge for edge in found}
    for one in refused:
        if one.match:
            continue
        ends = one.link.stronger, one.link.weaker
        if (ends[0] in own and ends[1] in others) or (ends[1] in own and ends[0] in others):
            yield {**edges[ends].to_json(), "refused": one.reason}
