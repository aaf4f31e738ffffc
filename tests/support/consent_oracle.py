"""What a person has granted and refused, said in another way than the core says it."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.touch import Touch


def consent_of(touches: Sequence[Touch], links: Sequence[tuple[int, str, str]]) -> dict[str, bool]:
    """Granted while no identifier refuses.

    An identifier refuses from its newest word on, until a later grant of one that it was linked with by then.
    """
    words: dict[str, dict[str, list[tuple[int, bool]]]] = {}
    for touch in touches:
        for purpose, granted in touch.consent.items():
            said = words.setdefault(purpose, {}).setdefault(touch.identifiers[0], [])
            said.append((touch.occurred_at, not granted))
    found = {}
    for purpose, by_identifier in sorted(words.items()):
        newest = {one: max(said) for one, said in by_identifier.items()}
        found[purpose] = all(
            any(
                at_ms > refused_ms and one in _linked_by(other, at_ms, links)
                for other, (at_ms, refused) in newest.items() if not refused
            )
            for one, (refused_ms, refused) in newest.items() if refused
        )  # fmt: skip
    return found


def _linked_by(identifier: str, at_ms: int, links: Sequence[tuple[int, str, str]]) -> set[str]:
    """All identifiers that links seen until then lead to."""
    found = {identifier}
    for _ in links:
        for first_ms, a, b in links:
            if first_ms <= at_ms and found & {a, b}:
                found |= {a, b}
    return found
