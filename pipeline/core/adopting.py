"""Brings stored components under a policy that was taken into use, each once: when it is used, or its turn
comes.

What is told is the difference between what consumers were told before and what the new policy says. It must
not know where components are kept, nor in which order their turns come.
Source: docs/decisions/0015-policy-changes-live.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from .apart import Apart
from .likeness import record_text
from .links import groups_in
from .messages import Claim, Describe, Merge, Message
from .node import Component
from .outbox import Cause
from .outputs import Outputs
from .policy import Policy
from .policy_change import PolicyChange

JUDGED_MAX: Final = 200_000  # roots, about 20 MB; who is not remembered is judged again, to no effect


class Adopter:
    """One per task, while a change of policy is being worked off.

    `passed`: the root of the last component whose turn has come; turns come in the order of roots. `judged`:
    roots that were judged before their turn, for the components themselves are decoded again and again.
    """

    def __init__(self, change: PolicyChange, outputs: Outputs, send: Callable[[str, Message], None]) -> None:
        self.change = change
        self.passed = ""
        self.judged: set[str] = set()
        self._outputs = outputs
        self._send = send
        old = change.old
        self._apart = Apart(old) if old.apart_traits else None

    def adopt(self, component: Component, now_ms: int) -> None:
        """Judge a component that is about to be used, unless that was done. To be called before its use."""
        version = self.change.new.version
        if component.policy_version == version or component.redirect:
            return
        component.policy_version = version
        root = component.root
        if root > self.passed and root not in self.judged:
            self._judge(component, now_ms)
            if len(self.judged) < JUDGED_MAX:
                self.judged.add(root)

    def _judge(self, component: Component, now_ms: int) -> None:
        free = not (component.inert or component.decisions or component.matches)
        if free and self.change.spares(component.identifiers):
            return
        change = self.change
        groups, _ = groups_in(component, change.old, self._apart)
        if change.recounted and change.may_share(component.identifiers):
            shared = change.newly_shared(component, change.partners(component))
            if shared:
                component.make_inert(shared)
                self._outputs.nodes.save_component(component)
        if component.unsettled:
            return  # It is judged when its claims are answered.
        component.profiles = None
        before = [group for group in groups if any(component.has_facet(one) for one in group)]
        # Whoever uses the component next needs its profiles anyway.
        after = [profile.identifiers for profile in self._outputs.profiles(component)]
        cause = Cause.UNMERGE
        if sorted(before) == sorted(after):
            if not change.traits or len(component.identifiers) == 1:
                return
            cause = Cause.DEFINITION
        component.trigger = ("", now_ms)
        self._outputs.settle(component, now_ms, None, cause)
        self._outputs.nodes.save_component(component)

    def tell_partners(self, component: Component) -> None:
        """Tell identifiers with whom they were seen, so that those which too many share know it; and their
        comparison records, for they may be compared in another way now.
        """
        change = self.change
        if component.redirect:
            return
        if change.compares:
            tell_records(component, component.identifiers, change.new, self._send)
        if not change.recounted:
            return
        if change.tells_partners or change.may_share(component.identifiers):
            for identifier, partners in change.partners(component).items():
                for partner in partners:
                    self._send(identifier, Claim(component.root, partner, False))

    def take_turn(self, component: Component, now_ms: int) -> None:
        """Judge a component, and tell what its turn is for."""
        self.adopt(component, now_ms)
        self.tell_partners(component)


def tell_records(
    component: Component, identifiers: Iterable[str], policy: Policy, send: Callable[[str, Message], None]
) -> None:
    """Tell identifiers of a component their comparison records."""
    for identifier in identifiers:
        facet = component.look(identifier)
        if facet is not None and (record := record_text(identifier, facet, policy)):
            send(identifier, Describe(component.root, record))


def tell_merged(
    component: Component,
    merge: Merge,
    adopter: Adopter | None,
    policy: Policy,
    send: Callable[[str, Message], None],
) -> None:
    """Tell the records that have come with a merge whose sender's turn had not, unless this one's comes."""
    if merge.untold and merge.untold <= policy.version:
        if adopter is None or component.root <= adopter.passed:
            tell_records(component, [identifier for identifier, _ in merge.facets], policy, send)
