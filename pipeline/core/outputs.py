"""What consumers are told about the profiles of a component: memberships, aliases, snapshots.

Everything told is the difference between what was told before (`Entry`) and what the evidence says now, so a
repeated or held-back decision changes nothing. It must not know how components find each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Final

from .apart import Apart
from .consent import is_granted, settle_consent
from .decisions import decides
from .facet import NEVER, Facet
from .identity import RefusedLink, profile_id
from .links import groups_in, parted_ids
from .node import Component, Entry, Profile
from .outbox import Cause, MembershipChange, Nodes, Outbox, ProfileAlias, Review, Snapshot
from .policy import Policy
from .segments.catalogue import Catalogue, CompiledSegment, deciding

EMPTY: Final = Facet()
"""Stands in a profile until its fold is made. Never changed."""
PUBLISH_BATCH_MAX: Final = 1_000  # components published per batch: about 100 ms, so that touches do not wait


class Outputs:
    """Decides what to tell. One per task; `outbox` is replaced for every batch."""

    def __init__(
        self, policy: Policy, catalogue: Catalogue, nodes: Nodes, profile_key: bytes, publish_interval_ms: int
    ) -> None:
        self.govern(policy)
        self.adopt: Callable[[Component, int], None] | None = None
        """Called with a component before it is used, and the time, while a change of policy is worked off."""
        self.nodes, self.profile_key = nodes, profile_key
        self.publish_interval_ms = publish_interval_ms
        self.outbox, self.present_ms = Outbox(), 0
        """Wall clock at which the batch is worked off; `now_ms`, the stream's time, is behind it in a lag."""
        self.unpublished: dict[str, int] = {}
        self.silent: Collection[str] = ()
        """Ids of segments whose first population is under way, of which nobody is told."""
        self.use(catalogue)

    def govern(self, policy: Policy) -> None:
        """Judge by this policy from now on."""
        self.policy = policy
        self.apart = Apart(policy) if policy.apart_traits else None

    def use(self, catalogue: Catalogue, pending: Collection[str] = ()) -> None:
        """Remember leaves for all segments of this catalogue; evaluate those that are not paused from now on.

        `pending`: ids of segments whose leaves are being filled from the history; nobody is told of them yet.
        """
        self.catalogue = catalogue
        self.deciding = deciding(catalogue, pending)

    def hold(self, component: Component, now_ms: int) -> None:
        """Put outputs off until the claims that are about to be made are answered.

        The wait counts from the present: no answer comes before the question was sent, however old the touch.
        """
        component.hold_until = max(now_ms, self.present_ms) + self.policy.link_wait_ms

    def profiles(self, component: Component) -> list[Profile]:
        """The profiles of a component, evaluated again if its evidence has changed."""
        if component.profiles is None:
            component.profiles = self._evaluate(component)
            component.stale = False
        return component.profiles

    def profile_of(self, component: Component, identifier: str) -> Profile | None:
        """The profile that an identifier belongs to; None while its claim is open."""
        profiles = self.profiles(component)
        if len(profiles) == 1 and len(profiles[0].identifiers) == len(component.identifiers):
            return profiles[0]
        return next((profile for profile in profiles if identifier in profile.identifiers), None)

    def settle(
        self, component: Component, now_ms: int, edge: str | None = None, cause: Cause = Cause.EVENT
    ) -> None:
        """Tell what has changed, or put it off while claims are open (until `hold_until` at most).

        `cause`: of changes of membership, if no profile became part of another.
        """
        if component.claims and now_ms < component.hold_until:
            component.unsettled = True
            return
        component.unsettled = False
        if component.armed == component.hold_until:
            component.armed = NEVER  # Nothing is left to be done then: the timer is overtaken.
        before, component.profiles = component.profiles, None
        at_ms = min(now_ms, component.window_due - 1)  # what was due meanwhile is told at its own instant
        profiles = self.profiles(component)
        decided = bool(component.decisions) and decides(component.decisions, component.trigger[0], edge)
        heirs, restored = self._retire(component, profiles, now_ms, component.trigger[0] if decided else edge)
        component.window_due = NEVER
        event_id, occurred_ms = component.trigger
        # Whoever has taken nobody over has changed because of those who left.
        other = Cause.UNMERGE if restored or decided else Cause.MERGE if heirs else cause
        parted = parted_ids(before or (), profiles) if component.refused or len(profiles) > 1 else heirs
        for profile in profiles:
            why = Cause.MERGE if profile.id in heirs else Cause.UNMERGE if profile.id in parted else other
            self.decide(component, profile, self._concerned(profile), at_ms, why,
                        occurred_ms, event_id, now_ms)  # fmt: skip
        self.elapse(component, now_ms)
        self.changed(component, now_ms)

    def decide(
        self,
        component: Component,
        profile: Profile,
        segments: Iterable[CompiledSegment],
        at_ms: int,
        cause: Cause,
        occurred_ms: int,
        event_id: str,
        decided_ms: int,
    ) -> None:
        """Evaluate segments as of `at_ms` and tell the changes.

        Lowers `component.window_due` where needed.
        """
        fold, types, entry = profile.fold, profile.types, profile.entry
        assert entry is not None
        memberships = entry.memberships
        for segment in segments:
            inside, due_ms = segment.evaluate(fold, types, at_ms)
            if due_ms < component.window_due:
                component.window_due = due_ms
            old = memberships.get(segment.id)
            if old is None:
                if not inside or segment.paused:
                    continue
                old = memberships[segment.id] = [False, 0, 0, 0]
            if inside == old[0] or (inside and segment.paused):
                continue
            silent = inside and old[1] == 0 and segment.id in self.silent
            sequence = old[1] if silent else old[1] + 1
            old[0], old[1], old[2], old[3] = inside, sequence, occurred_ms, segment.version
            entry.changed()
            event_ids = segment.deciding_events(fold, at_ms)
            if event_id and event_id not in event_ids:
                event_ids = (event_id, *event_ids)
            purpose = segment.definition.purpose
            withdrawn = not inside and cause is Cause.EVENT and not is_granted(fold, purpose)
            self._tell(profile.id, segment.id, old, Cause.CONSENT if withdrawn else cause, event_ids,
                       decided_ms, self._addresses(component, profile, purpose), silent)  # fmt: skip

    def elapse(self, component: Component, now_ms: int) -> None:
        """Tell the changes that time alone made up to `now_ms`, each at its own instant."""
        while component.window_due <= now_ms:
            due_ms = component.window_due
            component.window_due = NEVER
            for profile in self.profiles(component):
                timed = [segment for segment in self._concerned(profile) if segment.timed]
                self.decide(component, profile, timed, due_ms, Cause.TIMER, due_ms, "", now_ms)
            self.changed(component, now_ms)

    def _concerned(self, profile: Profile) -> Iterable[CompiledSegment]:
        assert profile.entry is not None
        return self.deciding.concerned(profile.fold, profile.types, profile.entry.memberships)

    def changed(self, component: Component, now_ms: int) -> None:
        """Note that the profiles of a component are to be published."""
        # After an abort or a restart.
        if component.publish_due == NEVER or component.root not in self.unpublished:
            self.unpublished[component.root] = component.publish_due = now_ms + self.publish_interval_ms

    def publish(self, component: Component, now_ms: int) -> None:
        """Publish a snapshot of every profile of a component."""
        if component.publish_due != NEVER:  # Else it was not waiting.
            self.outbox.published.append((component.root, component.publish_due))
            component.publish_due = NEVER
        self.unpublished.pop(component.root, None)
        for profile in self.profiles(component):
            aliases = [old for old, entry in component.entries.items() if entry.alias_of == profile.id]
            aliases.sort()
            computed = None
            if self.deciding.traits:
                computed = self.deciding.computed(profile.fold, profile.types, now_ms)
            self.outbox.publish(Snapshot(profile.id, profile, aliases, now_ms, self.policy.version, computed))

    def publish_all(self, now_ms: int, at_rest: bool, most: int = PUBLISH_BATCH_MAX) -> int:
        """Publish what is due, or everything once the partition is at rest; up to `most` components.

        Returns: how many had their turn.
        """
        roots: list[str] = []
        for root, due_ms in self.unpublished.items():
            if (due_ms > now_ms and not at_rest) or len(roots) >= most:
                break
            roots.append(root)
        for root in roots:
            component = self.nodes.component(root)
            if component is not None and self.adopt is not None:
                self.adopt(component, now_ms)
            if (
                component is None
                or component.redirect
                or component.unsettled
                or component.publish_due == NEVER
            ):
                self.unpublished.pop(root, None)  # An unsettled one comes back when it is settled.
            else:
                self.publish(component, now_ms)
                self.nodes.save_component(component)
        return len(roots)

    def redefine(
        self, component: Component, segments: Sequence[CompiledSegment], cause: Cause, now_ms: int
    ) -> bool:
        """Evaluate new or edited segments and computed traits. Returns whether the component has changed."""
        if component.redirect or component.unsettled:
            return False  # It is evaluated in full when it is settled.
        told, due_ms = len(self.outbox.changes), component.window_due
        component.profiles = None  # A fold that was made under the last catalogue may keep too few instants.
        for profile in self.profiles(component):
            self.decide(component, profile, segments, now_ms, cause, now_ms, "", now_ms)
        if len(self.outbox.changes) > told or any(segment.definition.is_trait for segment in segments):
            self.publish(component, now_ms)  # At once, or the component would be read and stored once more.
            return True
        return component.window_due != due_ms

    def leave_deleted(self, component: Component, now_ms: int) -> bool:
        """Leave every segment that is not in the catalogue. Returns whether the component has changed."""
        told = len(self.outbox.changes)
        for pid, entry in component.entries.items():
            for segment_id, membership in entry.memberships.items():
                if membership[0] and segment_id not in self.catalogue.segments:
                    membership[0], membership[1], membership[2] = False, membership[1] + 1, now_ms
                    entry.changed()
                    self._tell(pid, segment_id, membership, Cause.DEFINITION, (), now_ms, [])
        if len(self.outbox.changes) > told:
            self.changed(component, now_ms)
            return True
        return False

    def expire(self, component: Component, now_ms: int) -> None:
        """Tell that every profile of a component is gone because it was idle for too long."""
        self.unpublished.pop(component.root, None)
        for pid, entry in component.entries.items():
            self._leave_all(pid, entry, Cause.TIMER, ("", now_ms), now_ms)
            if not entry.alias_of:
                self.outbox.publish(Snapshot(pid, None, [], now_ms))

    def refuse_full(self, component: Component, identifier: str, now_ms: int) -> bool:
        """Note that a component is full: `identifier` is not absorbed. Reviewed once per component.

        Returns whether this was the first time.
        """
        self.outbox.refused.append("component_full")
        if component.reviewed:
            return False
        component.reviewed = True
        detail = f"holds {len(component.identifiers)} identifiers and absorbs no more"
        who = [component.root, identifier]
        self.outbox.ask_review(Review(component.root, "oversized", who, detail, now_ms, self.policy.version))
        return True

    def group(self, component: Component) -> tuple[list[list[str]], list[RefusedLink]]:
        """Who of a component is one person, and the links that were refused. Open claims are left out."""
        return groups_in(component, self.policy, self.apart)

    def _evaluate(self, component: Component) -> list[Profile]:
        groups, refused = self.group(component)
        if len(refused) > component.refused:
            self.outbox.refused.extend(one.reason for one in refused[component.refused :])
        component.refused = len(refused)
        identifiers = [one for group in groups for one in group]
        facets = {one: facet for one in identifiers if (facet := component.look(one)) is not None}
        # Who was only ever seen beside others, and is refused there, is nobody yet.
        return [
            self._profile(component, group, facets) for group in groups if not facets.keys().isdisjoint(group)
        ]

    def _profile(self, component: Component, group: list[str], facets: dict[str, Facet]) -> Profile:
        order_of = self.policy.order_of
        anchor = min((facets[one].first_seen, *order_of(one)) for one in group if one in facets)
        pid = profile_id(anchor[2], self.profile_key)
        profile = Profile(pid, group, anchor, EMPTY)
        self._fold(component, profile, facets)
        entry = component.entries.get(pid)
        if entry is None:
            entry = component.entries[pid] = Entry(anchor[2], "", {})
        profile.entry = entry
        return profile

    def first_profile(self, component: Component, via: str, facet: Facet, now_ms: int) -> Profile:
        """The profile of a component that has just got its first touch and its only identifier."""
        profile = self._profile(component, [via], {via: facet})
        component.profiles, component.stale, component.unsettled = [profile], False, False
        segments = self.deciding.inside_with(profile.types)
        if segments:
            event_id, occurred_ms = component.trigger
            self.decide(component, profile, segments, now_ms, Cause.EVENT, occurred_ms, event_id, now_ms)
        return profile

    def unshare_fold(self, profile: Profile) -> None:
        """Give a profile a fold of its own, because a second facet is about to come."""
        fold = Facet()
        fold.add(profile.fold, self.policy.traits, self.catalogue.capacities)
        profile.fold, profile.shares_fold = fold, False

    def _fold(self, component: Component, profile: Profile, facets: dict[str, Facet]) -> None:
        """Make the fold of a profile. A profile of one facet shares it: a touch is then folded once."""
        own = [one for one in profile.identifiers if one in facets]
        if len(own) == 1:
            facet = component.facet(own[0])
            assert facet is not None
            profile.fold, profile.shares_fold = facet, True
            return
        profile.fold = fold = Facet()
        for one in own:
            fold.add(facets[one], self.policy.traits, self.catalogue.capacities)
        if fold.consent:
            settle_consent(component, profile.identifiers, fold, self.policy)

    def _retire(
        self, component: Component, profiles: list[Profile], now_ms: int, edge: str | None
    ) -> tuple[set[str], bool]:
        """Tell what has become an alias. Returns who has taken others over, and whether an alias has left."""
        current = {profile.id: profile for profile in profiles}
        heirs: set[str] = set()
        restored = False
        for pid, entry in component.entries.items():
            if pid in current:
                if entry.alias_of:
                    entry.alias_of = ""
                    entry.changed()
                    self.outbox.tell_alias(ProfileAlias(pid, "", now_ms, Cause.UNMERGE, edge))
                    restored = True
                continue
            heir = next((one for one in profiles if entry.anchor in one.identifiers), None)
            if heir is None:
                if entry.anchor in component.identifiers and entry.anchor not in component.awaited():
                    self._vanish(pid, entry, component.trigger, now_ms)
                continue  # Or the identifier is still on its way here.
            if entry.alias_of == heir.id:
                continue
            cause = Cause.MERGE
            if entry.alias_of in current:  # The profile that it stood for goes on without it.
                cause, restored = Cause.UNMERGE, True
            else:
                heirs.add(heir.id)
            self.outbox.tell_alias(ProfileAlias(pid, heir.id, now_ms, cause, edge))
            if not entry.alias_of:
                self._leave_all(pid, entry, Cause.MERGE, component.trigger, now_ms)
                self.outbox.publish(Snapshot(pid, None, [], now_ms))
            entry.alias_of = heir.id
            entry.changed()
        return heirs, restored

    def _vanish(self, pid: str, entry: Entry, trigger: tuple[str, int], now_ms: int) -> None:
        """Tell that a profile is gone without an heir: what gave it its id is nobody by itself."""
        if not entry.alias_of:
            self._leave_all(pid, entry, Cause.UNMERGE, trigger, now_ms)
            self.outbox.publish(Snapshot(pid, None, [], now_ms))

    def _leave_all(self, pid: str, entry: Entry, cause: Cause, trigger: tuple[str, int], now_ms: int) -> None:
        for segment_id, membership in entry.memberships.items():
            if membership[0]:
                membership[0], membership[1], membership[2] = False, membership[1] + 1, trigger[1]
                entry.changed()
                self._tell(pid, segment_id, membership, cause, trigger[:1] if trigger[0] else (), now_ms, [])

    def _tell(
        self,
        pid: str,
        segment_id: str,
        membership: list[int],
        cause: Cause,
        event_ids: tuple[str, ...],
        decided_ms: int,
        identifiers: list[str],
        silent: bool = False,
    ) -> None:
        inside, sequence, since_ms, version = membership
        # With the instant: a profile that was forgotten and is seen again counts from 1 anew.
        name = f"{pid} {segment_id} {sequence} {since_ms}"
        change_id = blake2b(name.encode(), digest_size=16).hexdigest()
        self.outbox.tell_change(MembershipChange(
            change_id, pid, segment_id, version, "entered" if inside else "exited", sequence, since_ms,
            decided_ms, cause, event_ids, silent or cause is Cause.BACKFILL, identifiers, silent,
        ))  # fmt: skip

    def _addresses(self, component: Component, profile: Profile, purpose: str | None) -> list[str]:
        """Those that may be addressed for a purpose: all while it is granted, else who did not refuse."""
        if purpose is None or is_granted(profile.fold, purpose):
            return profile.identifiers
        allowed = []
        for identifier in profile.identifiers:
            facet = component.look(identifier)
            word = None if facet is None else facet.consent.get(purpose)
            if word is None or word[0]:
                allowed.append(identifier)
        return allowed
