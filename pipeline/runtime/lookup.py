"""Finds one person in `elo.state` from outside: by an identifier or by a profile id, present or old.

Only the partitions that are needed are read, each from its beginning: the topic is compacted, and nothing
else holds all of it. What is read is what was committed; a component that is on its way to another at that
moment is not found, and the sentence says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import orjson

from ..core.errors import PipelineError
from ..core.evidence import Evidence, evidence_of
from ..core.node import (
    COMPONENT_KEY,
    PAGE_KEY,
    Component,
    IdentifierNode,
    Profile,
    component_key,
    identifier_key,
    page_key,
)
from ..core.outbox import Outbox
from ..core.policy import Policy
from ..core.segments.definition import Definition
from ..core.segments.parse import definition_from_json
from ..settings import Settings
from .definitions import VERSION_MARK
from .inspect import outputs_for
from .restore import partitions_of, read_log
from .store import DEFINITION_KEY

PROFILE_ID: Final = re.compile(r"[0-9a-f]{32}")
HOPS_MAX: Final = 16  # redirects lead to stronger and stronger roots; more than two are rare
Keep = Callable[[bytes, bytes], bool]


class NotFound(PipelineError):
    """Nobody is kept under this name. The message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A live component with all its pages, its profiles as the workers compute them, and its evidence."""

    component: Component
    profiles: list[Profile]
    evidence: Evidence

    def profile_of(self, identifier: str) -> Profile | None:
        """The profile of an identifier; None if it was only seen beside others and belongs to nobody."""
        return self.evidence.profiles.get(identifier)


class Lookup:
    """Reads nodes of one deployment. Nothing is kept from one question to the next."""

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self._settings = settings
        self._policy = policy
        self._topic = settings.topics().state
        self._partitions = partitions_of(settings, self._topic)

    def partition_of(self, key: str) -> int:
        """The partition of a node, and of the touches that are keyed by it."""
        return crc32(key.encode()) % self._partitions

    def by_identifier(self, identifier: str) -> Found:
        """The component that owns an identifier. Raises NotFound."""
        newest = self._read(self.partition_of(identifier), _keys_of(identifier))
        stored = newest.get(identifier_key(identifier))
        owner = "" if stored is None else IdentifierNode.decode(stored).owner
        if not owner:
            raise NotFound(
                f"{identifier} belongs to nobody: it was never seen, or only beside shared identifiers; "
                "see `elo wait` if its touchpoint was sent just now"
            )
        component = self._component(owner, newest if owner == identifier else None)
        if identifier not in component.identifiers:
            raise NotFound(f"the owner of {identifier} changes at this moment, ask again")
        return self._found(component)

    def by_profile(self, profile_id: str) -> tuple[Found, Profile]:
        """The profile of an id, that of the survivor for an alias. Raises NotFound."""
        return self._current(self.holding(profile_id), profile_id)

    def holding(self, profile_id: str) -> Found:
        """The live component in which a profile id was ever told of. Raises NotFound."""
        needle = profile_id.encode()
        for partition in range(self._partitions):
            # Looking for the bytes first spares decoding everybody else.
            newest = self._read(partition, lambda key, value: key[:1] == COMPONENT_KEY and needle in value)
            for key, value in newest.items():
                component = Component.decode(key[1:].decode(), value)
                if profile_id in component.entries:
                    return self._found(self._component(component.root))
        raise NotFound(f"there is no profile {profile_id}, `elo profile show` finds one by an identifier")

    def definitions_taken(self, root: str) -> list[tuple[int, Definition]]:
        """Every version of a definition that the partition of a component has taken: when (ms), and what."""
        taken = []
        for records in read_log(self._settings, self._topic, self.partition_of(root), 0):
            for record in records:
                key, value = record.key(), record.value()
                if key[:1] == DEFINITION_KEY and VERSION_MARK in key[2:] and value is not None:
                    taken.append((record.timestamp()[1], definition_from_json(orjson.loads(value))))
        return sorted(taken, key=lambda one: one[0])

    def _current(self, found: Found, profile_id: str) -> tuple[Found, Profile]:
        entry = found.component.entries.get(profile_id)
        current = (entry.alias_of if entry is not None else "") or profile_id
        for profile in found.profiles:
            if profile.id == current:
                return found, profile
        raise NotFound(f"profile {profile_id} is gone, and no other stands for it")

    def _found(self, component: Component) -> Found:
        outputs = outputs_for(self._settings, self._policy)
        outputs.outbox = Outbox()
        profiles = outputs.profiles(component)
        return Found(component, profiles, evidence_of(component, profiles, self._policy))

    def _component(self, root: str, newest: dict[bytes, bytes] | None = None) -> Component:
        """The live component behind a root. `newest`: records of its partition that were read already."""
        for _ in range(HOPS_MAX):
            if newest is None:
                newest = self._read(self.partition_of(root), _keys_of(root))
            stored = newest.get(component_key(root))
            if stored is None:
                break
            component = Component.decode(root, stored)
            if not component.redirect:
                for page in range(1, len(component.pages)):
                    component.load_page(page, newest[page_key(root, page)])
                return component
            root, newest = component.redirect, None
        raise NotFound(f"the component of {root} is on its way to another partition, ask again")

    def _read(self, partition: int, keep: Keep) -> dict[bytes, bytes]:
        """The newest values of a partition that are to be kept."""
        newest: dict[bytes, bytes] = {}
        for records in read_log(self._settings, self._topic, partition, 0):
            for record in records:
                key, value = record.key(), record.value()
                if value is not None and keep(key, value):
                    newest[key] = value
                else:
                    newest.pop(key, None)
        return newest


def _keys_of(name: str) -> Keep:
    """The nodes that an identifier names: itself, the component rooted at it, and its pages."""
    nodes = identifier_key(name), component_key(name)
    pages = PAGE_KEY + name.encode() + b"\x00"
    return lambda key, value: key in nodes or key.startswith(pages)
