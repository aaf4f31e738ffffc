"""Who is one person inside a component: a pure function of its evidence and of the identity policy.

Links are taken in a fixed order and each unites two groups of identifiers, unless a limit forbids it. The
order depends on the evidence alone, never on arrival, so every order of arrival gives the same profiles.
Source: docs/decisions/0001-component-stored-profile-computed.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from .policy import OnConflict, Policy

PROFILE_ID_BYTES: Final = 16


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
    """A link that the policy does not let unite two profiles, kept with its reason (`limit_<type>`,
    `shared`).
    """

    link: Link
    reason: str


def profile_id(identifier: str, key: bytes) -> str:
    """The profile id that an identifier gives: a keyed hash, so that it says nothing about the identifier.

    `key`: 1 to 64 bytes, one per deployment; the same in every replay.
    """
    return blake2b(identifier.encode(), key=key, digest_size=PROFILE_ID_BYTES).hexdigest()


def within_limits(identifiers: Iterable[str], policy: Policy) -> bool:
    """Whether all of them could be one profile. The common case, decided without looking at a link."""
    counts: dict[str, int] = {}
    for identifier in identifiers:
        kind = identifier.partition(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return all(count <= policy.rules[kind].limit for kind, count in counts.items())


def group_identifiers(
    identifiers: Collection[str], links: Iterable[Link], inert: Collection[str], policy: Policy
) -> tuple[list[list[str]], list[RefusedLink]]:
    """Unite identifiers into profiles.

    Args:
        identifiers: all of the component.
        links: the evidence, in any order; both ends may lie outside `identifiers`, such links are ignored.
        inert: identifiers that no longer link (shared ones); each is a profile of its own.
        policy: limits, ranks and conflict rules.
    Returns: groups of identifiers, each strongest first, and the refused links in the order of their
    decision.
    """
    parent = {identifier: identifier for identifier in identifiers}
    counts: dict[str, dict[str, int]] = {
        identifier: {identifier.partition(":")[0]: 1} for identifier in identifiers
    }
    refused: list[RefusedLink] = []
    for link in sorted(links, key=lambda link: _decision_order(link, policy)):
        if link.stronger not in parent or link.weaker not in parent:
            continue
        if link.stronger in inert or link.weaker in inert:
            refused.append(RefusedLink(link, "shared"))
            continue
        a, b = _root(parent, link.stronger), _root(parent, link.weaker)
        if a == b:
            continue
        over = _over_limit(counts[a], counts[b], policy)
        if over is not None:
            refused.append(RefusedLink(link, f"limit_{over}"))
            continue
        parent[b] = a
        for kind, count in counts.pop(b).items():
            counts[a][kind] = counts[a].get(kind, 0) + count
    groups: dict[str, list[str]] = {}
    for identifier in sorted(identifiers, key=policy.order_of):
        groups.setdefault(_root(parent, identifier), []).append(identifier)
    return list(groups.values()), refused


def _decision_order(link: Link, policy: Policy) -> tuple[int, int, int, str, str]:
    """Rank first, then time: the oldest link wins, or the latest where the weaker type moves between
    profiles.
    """
    weaker = policy.rule_of(link.weaker)
    instant = -link.last_ms if weaker.on_conflict is OnConflict.MOVE else link.first_ms
    return policy.rule_of(link.stronger).rank, weaker.rank, instant, link.stronger, link.weaker


def _root(parent: dict[str, str], identifier: str) -> str:
    while parent[identifier] != identifier:
        parent[identifier] = parent[parent[identifier]]
        identifier = parent[identifier]
    return identifier


def _over_limit(a: Mapping[str, int], b: Mapping[str, int], policy: Policy) -> str | None:
    over = [kind for kind, count in b.items() if count + a.get(kind, 0) > policy.rules[kind].limit]
    return min(over, key=lambda kind: policy.rules[kind].rank) if over else None
