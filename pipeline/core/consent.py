"""Consent of a person with several identifiers: after a merge the stricter answer holds.

Each identifier has its newest word. A refusal holds until somebody speaks again as the same person: a later
grant takes it back only if, when it was given, the two identifiers had been seen, or decided, to belong
together, or to match. It is decided from evidence alone, so no order of arrival makes a difference.
Source: docs/decisions/0018-consent-after-a-merge.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from .alike import pairs_in
from .decisions import in_force
from .facet import Cell, Facet
from .links import links_of
from .node import Component
from .policy import Policy


def is_granted(fold: Facet, purpose: str | None) -> bool:
    """Whether the answer for a purpose is yes; no purpose needs none."""
    word = None if purpose is None else fold.consent.get(purpose)
    return purpose is None or (word is not None and word[0])


def disagrees(consent: Mapping[str, Cell], words: Mapping[str, bool]) -> bool:
    """Whether new words of one identifier, beside the answers so far, are not just a yes to a yes."""
    return any(
        purpose in consent and not (granted and consent[purpose][0]) for purpose, granted in words.items()
    )


def holds_refusal(component: Component) -> bool:
    """Whether a refusal stands in a profile of several identifiers: an earlier link may take it back."""
    return any(
        not word[0]
        for profile in component.profiles or ()
        if not profile.shares_fold
        for word in profile.fold.consent.values()
    )


def settle_consent(component: Component, identifiers: Collection[str], fold: Facet, policy: Policy) -> None:
    """Make the answers of a fold, the newest words so far, those of the person."""
    said: dict[str, dict[str, Cell]] = {}
    for identifier in identifiers:
        facet = component.look(identifier)
        if facet is not None:
            for purpose, word in facet.consent.items():
                said.setdefault(purpose, {})[identifier] = word
    joined = None
    for purpose, words in said.items():
        fold.consent[purpose] = max(words.values(), key=lambda word: (word[1], not word[0]))
        refused = [(word[1], one) for one, word in words.items() if not word[0]]
        granted = [(word[1], one) for one, word in words.items() if word[0]]
        if not refused or not fold.consent[purpose][0]:
            continue
        if joined is None:
            joined = _Joined(component, identifiers, policy)
        held = [
            at_ms
            for at_ms, one in refused
            if not any(later_ms > at_ms and joined.by(later_ms, one, other) for later_ms, other in granted)
        ]
        if held:
            fold.consent[purpose] = [False, max(held)]


class _Joined:
    """Since when identifiers of a profile are known to belong together."""

    def __init__(self, component: Component, identifiers: Collection[str], policy: Policy) -> None:
        self._links: list[tuple[int, str, str]] = []
        for identifier in component.identifiers:
            facet = component.look(identifier)
            for link in () if facet is None else links_of(identifier, facet):
                ends = (link.stronger, link.weaker)
                if all(one in identifiers and one not in component.inert for one in ends):
                    self._links.append((link.first_ms, *ends))
        for decision in in_force(component.decisions) if component.decisions else ():
            united = [one for one in decision.identifiers if one in identifiers]
            self._links += [(decision.at_ms, united[0], other) for other in united[1:]]
        for pair in pairs_in(component, policy):
            if pair.stronger in identifiers and pair.weaker in identifiers:
                self._links.append((pair.known_ms, pair.stronger, pair.weaker))

    def by(self, at_ms: int, a: str, b: str) -> bool:
        """Whether links that were seen until `at_ms` lead from one to the other."""
        links = [(one, other) for first_ms, one, other in self._links if first_ms <= at_ms]
        return b in _reached(a, links)


def _reached(start: str, links: Iterable[tuple[str, str]]) -> set[str]:
    beside: dict[str, list[str]] = {}
    for one, other in links:
        beside.setdefault(one, []).append(other)
        beside.setdefault(other, []).append(one)
    found, ahead = {start}, [start]
    while ahead:
        for other in beside.get(ahead.pop(), ()):
            if other not in found:
                found.add(other)
                ahead.append(other)
    return found
