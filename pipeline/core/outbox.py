"""What a batch wants done: data, carried out by `pipeline/runtime/checkpoint.py` in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from .messages import Message
from .node import Component, IdentifierNode, Profile


class Cause(StrEnum):
    """Why a membership changed or a profile id became an alias."""

    EVENT = "event"
    TIMER = "timer"
    MERGE = "merge"
    UNMERGE = "unmerge"
    CONSENT = "consent"
    ERASURE = "erasure"
    DEFINITION = "definition"
    BACKFILL = "backfill"


@dataclass(slots=True)
class MembershipChange:
    """Somebody entered or left a segment: `change` is `entered` or `exited`, `sequence` counts from 1.

    Instants in ms; the shape is schemas/membership_change. `identifiers`: `type:value`.
    `silent`: part of a first population of which only `segments.current` tells; it takes no sequence.
    """

    change_id: str
    profile_id: str
    segment_id: str
    segment_version: int
    change: str
    sequence: int
    occurred_at: int
    decided_at: int
    cause: Cause
    event_ids: Sequence[str] = ()
    backfill: bool = False
    identifiers: Sequence[str] = ()
    silent: bool = False


@dataclass(slots=True)
class ProfileAlias:
    """An old profile id stands for `profile_id` from now on. `edge`: the identifier that linked the two.

    `profile_id` empty: it stands for itself again.
    """

    old_profile_id: str
    profile_id: str
    decided_at: int
    cause: Cause
    edge: str | None = None


@dataclass(slots=True)
class Snapshot:
    """The state of one profile to publish, under which policy; `profile` None is a tombstone.

    `computed`: its computed traits at that instant, null where one has no value.
    """

    profile_id: str
    profile: Profile | None
    aliases: list[str]
    updated_at: int
    policy_version: int = 0
    computed: dict[str, Any] | None = None

    def traits(self) -> dict[str, Any]:
        """The values of all traits by name, sorted; a computed one hides another of its name."""
        return {} if self.profile is None else traits_of(self.profile, self.computed)


def traits_of(profile: Profile, computed: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values of the traits of a profile with those that are computed."""
    if not computed:
        return profile.fold.trait_values()
    both = {**profile.fold.trait_values(), **computed}
    return {name: both[name] for name in sorted(both) if both[name] is not None}


@dataclass(slots=True)
class Review:
    """Something that a person should look at."""

    component: str
    kind: str
    identifiers: list[str]
    detail: str
    decided_at: int
    policy_version: int = 0
    score: float | None = None


Output = MembershipChange | ProfileAlias | Snapshot | Review


@dataclass(slots=True)
class Outbox:
    """Effects of a batch, and what happened, for the metrics.

    `mail` and `told`, everything that consumers are told, are in the order of decision, which must be that of
    Kafka; partitions whose effects are committed together share them. `published`: (root, due ms) of the
    components of which snapshots were taken.
    """

    mail: list[tuple[str, Message]] = field(default_factory=list)
    told: list[Output] = field(default_factory=list)
    changes: list[MembershipChange] = field(default_factory=list)
    aliases: list[ProfileAlias] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    published: list[tuple[str, int]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    taken: dict[tuple[int, int], int] = field(default_factory=dict)
    """(partition, offset of the definitions) → how many fills of them have arrived."""
    logged: dict[str, int] = field(default_factory=dict)
    """Event id → broker time (ms) of the touches that were logged well before the time they are judged at."""
    joins: int = 0
    judged: int = 0
    """Components whose turn has come in a change of policy."""
    filled: int = 0
    """Touches of the history that were read again for changed definitions."""
    scanned: int = 0
    """Components that were evaluated for changed definitions."""
    touches: int = 0
    compared: int = 0
    """Pairs of comparison records that were compared."""
    closed_blocks: int = 0
    """Blocking keys that have come to be on too many records."""

    def tell_change(self, change: MembershipChange) -> None:
        """Tell a membership change."""
        self.changes.append(change)
        self.told.append(change)

    def tell_alias(self, alias: ProfileAlias) -> None:
        """Tell an alias."""
        self.aliases.append(alias)
        self.told.append(alias)

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the state of a profile."""
        self.snapshots.append(snapshot)
        self.told.append(snapshot)

    def ask_review(self, review: Review) -> None:
        """Have a person look at something."""
        self.reviews.append(review)
        self.told.append(review)


class Nodes(Protocol):
    """Where the resolver finds its nodes and says which ones it changed. Saving is cheap and may repeat."""

    def identifier(self, identifier: str) -> IdentifierNode | None:
        """The node of an identifier, or None."""

    def component(self, root: str) -> Component | None:
        """The component rooted at an identifier, all its pages loaded, or None."""

    def save_identifier(self, identifier: str, node: IdentifierNode) -> None:
        """Keep a new or changed identifier node."""

    def save_component(self, component: Component) -> None:
        """Keep a new or changed component."""

    def drop_identifier(self, identifier: str) -> None:
        """Forget an identifier node."""

    def drop_component(self, component: Component) -> None:
        """Forget a component and its pages."""

    def drop_pages(self, component: Component) -> None:
        """Forget the facet pages of a component that is about to become a redirect."""

    def value(self, key: bytes) -> bytes | None:
        """The stored form of a node of another kind, as the batch has left it."""

    def put(self, key: bytes, value: bytes | None) -> None:
        """Keep the stored form of a node of another kind; None forgets it."""
