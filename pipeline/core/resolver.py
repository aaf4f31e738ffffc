"""The resolver's protocol: how identifiers and components find each other, one message at a time.

Redirects only ever point to a component that is stronger in the total order of roots, so there are no cycles;
joining is set union, so no order of messages can change the result. Messages to nodes on the same partition
are handled in the same batch; the others leave as mail. It must not know about Kafka, RocksDB or the clock.
Source: docs/architecture.md, "Nodes and messages".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import orjson

from .absorb import EMPTY_OBJECT, Absorber, Leaves
from .adopting import Adopter, tell_merged
from .comparing import Comparing
from .errors import InvariantViolation
from .facet import NEVER
from .joining import Joiner
from .messages import (
    OF_RECORDS,
    TO_IDENTIFIER,
    Absorb,
    Bind,
    Claim,
    Close,
    Decided,
    Fill,
    Forget,
    Join,
    Linked,
    Locate,
    Matches,
    Merge,
    Message,
    Repoint,
    Retouch,
)
from .node import Component, IdentifierNode
from .outbox import Nodes
from .outputs import Outputs
from .policy import Policy
from .policy_change import PolicyChange
from .touch import Touch

REACH_NORMALISERS: Final = ("email", "phone")
"""A type that is not strong is weak unless a person can be reached by it."""


class Resolver:
    """Handles the messages of one partition.

    Args:
        is_local: whether a node key lives on this partition.
        outputs: decides what to tell; its `outbox` also takes the mail.
    """

    def __init__(
        self, policy: Policy, nodes: Nodes, outputs: Outputs, is_local: Callable[[str], bool]
    ) -> None:
        self.nodes = nodes
        self.outputs = outputs
        self.is_local = is_local
        self.queue: deque[tuple[str, Message]] = deque()
        self.absorber = Absorber(policy, outputs, self._send)
        self.joiner = Joiner(policy, nodes, outputs, self._send)
        self.comparing = Comparing(policy, nodes, outputs, self._send)
        self.adopter: Adopter | None = None
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Decide by this policy from now on, here and in all that this resolver is made of."""
        self.policy = self.absorber.policy = self.joiner.policy = policy
        self.outputs.govern(policy)
        self.comparing.use(policy)
        self._weak = {
            kind
            for kind, rule in policy.rules.items()
            if kind not in policy.strong_types and rule.normalise not in REACH_NORMALISERS
        }

    def adopt(self, change: PolicyChange | None) -> None:
        """Judge components anew, each before it is used, because of a change of policy; None: no longer."""
        self.adopter = None if change is None else Adopter(change, self.outputs, self._send)
        self.outputs.adopt = None if self.adopter is None else self.adopter.adopt
        self.joiner.untold = self.policy.version if change is not None and change.compares else 0

    def turn_block(self, block: str, now_ms: int) -> None:
        """Find records by a block, or by it no longer, as the policy in force wants."""
        self.comparing.turn(block)
        self._drain(now_ms)

    def adopt_next(self, component: Component, now_ms: int) -> None:
        """The turn of a component has come."""
        adopter = self.adopter
        assert adopter is not None
        self.outputs.outbox.judged += 1
        adopter.take_turn(component, now_ms)
        self._drain(now_ms)
        if not component.redirect and self.next_due(component) < component.armed:
            self.nodes.save_component(component)  # A shorter retention: its timer is set.

    # -- ways in --------------------------------------------------------------------------------------------

    def touch(self, touch: Touch, now_ms: int) -> None:
        """A new touch at its strongest identifier. De-duplication has been done."""
        via = touch.identifiers[0]
        node = self.nodes.identifier(via)
        if node is None or not node.owner:
            node = self._own(via, node)
        owner = node.owner
        leaves = self._leaves(touch)
        if self.is_local(owner):
            self._absorb(owner, via, touch, leaves, now_ms)
            if self.queue:
                self._drain(now_ms)
        else:
            self.outputs.outbox.mail.append((owner, Absorb(via, touch, leaves)))

    def _leaves(self, touch: Touch) -> list[tuple[str, int]]:
        """The window leaves that a touch belongs to, with their capacities."""
        finder = self.outputs.catalogue.finders.get(touch.type)
        if finder is None:
            return []
        text = touch.properties
        properties: dict[str, Any] = {} if text in EMPTY_OBJECT else orjson.loads(text)
        return [(leaf.key_for(properties), leaf.capacity) for leaf in finder.find(properties)]

    def fill(self, via: str, fill: Fill, now_ms: int) -> bool:
        """An older touch of this partition, for leaves of a new definition. Returns whether it was sent."""
        node = self.nodes.identifier(via)
        if node is None or not node.owner:
            return False
        self._send(node.owner, fill)
        self._drain(now_ms)
        return True

    def receive(self, to: str, message: Message, now_ms: int) -> None:
        """A message that came by mail."""
        self.queue.append((to, message))
        self._drain(now_ms)

    def tick(self, root: str, now_ms: int) -> int:
        """A timer of a component. An overtaken one is ordinary: nothing is due, and nothing is written.

        Returns: the instant of the timer to be set in the place of one that was overtaken, else NEVER.
        """
        component = self._component(root, now_ms)
        if component is None:
            return NEVER
        if component.armed > now_ms and component.publish_due > now_ms:
            return component.armed
        self._elapse(component, now_ms)
        self._drain(now_ms)
        return NEVER

    def next_due(self, component: Component) -> int:
        """The instant of the component's next timer, ms; NEVER if it needs none."""
        if component.redirect:
            return component.window_due
        due_ms = component.hold_until if component.unsettled else component.window_due
        if self._is_anonymous(component):
            due_ms = min(due_ms, component.last_active + self.policy.anonymous_retention_ms)
        return due_ms

    # -- dispatch -------------------------------------------------------------------------------------------

    def _send(self, to: str, message: Message) -> None:
        if self.is_local(to):
            self.queue.append((to, message))
        else:
            self.outputs.outbox.mail.append((to, message))

    def _drain(self, now_ms: int) -> None:
        while self.queue:
            to, message = self.queue.popleft()
            if isinstance(message, Absorb):
                self._absorb(to, message.via, message.touch, message.leaves, now_ms, message.lost)
            elif isinstance(message, TO_IDENTIFIER):
                self._at_identifier(to, message, now_ms)
            elif isinstance(message, OF_RECORDS):
                self.comparing.receive(to, message, now_ms)
            else:
                self._at_component(to, message, now_ms)

    def _at_identifier(self, identifier: str, message: Message, now_ms: int) -> None:
        node = self.nodes.identifier(identifier)
        if isinstance(message, Claim):
            self._claim(identifier, node, message)
        elif isinstance(message, Repoint):
            order_of, owner = self.policy.order_of, message.component
            if node is None or not node.owner or order_of(owner) < order_of(node.owner):
                node = node or IdentifierNode()
                node.owner = message.component
                self.nodes.save_identifier(identifier, node)
        elif isinstance(message, Close):
            if node is not None:
                node.closed = True
                self.nodes.save_identifier(identifier, node)
        elif isinstance(message, Forget):
            order_of, expired = self.policy.order_of, message.component
            # A weaker owner was a redirect to the one that expired.
            gone = node is not None and not (node.owner and order_of(node.owner) < order_of(expired))
            if self.policy.matching is not None or self.adopter is not None:
                self.comparing.forget(identifier, expired, wholly=gone)
            if gone:
                self.nodes.drop_identifier(identifier)
        elif isinstance(message, Retouch):
            if node is None or node.owner == message.component:
                node = self._own(identifier, node)
            self._send(node.owner, Absorb(identifier, message.touch, message.leaves, message.component))
        elif isinstance(message, Bind):
            self._bind(identifier, node or IdentifierNode(), message.component)

    def _component(self, root: str, now_ms: int) -> Component | None:
        """The component of a root, judged by the policy in force."""
        component = self.nodes.component(root)
        if component is not None and self.adopter is not None:
            self.adopter.adopt(component, now_ms)
        return component

    def _at_component(self, root: str, message: Message, now_ms: int) -> None:
        component = self._component(root, now_ms)
        if isinstance(message, Join):
            if (
                component is not None
                and not component.redirect
                and min(component.armed, component.window_due) <= now_ms
            ):
                self._elapse(component, now_ms)  # The survivor does not hear of what was due here.
                component = self.nodes.component(root)  # None if it expired at this very instant.
            if component is not None and self.adopter is not None:
                # Its turn will not come, and the survivor's may be over.
                self.adopter.tell_partners(component)
            self.joiner.join(root, component, message, now_ms)
        elif component is not None and component.redirect:
            self.joiner.forward(component, message, now_ms)
        elif isinstance(message, Merge):
            if component is not None and min(component.armed, component.window_due) <= now_ms:
                self._elapse(component, now_ms)
                component = self.nodes.component(root)  # None if it expired at this very instant.
            component = component or Component(root)
            self.joiner.merge(component, message, now_ms)
            tell_merged(component, message, self.adopter, self.policy, self._send)
        elif isinstance(message, Linked):
            if component is not None:
                self.joiner.linked(component, message, now_ms)
        elif isinstance(message, Locate):
            if component is not None and message.identifier in component.identifiers:
                self._send(message.identifier, Repoint(root))
        elif isinstance(message, Decided):
            self.joiner.decided(component or Component(root), message, now_ms)
        elif isinstance(message, Matches):
            if component is not None:
                self.joiner.matches(component, message, now_ms)
        elif isinstance(message, Fill):
            whose = (message.source, message.offset)
            self.outputs.outbox.taken[whose] = self.outputs.outbox.taken.get(whose, 0) + 1
            if component is not None:
                if min(component.armed, component.window_due) <= now_ms:
                    self._elapse(component, now_ms)
                self.absorber.fill(component, message, now_ms)
                self.nodes.save_component(component)
        else:
            raise InvariantViolation(
                "a component got a message that is not for one", kind=type(message).__name__
            )

    # -- identifier nodes -----------------------------------------------------------------------------------

    def _own(self, identifier: str, node: IdentifierNode | None) -> IdentifierNode:
        """Give an identifier that nobody owns a component of its own."""
        node = node or IdentifierNode()
        node.owner = identifier
        self.nodes.save_identifier(identifier, node)
        component = self.nodes.component(identifier)
        if component is None or component.redirect:  # Such a redirect is from before it was forgotten.
            component = Component(identifier)
            component.add_identifier(identifier)
            self.nodes.save_component(component)
        return node

    def _claim(self, identifier: str, node: IdentifierNode | None, claim: Claim) -> None:
        node = node or IdentifierNode()
        became_shared = self._note_partner(identifier, node, claim.partner)
        if node.shared or node.closed:
            status = "full" if not node.shared else "inert" if node.owner == claim.component else "shared"
            if claim.ask:
                self._send(claim.component, Linked(claim.component, identifier, status))
            if became_shared:
                self._send(node.owner, Linked("", identifier, "inert", claim.trigger))
        elif claim.ask:  # Else only the partner was to be noted: who asked is on the way to own it.
            self._give(identifier, node, claim.component)
        self.nodes.save_identifier(identifier, node)

    def _give(self, identifier: str, node: IdentifierNode, claimant: str) -> None:
        """Let a component that claims an identifier own it, or join it with the owner."""
        if not node.owner or node.owner == claimant:
            node.owner = claimant
            self._send(claimant, Linked(claimant, identifier, "inert" if node.shared else ""))
        else:
            survivor, loser = self.policy.ordered(node.owner, claimant)
            node.owner = survivor
            self._send(loser, Join(survivor, identifier, claimant))

    def _bind(self, identifier: str, node: IdentifierNode, claimant: str) -> None:
        """A claim by a decision: it also gets what is shared, not what belongs to a full component."""
        if node.closed and node.owner != claimant:
            self._send(claimant, Linked(claimant, identifier, "full"))
            return
        self._give(identifier, node, claimant)
        self.nodes.save_identifier(identifier, node)

    def _note_partner(self, identifier: str, node: IdentifierNode, partner: str) -> bool:
        """Count distinct strong partners. Returns whether the identifier has just become shared."""
        rule = self.policy.rule_of(identifier)
        if rule.shared_after is None or node.shared or not partner:
            return False
        kind = partner.partition(":")[0]
        if kind not in self.policy.strong_types:
            return False
        partners = node.seen.setdefault(kind, [])
        if partner not in partners:
            partners.append(partner)
        node.shared = len(partners) > rule.shared_after and bool(node.owner)
        return node.shared

    # -- component nodes: absorbing -------------------------------------------------------------------------

    def _absorb(self, root: str, via: str, touch: Touch, leaves: Leaves, now_ms: int, lost: str = "") -> None:
        component = self._component(root, now_ms)
        if component is None:
            self._send(via, Retouch(root, touch, leaves))
            return
        if component.redirect and component.redirect == lost:
            self.nodes.drop_component(component)
            self._send(via, Retouch(root, touch, leaves))
            return
        if component.redirect:
            self.joiner.forward(component, Absorb(via, touch, leaves, lost), now_ms)
            self._send(via, Repoint(component.redirect))
            return
        if component.armed <= now_ms or component.window_due <= now_ms:
            self._elapse(component, now_ms)
            if not component.identifiers:  # It expired at this very instant.
                self._send(via, Retouch(root, touch, leaves))
                return
        self.outputs.outbox.touches += 1
        component.last_active = now_ms
        component.trigger = (touch.event_id, touch.occurred_at)
        if via not in component.identifiers:
            component.open_to(via)
            component.add_identifier(via)
            component.stale = True
        self.absorber.absorb(component, via, touch, leaves, now_ms)
        self.nodes.save_component(component)

    # -- time -----------------------------------------------------------------------------------------------

    def _elapse(self, component: Component, now_ms: int) -> None:
        """Everything of a component that is due by `now_ms`."""
        component.armed = NEVER  # Set again at the end of the batch.
        if component.redirect:
            self.joiner.end_redirect(component, now_ms)
            return
        if component.unsettled:
            if component.hold_until <= now_ms:
                self.outputs.settle(component, now_ms)
        else:
            self.outputs.elapse(component, now_ms)
        if component.publish_due <= now_ms and not component.unsettled:
            self.outputs.publish(component, now_ms)
        elif component.publish_due != NEVER and not component.unsettled:
            # Forgotten in a restart.
            self.outputs.unpublished.setdefault(component.root, component.publish_due)
        idle_ms = now_ms - component.last_active
        if (
            self._is_anonymous(component)
            and idle_ms >= self.policy.anonymous_retention_ms
            and component.last_active
        ):
            self._expire(component, now_ms)
            return
        self.nodes.save_component(component)

    def _expire(self, component: Component, now_ms: int) -> None:
        self.outputs.expire(component, now_ms)
        for identifier in component.identifiers:
            self._send(identifier, Forget(component.root))
        self.nodes.drop_component(component)
        component.identifiers = {}

    def _is_anonymous(self, component: Component) -> bool:
        """Whether only weak identifiers are in it. The root is the strongest of them."""
        root = component.root
        return root.partition(":")[0] in self._weak
