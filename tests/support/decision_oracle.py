"""The oracle's word on decisions, as documented:

- A decision whose id was undone never was. A source's parting takes the identifiers that it names out of the
  earlier merges of the source that name one which it keeps.
- A steward's decision is stronger than a source's, a newer one than an older one; of one instant, the greater
  name. The strongest is carried out first.
- A merge unites its identifiers, whatever rules say. So does a split, and parts them from everybody whom one
  of them was one person with when it was made: by links that were first seen until then, and by the decisions
  that are older.
- Two groups are parted when one has somebody of the one side of a split and nobody of the other, and the
  other the other way round. Nothing unites them, be it a weaker decision or a link.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from pipeline.core.decisions import Action, Decision
from pipeline.core.touch import Touch

Sides = tuple[set[str], set[str]]


@dataclass(frozen=True, slots=True)
class Ruled:
    """A decision as it was made. `source` empty: a steward's. `kept`: of a parting."""

    id: str
    action: str
    at_ms: int
    identifiers: tuple[str, ...] = ()
    source: str = ""
    kept: tuple[str, ...] = ()

    def touches(self, routes: Collection[str] = ()) -> list[Touch]:
        """As the intake sends it."""
        kind = "undo:" if self.action == "undo" else "source:" if self.source else "decision:"
        decision = Decision(kind + self.id, Action(self.action), self.at_ms, self.source, self.identifiers,
                            self.kept, "maria", "a test")  # fmt: skip
        return decision.touches(routes)


def in_force(decisions: Sequence[Ruled]) -> list[Ruled]:
    """Those that count, the strongest first."""
    undone = {one.id for one in decisions if one.action == "undo"}
    left = {(one.id, one.source): one for one in decisions if one.action != "undo" and one.id not in undone}
    found = []
    for one in left.values():
        if one.action == "part":
            continue
        identifiers = list(one.identifiers)
        for other in left.values():
            if (
                one.source
                and other.action == "part"
                and other.source == one.source
                and other.at_ms >= one.at_ms
                and set(other.kept) & set(one.identifiers)
            ):
                identifiers = [name for name in identifiers if name not in other.identifiers]
        found.append(replace(one, identifiers=tuple(identifiers)))
    return sorted(found, key=_strength)


def _strength(one: Ruled) -> tuple[bool, int, list[int]]:
    return bool(one.source), -one.at_ms, [-ord(letter) for letter in one.id] + [1]


def apply(
    decisions: Sequence[Ruled],
    group_of: dict[str, list[str]],
    others_of: Callable[[Ruled, Sequence[Ruled]], set[str]],
    rank_of: Callable[[str], int],
) -> list[Sides]:
    """Unite and part, in `group_of`. `decisions` strongest first. Returns the sides of all splits."""
    splits: list[Sides] = []
    for one in decisions:
        if one.action == "split":
            # The instant decides what came before, not who is stronger; of one instant, the name.
            before = [
                other for other in decisions
                if (other.at_ms, _kind(other), other.id) < (one.at_ms, _kind(one), one.id)
            ]  # fmt: skip
            splits.append((set(one.identifiers), others_of(one, before) - set(one.identifiers)))
        ordered = sorted(one.identifiers, key=lambda name: (rank_of(name), name))
        for at, name in enumerate(ordered):
            for earlier in ordered[:at]:
                a, b = group_of[earlier], group_of[name]
                if a is not b and not are_parted(a, b, splits):
                    both = a + b
                    for identifier in both:
                        group_of[identifier] = both
    return splits


def _kind(one: Ruled) -> str:
    return "source" if one.source else "decision"


def are_parted(a: Collection[str], b: Collection[str], splits: Sequence[Sides]) -> bool:
    """Whether a split keeps two groups apart."""
    for some, others in splits:
        side_of_a = bool(some & set(a)), bool(others & set(a))
        side_of_b = bool(some & set(b)), bool(others & set(b))
        if {side_of_a, side_of_b} == {(True, False), (False, True)}:
            return True
    return False
