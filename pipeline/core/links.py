"""The evidence of a component in the form in which identity.py judges it: links, and what keeps apart."""

from __future__ import annotations

from collections.abc import Iterable

from .apart import Apart
from .facet import PAIR, Facet
from .identity import Link, Told
from .node import Component


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


def links_in(component: Component) -> list[Link]:
    """The links that a component holds. A pair may come more than once, from different facets."""
    links: list[Link] = []
    for identifier in component.identifiers:
        facet = component.facet(identifier)
        if facet is not None:
            links.extend(links_of(identifier, facet))
    return links
