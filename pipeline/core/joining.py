"""Joining components: a claim that meets another owner ends here as a union of two components.

The stronger root survives, the other becomes a redirect. A large union travels in parts; outputs are held until
the last part and the last open claim are in. It must not know how messages travel: it hands them to `send`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from .messages import MERGE_BYTES_MAX, Claim, Close, Join, Linked, Merge, Message
from .node import Component, Entry, is_nil
from .outbox import Nodes
from .outputs import Outputs
from .policy import Policy

MERGING: Final = "\x1f"
"""Prefix of a claim that stands for a merge of which parts are still on their way."""


class Joiner:
    """Unites components. One per task."""

    def __init__(
        self, policy: Policy, nodes: Nodes, outputs: Outputs, send: Callable[[str, Message], None]
    ) -> None:
        self.policy = policy
        self.nodes = nodes
        self.outputs = outputs
        self._send = send

    def join(self, root: str, component: Component | None, join: Join, now_ms: int) -> None:
        survivor = join.survivor
        if component is None or survivor in (root, component.redirect):
            self._send(survivor, Linked(survivor, join.identifier, ""))
        elif component.redirect:
            upper, lower = self.policy.ordered(component.redirect, survivor)
            component.redirect = upper
            self.nodes.save_component(component)
            self._send(lower, Join(upper, join.identifier))
        else:
            self._give_up(component, survivor, join.identifier, now_ms)

    def _give_up(self, component: Component, survivor: str, identifier: str, now_ms: int) -> None:
        """Send everything to the survivor, in parts if it is large, and become a redirect."""
        self.outputs.outbox.joins += 1
        owned = [one for one in component.identifiers if one not in component.claims]
        parts: list[list[tuple[str, msgspec.Raw]]] = [[]]
        size = 0
        for one in owned:
            packed = component.pack(one)
            if size + len(memoryview(packed)) > MERGE_BYTES_MAX and parts[-1]:
                parts.append([])
                size = 0
            parts[-1].append((one, packed))
            size += len(memoryview(packed)) + len(one)
        for index, facets in enumerate(parts):
            merge = Merge(component.root, identifier, index == len(parts) - 1, facets)
            if index == 0:
                merge.inert, merge.closed = sorted(component.inert), component.closed
                merge.claims = sorted(component.claims - {identifier})
                merge.entries = {pid: (e.anchor, e.alias_of, e.memberships) for pid, e in component.entries.items()}
                merge.trigger, merge.last_active = tuple(component.trigger), component.last_active
            self._send(survivor, merge)
        self.outputs.unpublished.pop(component.root, None)
        self.nodes.drop_pages(component)
        component.become_redirect(survivor, now_ms + self.policy.history_ms)
        self.nodes.save_component(component)

    def merge(self, component: Component, merge: Merge, now_ms: int) -> None:
        for identifier, packed in merge.facets:
            self._take(component, identifier, packed)
        for identifier in merge.claims:
            if identifier not in component.identifiers and identifier not in component.closed:
                if not component.claims:
                    component.hold_until = now_ms + self.policy.link_wait_ms
                if not identifier.startswith(MERGING):
                    component.add_identifier(identifier)
                component.claims.add(identifier)
        component.inert.update(merge.inert)
        for identifier, why in merge.closed.items():
            if identifier not in component.identifiers:
                component.closed[identifier] = why
        for pid, entry in merge.entries.items():
            component.entries[pid] = Entry(*entry)
        if merge.trigger[1] > component.trigger[1]:
            component.trigger = list(merge.trigger)
        component.last_active = max(component.last_active, merge.last_active)
        component.stale = True
        if merge.last:
            component.claims.discard(MERGING + merge.loser)
            component.claims.discard(merge.identifier)
            if len(component.identifiers) > self.policy.component_identifiers_max:
                self.outputs.refuse_full(component, merge.identifier, now_ms)
                self._send(merge.identifier, Close())
        else:
            component.claims.add(MERGING + merge.loser)
        self.outputs.outbox.sizes.append(len(component.identifiers))
        self.outputs.settle(component, now_ms, merge.identifier)
        self.nodes.save_component(component)

    def _take(self, component: Component, identifier: str, packed: msgspec.Raw) -> None:
        """Union of one facet. What the loser owned is owned here now, so an open claim on it is answered."""
        component.claims.discard(identifier)
        component.closed.pop(identifier, None)
        if identifier not in component.identifiers:
            component.add_identifier(identifier)
        mine = component.facet(identifier)
        if mine is None:
            component.facets.pop(identifier, None)
            component.packed[identifier] = packed
            component.dirty_pages.add(component.identifiers[identifier])
        elif not is_nil(packed):
            other = Component(component.root)
            other.add_identifier(identifier)
            other.packed[identifier] = packed
            theirs = other.facet(identifier)
            assert theirs is not None
            mine = component.own_facet(identifier)
            mine.add(theirs, self.policy.traits, self.outputs.catalogue.capacities)
            mine.add_links(theirs)

    def linked(self, component: Component, linked: Linked, now_ms: int) -> None:
        identifier, status = linked.identifier, linked.status
        if identifier in component.claims:
            if status in ("shared", "full"):
                if linked.component != component.root:  # It was asked by a component that has merged into this one.
                    self._send(identifier, Claim(component.root, "", True))
                    return
                component.remove_identifier(identifier)
                component.closed[identifier] = status
                self.outputs.outbox.refused.append(status if status == "shared" else "component_full")
            component.claims.discard(identifier)
            component.stale = True
        if status == "inert" and identifier in component.identifiers and identifier not in component.inert:
            component.inert.add(identifier)
            component.stale = True
        if component.unsettled or component.stale:
            self.outputs.settle(component, now_ms, identifier)
        self.nodes.save_component(component)
