"""Folding a touch into its component: facets, links, claims, and the segments that the touch can change.

It must not know how messages travel: it hands them to `send`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from .consent import disagrees, holds_refusal, is_granted, settle_consent
from .decisions import DECISION_TYPE, Action, decision_in, has_room, is_undone, united_rows
from .facet import PAIR, Facet
from .identity import kind_of, within_limits
from .likeness import TRAITS, record_text
from .messages import Bind, Claim, Close, Describe, Fill, Message
from .node import Component, Profile
from .outbox import Cause, Review
from .outputs import Outputs
from .policy import OnConflict, Policy, Unique
from .touch import Touch

EMPTY_OBJECT: Final = ("", "{}")
Leaves = list[tuple[str, int]]
"""Window leaves of a touch: (key, capacity)."""


class Absorber:
    """Folds touches into live components. One per task."""

    def __init__(self, policy: Policy, outputs: Outputs, send: Callable[[str, Message], None]) -> None:
        self.policy = policy
        self.outputs = outputs
        self._send = send

    def absorb(self, component: Component, via: str, touch: Touch, leaves: Leaves, now_ms: int) -> None:
        """Fold a touch into the facet of `via`, its strongest identifier, and tell what it changed."""
        outputs = self.outputs
        if touch.type == DECISION_TYPE:
            self._decided(component, touch, now_ms)
            return
        profile = None
        if not component.stale and not component.unsettled:
            profile = outputs.profile_of(component, via)
            if profile is not None:
                first_ms = profile.anchor[0]
                if (
                    touch.occurred_at <= first_ms
                    and (touch.occurred_at, *self.policy.order_of(via)) < profile.anchor
                ):
                    profile = None  # It may change which identifier is the earliest.
                elif profile.shares_fold and not component.has_facet(via):
                    outputs.unshare_fold(profile)
        facet = component.own_facet(via)
        granted = _granted(profile, touch.consent)
        if len(touch.identifiers) > 1:
            self._see_links(component, facet, via, touch, now_ms)
            if component.stale or component.unsettled:
                profile = None
        text = touch.traits
        traits: dict[str, Any] = {} if text in EMPTY_OBJECT else orjson.loads(text)
        if component.matches and touch.occurred_at < facet.first_seen:
            profile = None  # Its matches are known since another time.
        record: str | None = None
        if self.policy.matching is not None and not TRAITS.isdisjoint(traits):
            record = record_text(via, facet, self.policy)
        apart = outputs.apart
        if apart is not None and profile is not None and len(component.identifiers) > 1:
            before = apart.told(facet.traits)
            self._fold_touch(facet, touch, traits, leaves)
            if apart.told(facet.traits) != before:
                profile = None  # It may be that the others are somebody else.
        else:
            self._fold_touch(facet, touch, traits, leaves)
        if record is not None and self._redescribed(component, via, facet, record):
            profile = None
        if profile is not None:
            if profile.fold is not facet:
                open_again = touch.consent and disagrees(profile.fold.consent, touch.consent)
                self._fold_touch(profile.fold, touch, traits, leaves)
                if open_again:
                    settle_consent(component, profile.identifiers, profile.fold, self.policy)
        elif component.entries or component.claims or len(component.identifiers) > 1:
            component.stale = True
            outputs.settle(component, now_ms)
            return
        else:
            profile = outputs.first_profile(component, via, facet, now_ms)
        self._decide(component, profile, touch, traits, leaves, granted, now_ms)

    def _redescribed(self, component: Component, via: str, facet: Facet, before: str) -> bool:
        """Tell an identifier that its comparison record is another one than `before`, if it is.

        Returns whether the groups may be others by it already.
        """
        record = record_text(via, facet, self.policy)
        if record == before:
            return False
        self._send(via, Describe(component.root, record))
        return bool(component.matches)

    def _decided(self, component: Component, touch: Touch, now_ms: int) -> None:
        """Keep a decision as evidence, claim whom it names, and tell what it changes."""
        decision = decision_in(touch)
        if not has_room(component.decisions, decision):
            detail = f"holds {len(component.decisions)} decisions and takes no more, as {decision.id}"
            who = [component.root, *decision.identifiers]
            self.outputs.outbox.ask_review(Review(component.root, "oversized", who, detail, now_ms))
            return
        component.decisions = united_rows(component.decisions, {decision.name: decision.row()})
        claiming = decision.action in (Action.MERGE, Action.SPLIT)
        if claiming and not is_undone(decision.name, component.decisions):
            for one in decision.identifiers:
                if one in component.identifiers:
                    continue
                if len(component.identifiers) >= self.policy.component_identifiers_max:
                    self._refuse_full(component, one, now_ms)
                    continue
                component.open_to(one)
                self._claim_for(component, one, Bind(component.root), now_ms)
        component.stale = True
        self.outputs.settle(component, now_ms)

    def fill(self, component: Component, fill: Fill, now_ms: int) -> None:
        """Fold an older touch into the leaves of a new definition."""
        if fill.via not in component.identifiers:
            component.add_identifier(fill.via)  # It has overtaken the merge that brings the identifier.
            component.stale = True
        facet = component.own_facet(fill.via)
        outputs, catalogue = self.outputs, self.outputs.deciding
        asking = [group for key, _, _ in fill.leaves if (group := catalogue.asking(key))]
        profile = None
        if not component.unsettled and not component.stale and (asking or component.profiles is not None):
            profile = outputs.profile_of(component, fill.via)
        folds = [facet] if profile is None or profile.fold is facet else [facet, profile.fold]
        for fold in folds:
            for key, capacity, counts in fill.leaves:
                see = fold.see_again if counts else fold.see_older
                see(key, capacity, fill.occurred_at, fill.event_id)
        if profile is None:
            return  # It is evaluated when the component is settled, or needed.
        told = len(outputs.outbox.changes)
        for group in asking:
            outputs.decide(component, profile, group, now_ms, Cause.BACKFILL,
                           fill.occurred_at, fill.event_id, now_ms)  # fmt: skip
        if len(outputs.outbox.changes) > told:
            outputs.changed(component, now_ms)

    def _fold_touch(self, facet: Facet, touch: Touch, traits: dict[str, Any], leaves: Leaves) -> None:
        at_ms = touch.occurred_at
        facet.touch(touch.type, at_ms)
        for key, capacity in leaves:
            facet.see_leaf(key, capacity, at_ms, touch.event_id)
        if traits:
            facet.see_traits(traits, at_ms, self.policy.traits)
        if touch.consent:
            facet.see_consent(touch.consent, at_ms)

    def _decide(
        self,
        component: Component,
        profile: Profile,
        touch: Touch,
        traits: dict[str, Any],
        leaves: Leaves,
        granted: list[str],
        now_ms: int,
    ) -> None:
        """Evaluate just the segments that the touch can have changed.

        `granted`: of what it says about consent, the purposes that were granted before it. A word that is
        only repeated is no cause.
        """
        outputs, catalogue = self.outputs, self.outputs.deciding
        at_ms, event_id = touch.occurred_at, touch.event_id
        for purpose in touch.consent:
            if (purpose in granted) != profile.fold.consent[purpose][0]:
                outputs.decide(component, profile, catalogue.by_consent.get(purpose, ()), now_ms,
                               Cause.CONSENT, at_ms, event_id, now_ms)  # fmt: skip
        groups = [asking for key, _ in leaves if (asking := catalogue.asking(key))]
        if (counting := catalogue.by_counter.get(touch.type)) is not None:
            groups.append(counting)
        groups.extend(group for name in traits if (group := catalogue.by_trait.get(name)) is not None)
        if len(groups) > 1:
            groups = [tuple({segment.id: segment for group in groups for segment in group}.values())]
        for group in groups:
            outputs.decide(component, profile, group, now_ms, Cause.EVENT, at_ms, event_id, now_ms)
        outputs.changed(component, now_ms)

    def _see_links(self, component: Component, facet: Facet, via: str, touch: Touch, now_ms: int) -> None:
        """Keep the evidence of a touch with several identifiers, and claim those that are new."""
        at_ms, event_id, others = touch.occurred_at, touch.event_id, touch.identifiers[1:]
        strong_types, timed = self.policy.strong_types, self.policy.timed_types
        strong = [other for other in others if other.partition(":")[0] in strong_types]
        if via in component.inert and not strong:
            # A kiosk's e-mail claims nobody: everybody who was ever seen beside it would be one component.
            return
        refused: list[str] = []
        for other in others:
            if other not in component.identifiers and other not in component.closed:
                if len(component.identifiers) + len(component.closed) >= (
                    self.policy.component_identifiers_max
                ):
                    refused.append(other)
                    self._refuse_full(component, other, now_ms)
                    continue
                self._claim_for(component, other, Claim(component.root, via, True, component.trigger), now_ms)
                facet.see_link(other, at_ms, event_id)
            elif facet.see_link(other, at_ms, event_id):
                self._new_link(component, other, via)
            elif (component.refused or timed or component.decisions) and self._reorders(
                component, facet.links[other], via, other, at_ms
            ):
                component.stale = True
            elif at_ms == facet.links[other][0] and holds_refusal(component):
                component.stale = True
        for other in strong:  # Now all of them are claimed, or refused because the component is full.
            for weaker in others[others.index(other) + 1 :]:
                if refused and (other in refused or weaker in refused):
                    continue  # Else a log-in that is used for everybody would keep a link for each of them.
                key = f"{other}{PAIR}{weaker}"
                if facet.see_link(key, at_ms, event_id):
                    self._new_link(component, weaker, other)
                elif (component.refused or timed or component.decisions) and self._reorders(
                    component, facet.links[key], other, weaker, at_ms
                ):
                    component.stale = True
                elif at_ms == facet.links[key][0] and holds_refusal(component):
                    component.stale = True

    def _reorders(
        self, component: Component, link: list[Any], stronger: str, weaker: str, at_ms: int
    ) -> bool:
        """Whether the groups may be others because a link was just seen again.

        It may have got another place in the order of decision; where the rules ask when it was seen, also
        another weight.
        """
        if component.decisions:  # What was seen before a split is another matter than what was seen after.
            return at_ms in (link[0], link[1])
        timed = self.policy.timed_types
        if timed and (kind_of(weaker) in timed or kind_of(stronger) in timed):
            if at_ms not in (link[0], link[1]) or self._stays_owner(component, link, stronger, weaker, at_ms):
                return False
            # A component that is one profile whatever its links say needs no second look.
            return bool(
                component.refused or component.inert or not within_limits(component.identifiers, self.policy)
            )
        if not component.refused:
            return False
        moves = self.policy.rule_of(weaker).on_conflict is OnConflict.MOVE
        return bool(link[1] == at_ms if moves else link[0] == at_ms)

    def _stays_owner(
        self, component: Component, link: list[Any], stronger: str, weaker: str, at_ms: int
    ) -> bool:
        """Whether the only owner that a unique value can have here was seen with it once more.

        Its link comes earlier in the order of decision than before. What it passes was refused, if it has no
        second value to choose from and its profile no second identifier that could have the value.
        """
        rules = self.policy.rules
        rule = rules[kind_of(weaker)]
        if rule.unique is not Unique.NEWEST or self.policy.sliding_types or at_ms == link[0]:
            return False
        if component.stale or component.unsettled or component.profiles is None:
            return False
        if [kind_of(one) for one in component.identifiers].count(kind_of(weaker)) > 1:
            return False
        for profile in component.profiles:
            if weaker in profile.identifiers:
                owners = [one for one in profile.identifiers if rules[kind_of(one)].rank < rule.rank]
                return owners == [stronger]
        return False

    def _refuse_full(self, component: Component, other: str, now_ms: int) -> None:
        if self.outputs.refuse_full(component, other, now_ms):
            for full in component.identifiers:
                self._send(full, Close())

    def _claim_for(self, component: Component, other: str, claim: Message, now_ms: int) -> None:
        if not component.claims:
            self.outputs.hold(component, now_ms)
        component.add_identifier(other)
        component.add_claim(other)
        component.unsettled = True
        self._send(other, claim)

    def _new_link(self, component: Component, other: str, partner: str) -> None:
        """A further link to a known identifier: it may change the groups, and it counts towards sharing."""
        component.stale = True
        shares = self.policy.rule_of(other).shared_after is not None and other in component.identifiers
        if shares and self.policy.is_strong(partner):
            self._send(other, Claim(component.root, partner, False, component.trigger))


def _granted(profile: Profile | None, consent: dict[str, bool]) -> list[str]:
    """Which of the purposes that a touch speaks of are granted."""
    return [] if profile is None else [one for one in consent if is_granted(profile.fold, one)]
