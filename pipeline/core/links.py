"""The evidence of a component in the form in which identity.py judges it: links, and what keeps apart; and
the judgement.
"""

from __future__ import annotations

from collections.abc import Iterable

from .alike import alike_in
from .apart import Apart
from .decisions import group_evidence
from .facet import PAIR, Facet
from .identity import NOTHING_TOLD, Link, RefusedLink, Told, agree, within_limits
from .node import Component, Profile
from .policy import Policy


def links_of(identifier: str, facet: Facet) -> list[Link]:
    """The links that a facet holds, as evidence."""
    links: list[Link] = []
    for key, (first_ms, last_ms, _, first_event, _) in facet.links.items():
        stronger, _, weaker = key.rpartition(PAIR)
        links.append(Link(stronger or identifier, weaker, first_ms, last_ms, first_event))
    return links


def told_in(component: Component, identifiers: Iterable[str], apart: Apart) -> Told:
    """What the facets of a component say about the traits that keep people apart."""
    told: Told = {}
    for identifier in identifiers:
        facet = component.facet(identifier)
        if facet is not None and (values := apart.told(facet.traits)):
            told[identifier] = values
    return told


def groups_in(
    component: Component, policy: Policy, apart: Apart | None
) -> tuple[list[list[str]], list[RefusedLink]]:
    """Who of a component is one person under a policy, and the links that it refuses.

    `apart`: what keeps people apart under it. Identifiers with an open claim are left out.
    """
    awaited = component.awaited()
    identifiers = [one for one in component.identifiers if one not in awaited]
    told = NOTHING_TOLD if apart is None else told_in(component, identifiers, apart)
    if len(identifiers) == 1 or (
        not (component.inert or component.decisions or component.matches)
        and within_limits(identifiers, policy)
        and (not told or agree(told))
    ):
        identifiers.sort(key=policy.order_of)
        return [identifiers] if identifiers else [], []
    links = links_in(component)
    alike = alike_in(component, policy) if component.matches else None
    return group_evidence(component.decisions, identifiers, links, component.inert, policy, told, alike)


def links_in(component: Component) -> list[Link]:
    """The links that a component holds. A pair may come more than once, from different facets."""
    links: list[Link] = []
    for identifier in component.identifiers:
        facet = component.facet(identifier)
        if facet is not None:
            links.extend(links_of(identifier, facet))
    return links


def parted_ids(before: Iterable[Profile], profiles: Iterable[Profile]) -> set[str]:
    """The profiles of before that an identifier has left, and those that are made of nothing else."""
    now = {identifier: profile for profile in profiles for identifier in profile.identifiers}
    found: set[str] = set()
    for old in before:
        heirs = {heir.id: heir for one in old.identifiers if (heir := now.get(one)) is not None}
        # Who was only seen beside others, and is refused there, is nobody now.
        if len(heirs) > 1 or any(one not in now for one in old.identifiers):
            found.add(old.id)
            found.update(pid for pid, heir in heirs.items() if set(heir.identifiers) <= set(old.identifiers))
    return found
