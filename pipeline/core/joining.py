"""Joining components: a claim that meets another owner ends here as a union of two components.

The stronger root survives, the other becomes a redirect, which passes on what comes and ends some day. A
large union travels in parts; outputs are held until the last part and the last open claim are in. Whose
records match is claimed here too. It must not know how messages travel: it hands them to `send`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from .decisions import names, united_rows
from .likeness import record_text
from .messages import (
    MERGE_BYTES_MAX,
    Bind,
    Claim,
    Close,
    Decided,
    Describe,
    Join,
    Linked,
    Locate,
    Matches,
    Merge,
    Message,
)
from .node import CLAIMANT, Component, Entry, is_nil
from .outbox import Nodes, Review
from .outputs import Outputs
from .policy import Policy

LOCATED_HISTORIES: Final = 3
"""How long a redirect outlives its last use once its identifiers are located: longer than another redirect
that this use came through may wait before it asks where its own are (twice the history)."""


class Joiner:
    """Unites components. One per task."""

    def __init__(
        self, policy: Policy, nodes: Nodes, outputs: Outputs, send: Callable[[str, Message], None]
    ) -> None:
        self.policy = policy
        self.nodes = nodes
        self.outputs = outputs
        self._send = send
        self.untold = 0
        """Version of the policy that is being worked off here, if it may change how records are compared."""

    def join(self, root: str, component: Component | None, join: Join, now_ms: int) -> None:
        survivor = join.survivor
        if component is None or survivor in (root, component.redirect):
            self._send(survivor, Linked(join.claimant, join.identifier, ""))
        elif component.redirect:
            # The redirect stays as it is: what goes through it must not overtake the merge that went before.
            upper, lower = self.policy.ordered(component.redirect, survivor)
            self._send(lower, Join(upper, join.identifier, join.claimant))
        else:
            self._give_up(component, join, now_ms)

    def _give_up(self, component: Component, join: Join, now_ms: int) -> None:
        """Send everything to the survivor, in parts if it is large, and become a redirect."""
        self.outputs.outbox.joins += 1
        awaited = component.awaited()  # A touch can reach an identifier here before its claim is answered.
        owned = [one for one in component.identifiers if one not in awaited or component.has_facet(one)]
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
            merge = Merge(component.root, join.identifier, join.claimant, index == len(parts) - 1, facets)
            merge.untold = self.untold
            if index == 0:
                merge.inert, merge.closed = sorted(component.inert), dict(component.closed)
                merge.claims = sorted(
                    component.claims - {_claim_of(join.claimant, join.identifier, component.root)}
                )
                merge.entries = {
                    pid: (e.anchor, e.alias_of, e.memberships) for pid, e in component.entries.items()
                }
                merge.trigger, merge.last_active = component.trigger, component.last_active
            if index == 0 and component.decisions:
                self._send(join.survivor, Decided(dict(component.decisions)))
            if index == 0:
                for one, (edition, edges) in component.matches.items():
                    self._send(join.survivor, Matches(one, edition, edges))
            self._send(join.survivor, merge)
        self.outputs.unpublished.pop(component.root, None)
        self.nodes.drop_pages(component)
        component.become_redirect(join.survivor, now_ms + self.policy.history_ms)
        self.nodes.save_component(component)

    def end_redirect(self, component: Component, now_ms: int) -> None:
        """A redirect ends in two steps, so that whoever was made to point here before still finds the
        survivor.

        First its identifiers are told where they are; it goes when all that point to it have done the same.
        """
        kept = component.pages[0]
        if component.window_due <= now_ms and not kept:
            self.nodes.drop_component(component)
            return
        if component.window_due <= now_ms:
            for identifier in kept:
                self._send(component.redirect, Locate(identifier))
            component.pages = [[]]
            component.window_due = now_ms + LOCATED_HISTORIES * self.policy.history_ms
        self.nodes.save_component(component)

    def forward(self, component: Component, message: Message, now_ms: int) -> None:
        """Pass a message on to the survivor; a redirect that is still used lives on."""
        history_ms = self.policy.history_ms
        kept_ms = history_ms if component.pages[0] else LOCATED_HISTORIES * history_ms
        if component.window_due < now_ms + kept_ms:
            component.window_due = now_ms + kept_ms + history_ms
            self.nodes.save_component(component)
        self._send(component.redirect, message)

    def decided(self, component: Component, decided: Decided, now_ms: int) -> None:
        """Take decisions over. What they change is told with the merge that comes next."""
        component.decisions = united_rows(component.decisions, decided.decisions)
        if not component.unsettled:
            self.outputs.hold(component, now_ms)
        component.stale = component.unsettled = True
        self.nodes.save_component(component)

    def matches(self, component: Component, told: Matches, now_ms: int) -> None:
        """Take over whose records match that of an identifier, unless something newer is known."""
        identifier = told.identifier
        known = component.matches.get(identifier)
        if known is not None and known[0] >= told.edition:
            return
        component.matches = {**component.matches, identifier: (told.edition, told.edges)}
        if identifier in component.identifiers:  # Else it comes with a merge.
            component.stale = True
            self._claim_matches(component, now_ms)
            self.outputs.settle(component, now_ms, identifier)
            self._ask_steward(component, identifier, {} if known is None else known[1], told.edges, now_ms)
        self.nodes.save_component(component)

    def _claim_matches(self, component: Component, now_ms: int) -> None:
        """Claim those whose records match well enough, so that one component decides about them."""
        matching, order_of = self.policy.matching, self.policy.order_of
        if matching is None:
            return
        for one, (_, edges) in component.matches.items():
            if one not in component.identifiers or one in component.inert:
                continue
            for other, weight in edges.items():
                if weight < matching.merge_above or order_of(other) < order_of(one):
                    continue  # The other one's component claims.
                if other in component.identifiers or other in component.closed:
                    continue
                if (
                    len(component.identifiers) + len(component.closed)
                    >= self.policy.component_identifiers_max
                ):
                    self.refuse_full(component, other, now_ms)
                    continue
                self._await(component, other, now_ms)
                self._ask(component, other)

    def _ask_steward(
        self, component: Component, one: str, before: dict[str, float], edges: dict[str, float], now_ms: int
    ) -> None:
        """Have a steward look at the pairs that have come to match, but not well enough."""
        matching, order_of = self.policy.matching, self.policy.order_of
        if matching is None or one in component.inert:
            return
        profile = None if component.unsettled else self.outputs.profile_of(component, one)
        for other, weight in edges.items():
            if (
                weight >= matching.merge_above
                or before.get(other, matching.merge_above) < matching.merge_above
            ):
                continue
            if order_of(other) < order_of(one) or (profile is not None and other in profile.identifiers):
                continue
            detail = f"match weight {weight:g}, less than merge_above: {matching.merge_above:g}"
            self.outputs.outbox.ask_review(
                Review(component.root, "pair", [one, other], detail, now_ms, self.policy.version, weight)
            )

    def _ask(self, component: Component, identifier: str) -> None:
        """Claim an identifier for a component, by the strongest right that it has."""
        if component.decisions and names(component.decisions, identifier):
            self._send(identifier, Bind(component.root))
        else:
            self._send(identifier, Claim(component.root, "", True))

    def merge(self, component: Component, merge: Merge, now_ms: int) -> None:
        if len(component.identifiers) > 1 and not component.unsettled:
            self.outputs.profiles(component)  # Who leaves whom is seen by what was before.
        for identifier, packed in merge.facets:
            self._take(component, identifier, packed)
        for claim in merge.claims:
            self._await(component, claim if CLAIMANT in claim else f"{merge.loser}{CLAIMANT}{claim}", now_ms)
        if merge.inert:
            component.make_inert(merge.inert)
        for identifier, why in merge.closed.items():
            if identifier not in component.identifiers:
                component.close_to(identifier, why)
        for pid, entry in merge.entries.items():
            component.entries[pid] = Entry(*entry)
        if merge.entries:
            self.outputs.leave_deleted(component, now_ms)  # Told before the loser's partition knew of it.
        if merge.trigger[1] > component.trigger[1]:
            component.trigger = merge.trigger
        component.last_active = max(component.last_active, merge.last_active)
        component.stale = True
        if merge.last:
            component.end_claim(CLAIMANT + merge.loser)
            component.end_claim(_claim_of(merge.claimant, merge.identifier, component.root))
            if merge.identifier not in component.identifiers and merge.identifier not in component.closed:
                self._await(
                    component, merge.identifier, now_ms
                )  # It comes with another merge, or was forgotten.
                self._ask(component, merge.identifier)
            if len(component.identifiers) + len(component.closed) > self.policy.component_identifiers_max:
                self.outputs.refuse_full(component, merge.identifier, now_ms)
                for full in component.identifiers:  # Also those that came just now.
                    self._send(full, Close())
            if component.matches:
                self._claim_matches(component, now_ms)
        else:
            self._await(component, CLAIMANT + merge.loser, now_ms)
        self.outputs.outbox.sizes.append(len(component.identifiers))
        self.outputs.settle(component, now_ms, merge.identifier)
        self.nodes.save_component(component)

    def refuse_full(self, component: Component, other: str, now_ms: int) -> None:
        """Leave an identifier out because its component is full; all that are in it are told once."""
        if self.outputs.refuse_full(component, other, now_ms):
            for full in component.identifiers:
                self._send(full, Close())

    def _await(self, component: Component, claim: str, now_ms: int) -> None:
        """Hold outputs back until a claim is answered, or a merge (CLAIMANT, loser) is complete."""
        if not component.claims:
            self.outputs.hold(component, now_ms)
        component.add_claim(claim)
        if not claim.startswith(CLAIMANT):
            identifier = claim.rpartition(CLAIMANT)[2]
            if identifier not in component.identifiers and identifier not in component.closed:
                component.add_identifier(identifier)

    def _take(self, component: Component, identifier: str, packed: msgspec.Raw) -> None:
        """Union of one facet. Whose claim on it is open here will be answered by itself."""
        component.open_to(identifier)
        if identifier not in component.identifiers:
            component.add_identifier(identifier)
        mine = component.facet(identifier)
        if mine is None:
            component.facets.pop(identifier, None)
            component.packed[identifier] = packed
            component.dirty_pages |= {component.identifiers[identifier]}
        elif not is_nil(packed):
            other = Component(component.root)
            other.add_identifier(identifier)
            other.packed[identifier] = packed
            theirs = other.facet(identifier)
            assert theirs is not None
            mine = component.own_facet(identifier)
            mine.add(theirs, self.policy.traits, self.outputs.catalogue.capacities)
            mine.add_links(theirs)
            if self.policy.matching is not None and (record := record_text(identifier, mine, self.policy)):
                self._send(identifier, Describe(component.root, record))

    def linked(self, component: Component, linked: Linked, now_ms: int) -> None:
        identifier, status = linked.identifier, linked.status
        claim = _claim_of(linked.component, identifier, component.root)
        if claim in component.claims:
            component.end_claim(claim)
            component.stale = True
            if status in ("shared", "full"):
                status = self._refused(component, identifier, status, claim == identifier, now_ms)
            elif identifier not in component.identifiers:
                component.open_to(identifier)
                component.add_identifier(identifier)
        if status == "inert" and identifier not in component.inert:
            if not linked.component and not component.unsettled:
                self.outputs.profiles(component)  # Who leaves whom is seen by what was before.
                component.trigger = linked.trigger if linked.trigger[1] else ("", now_ms)
            component.make_inert([identifier])  # It may be on its way here.
            component.stale = True
        if component.unsettled or component.stale:
            self.outputs.settle(component, now_ms, identifier)
        self.nodes.save_component(component)

    def _refused(self, component: Component, identifier: str, status: str, own: bool, now_ms: int) -> str:
        """An identifier that is `shared` or whose component is `full` answered a claim.

        Returns its status here.
        """
        if component.has_facet(identifier):
            return "inert" if status == "shared" else ""  # It is owned here, under the root of a redirect.
        if identifier in component.awaited():
            return ""  # Another claim will tell.
        decided = status == "shared" and component.decisions and names(component.decisions, identifier)
        if not own or decided:
            # Asked by a component that has merged into this one and may own it; or asked because of a link:
            # a decision may have what a link may not.
            self._await(component, identifier, now_ms)
            self._ask(component, identifier)
            return ""
        if identifier in component.identifiers:
            component.remove_identifier(identifier)
        component.close_to(identifier, status)
        self.outputs.outbox.refused.append(status if status == "shared" else "component_full")
        return status


def _claim_of(claimant: str, identifier: str, root: str) -> str:
    """How component `root` remembers the claim that `claimant` made."""
    return identifier if claimant == root else f"{claimant}{CLAIMANT}{identifier}"
