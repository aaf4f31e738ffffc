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
            # The redirect stays as it is: what goes through it must not overtake the merge that went before.
            upper, lower = self.policy.ordered(component.redirect, survivor)
            self._send(lower, Join(upper, join.identifier))
        else:
            self._give_up(component, survivor, join.identifier, now_ms)

    def _give_up(self, component: Component, survivor: str, identifier: str, now_ms: int) -> None:
        """Send everything to the survivor, in parts if it is large, and become a redirect."""
        self.outputs.outbox.joins += 1
        claims = component.claims  # A touch of its own can reach an identifier here before its claim is answered.
        owned = [one for one in component.identifiers if one not in claims or component.facet(one) is not None]
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
                merge.inert, merge.closed = sorted(component.inert), dict(component.closed)
                merge.claims = sorted(claims - {identifier})
                merge.entries = {pid: (e.anchor, e.alias_of, e.memberships) for pid, e in component.entries.items()}
                merge.trigger, merge.last_active = component.trigger, component.last_active
            self._send(survivor, merge)
        self.outputs.unpublished.pop(component.root, None)
        self.nodes.drop_pages(component)
        component.become_redirect(survivor, now_ms + self.policy.history_ms)
        self.nodes.save_component(component)

    def merge(self, component: Component, merge: Merge, now_ms: int) -> None:
        for identifier, packed in merge.facets:
            self._take(component, identifier, packed)
        taken = {identifier for identifier, _ in merge.facets}
        for identifier in merge.claims:
            if identifier in taken or not (identifier in component.identifiers or identifier in component.closed):
                self._await(component, identifier, now_ms)
        if merge.inert:
            component.make_inert(merge.inert)
        for identifier, why in merge.closed.items():
            if identifier not in component.identifiers:
                component.close_to(identifier, why)
        for pid, entry in merge.entries.items():
            component.entries[pid] = Entry(*entry)
        if merge.trigger[1] > component.trigger[1]:
            component.trigger = merge.trigger
        component.last_active = max(component.last_active, merge.last_active)
        component.stale = True
        if merge.last:
            component.end_claim(MERGING + merge.loser)
            component.end_claim(merge.identifier)
            if merge.identifier not in component.identifiers and merge.identifier not in component.closed:
                self._await(component, merge.identifier, now_ms)  # It comes with another merge, or was forgotten.
                self._send(merge.identifier, Claim(component.root, "", True))
            if len(component.identifiers) > self.policy.component_identifiers_max:
                self.outputs.refuse_full(component, merge.identifier, now_ms)
                self._send(merge.identifier, Close())
        else:
            self._await(component, MERGING + merge.loser, now_ms)
        self.outputs.outbox.sizes.append(len(component.identifiers))
        self.outputs.settle(component, now_ms, merge.identifier)
        self.nodes.save_component(component)

    def _await(self, component: Component, identifier: str, now_ms: int) -> None:
        """Hold outputs back until the claim on an identifier is answered, or a merge is complete."""
        if not component.claims:
            component.hold_until = now_ms + self.policy.link_wait_ms
        if identifier not in component.identifiers and not identifier.startswith(MERGING):
            component.add_identifier(identifier)
        component.add_claim(identifier)

    def _take(self, component: Component, identifier: str, packed: msgspec.Raw) -> None:
        """Union of one facet. What the loser owned is owned here now, so an open claim on it is answered."""
        component.end_claim(identifier)
        component.open_to(identifier)
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
            if status in ("shared", "full") and component.facet(identifier) is not None:
                status = "inert" if status == "shared" else ""  # It is owned here, under the root of a redirect.
            elif status in ("shared", "full"):
                if linked.component != component.root:  # It was asked by a component that has merged into this one.
                    self._send(identifier, Claim(component.root, "", True))
                    return
                component.remove_identifier(identifier)
                component.close_to(identifier, status)
                self.outputs.outbox.refused.append(status if status == "shared" else "component_full")
            component.end_claim(identifier)
            component.stale = True
        if status == "inert" and identifier not in component.inert:
            component.make_inert([identifier])  # It may be on its way here.
            component.stale = True
        if component.unsettled or component.stale:
            self.outputs.settle(component, now_ms, identifier)
        self.nodes.save_component(component)
