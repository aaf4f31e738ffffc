"""What a decision would do, tried on a copy: the real protocol over components that were read from outside.

It must not know where they were read, nor how what it finds is shown. The copy is changed, so it is of no
further use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .node import Component, IdentifierNode
from .outbox import MembershipChange, Outbox, ProfileAlias
from .outputs import Outputs
from .policy import Policy
from .resolver import Resolver
from .segments.catalogue import Catalogue
from .touch import Touch

Group = tuple[str, list[str]]
"""Profile id and identifiers."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The profiles concerned before and after, and what consumers would be told."""

    before: list[Group]
    after: list[Group]
    aliases: list[ProfileAlias]
    changes: list[MembershipChange]

    def to_json(self) -> dict[str, Any]:
        """The shape of `--dry-run --json`."""
        return {
            "before": [_profile(one) for one in self.before],
            "after": [_profile(one) for one in self.after],
            "aliases": [
                {"old_profile_id": one.old_profile_id, "profile_id": one.profile_id, "cause": one.cause.value}
                for one in self.aliases
            ],
            "memberships": [
                {"profile_id": one.profile_id, "segment_id": one.segment_id, "change": one.change,
                 "sequence": one.sequence, "cause": one.cause.value}
                for one in self.changes
            ],
        }  # fmt: skip


def _profile(group: Group) -> dict[str, Any]:
    return {"profile_id": group[0], "identifiers": group[1]}


class _Copy:
    """The nodes of some components, as one partition."""

    def __init__(self, components: Iterable[Component]) -> None:
        self.components = {one.root: one for one in components}
        self.identifiers: dict[str, IdentifierNode] = {}
        for component in self.components.values():
            component.profiles = None  # They may have been computed under another catalogue.
            for identifier in component.identifiers:
                node = self.identifiers[identifier] = IdentifierNode(component.root)
                node.shared = identifier in component.inert
                node.closed = component.reviewed

    def identifier(self, identifier: str) -> IdentifierNode | None:
        return self.identifiers.get(identifier)

    def component(self, root: str) -> Component | None:
        return self.components.get(root)

    def save_identifier(self, identifier: str, node: IdentifierNode) -> None:
        self.identifiers[identifier] = node

    def save_component(self, component: Component) -> None:
        self.components[component.root] = component

    def drop_identifier(self, identifier: str) -> None:
        self.identifiers.pop(identifier, None)

    def drop_component(self, component: Component) -> None:
        self.components.pop(component.root, None)

    def drop_pages(self, component: Component) -> None:
        """All pages of a copy are in memory."""

    def value(self, key: bytes) -> bytes | None:
        """A trial is no new evidence: nobody is compared."""

    def put(self, key: bytes, value: bytes | None) -> None:
        """See `value`."""


def try_out(
    components: Iterable[Component],
    touches: Iterable[Touch],
    policy: Policy,
    catalogue: Catalogue,
    profile_key: bytes,
    now_ms: int,
) -> Trial:
    """Let touches arrive at components, which are given up. What is due by `now_ms` has happened before."""
    nodes = _Copy(components)
    outputs = Outputs(policy, catalogue, nodes, profile_key, 0)
    resolver = Resolver(policy, nodes, outputs, lambda key: True)
    outputs.outbox = Outbox()
    for root in list(nodes.components):
        resolver.tick(root, now_ms)
    before = _groups(nodes, outputs)
    outbox = outputs.outbox = Outbox()
    for touch in touches:
        resolver.touch(touch, now_ms)
    for root in list(nodes.components):
        component = nodes.components[root]
        if component.unsettled and not component.redirect:
            outputs.settle(component, max(now_ms, component.hold_until))
    told = [one for one in outbox.told if isinstance(one, ProfileAlias | MembershipChange)]
    aliases = [one for one in told if isinstance(one, ProfileAlias)]
    changes = [one for one in told if isinstance(one, MembershipChange)]
    return Trial(before, _groups(nodes, outputs), aliases, changes)


def _groups(nodes: _Copy, outputs: Outputs) -> list[Group]:
    live = [one for one in nodes.components.values() if not one.redirect]
    return sorted((one.id, list(one.identifiers)) for each in live for one in outputs.profiles(each))
