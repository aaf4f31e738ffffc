"""The resolver's two kinds of nodes as they are held in memory and stored, byte for byte.

A stored component begins with eight bytes, big-endian: the instant of its next timer in ms. Restore reads
them without decoding the rest. Facets are kept in pages of `PAGE_FACETS`; page 0 lies inside the component's
record, so that a person of the usual size is one record, and a touch of a very large one rewrites one page.
Source: docs/decisions/0005-facet-pages.md
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from .errors import InvariantViolation
from .facet import NEVER, Facet
from .stored import decode_live

PAGE_FACETS: int = 16  # not Final: compiled code would not see that a test has made it small
IDENTIFIER_KEY: Final = b"i"
COMPONENT_KEY: Final = b"c"
PAGE_KEY: Final = b"f"
CLAIMANT: Final = "\x1f"
_LIVE: Final = 0
_REDIRECT: Final = 1
_ARMED: Final = struct.Struct(">q")
_pack_armed: Final = _ARMED.pack
NONE: Final[frozenset[str]] = frozenset()
NOTHING: Final[Mapping[str, str]] = {}
CLEAN: Final[frozenset[int]] = frozenset()
UNDECIDED: Final[Mapping[str, list[Any]]] = {}
UNMATCHED: Final[Mapping[str, tuple[int, dict[str, float]]]] = {}
"""Shared by all components that have nothing to remember: most. They are replaced, never changed."""
_type_sets: Final[dict[frozenset[str], frozenset[str]]] = {}
"""Each set of identifier types once: every profile has one, and there are few."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode
_decode_page: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def is_nil(packed: msgspec.Raw) -> bool:
    """Whether a packed facet stands for none: the identifier was only seen beside others."""
    return len(memoryview(packed)) == 1


def identifier_key(identifier: str) -> bytes:
    """State key of an identifier node."""
    return IDENTIFIER_KEY + identifier.encode()


def component_key(root: str) -> bytes:
    """State key of a component node."""
    return COMPONENT_KEY + root.encode()


def page_key(root: str, page: int) -> bytes:
    """State key of a facet page, `page` >= 1."""
    return PAGE_KEY + root.encode() + b"\x00" + page.to_bytes(2, "big")


def armed_of(value: bytes) -> int:
    """The next timer of a stored component, ms since the epoch; NEVER if none."""
    return int(_ARMED.unpack_from(value)[0])


class IdentifierNode:
    """Who owns an identifier, and with whom it was seen.

    `owner`: root of the component; empty while nobody owns it. `seen`: strong type → distinct values, kept up
    to `shared_after` + 1. `shared`: seen with too many people. `closed`: its component is full. Both stop it
    linking.
    """

    __slots__ = ("closed", "owner", "seen", "shared")

    def __init__(self, owner: str = "") -> None:
        self.owner = owner
        self.shared = False
        self.closed = False
        self.seen: dict[str, list[str]] = {}

    def encode(self) -> bytes:
        """The stored form."""
        return _encode([self.owner, self.shared, self.closed, self.seen])

    @classmethod
    def decode(cls, value: bytes) -> IdentifierNode:
        """Inverse of `encode`."""
        node = _blank(cls)
        stored: list[Any] = _decode(value)
        node.owner, node.shared, node.closed, node.seen = stored
        return node


_blank: Final[Callable[[type[IdentifierNode]], IdentifierNode]] = IdentifierNode.__new__


class Entry:
    """What consumers were told about one profile id.

    `anchor`: the identifier that gave the id. `alias_of`: the profile id it was merged into, empty while it
    is current. `memberships`: segment id → [inside, sequence, since ms, definition version]; kept after the
    profile is gone, so that sequences stay gapless if it comes back.
    """

    __slots__ = ("alias_of", "anchor", "memberships", "packed")

    def __init__(self, anchor: str, alias_of: str, memberships: dict[str, list[Any]]) -> None:
        self.anchor = anchor
        self.alias_of = alias_of
        self.memberships = memberships
        self.packed: msgspec.Raw | None = None

    def changed(self) -> None:
        """To be called after every change: the stored form is made again."""
        self.packed = None

    def pack(self) -> msgspec.Raw:
        """The stored form."""
        packed = self.packed
        if packed is None:
            packed = self.packed = msgspec.Raw(_encode([self.anchor, self.alias_of, self.memberships]))
        return packed


class Profile:
    """One person inside a component, computed. `fold` is the fold of the facets of `identifiers`.

    `anchor`: (first seen ms, rank, identifier) of the earliest identifier. `types`: identifier types present.
    `shares_fold`: the fold is the only facet itself.
    """

    __slots__ = ("anchor", "entry", "fold", "id", "identifiers", "shares_fold", "types")

    def __init__(
        self, profile_id: str, identifiers: list[str], anchor: tuple[int, int, str], fold: Facet
    ) -> None:
        self.id = profile_id
        self.identifiers = identifiers
        self.anchor = anchor
        self.fold = fold
        self.shares_fold = False
        types = frozenset([identifier.partition(":")[0] for identifier in identifiers])
        self.types = _type_sets.setdefault(types, types)
        self.entry: Entry | None = None


_PARTS: Final = (
    "armed", "claims", "closed", "decisions", "dirty_pages", "entries", "facets", "head", "hold_until",
    "identifiers", "inert", "last_active", "matches", "packed", "pages", "policy_version", "profiles",
    "publish_due", "redirect", "refused", "reviewed", "root", "stale", "trigger", "unsettled", "window_due",
)  # fmt: skip


class Component:
    """Everything that identifiers have been seen together with, or a redirect to the component that took it
    over.

    `identifiers`: identifier → page of its facet. `inert`: those of them that are shared. `closed`:
    identifiers outside that it may not link with, and why. `claims`: what is awaited, see `add_claim`;
    outputs are held until `hold_until` at most. `decisions`: name → row, see decisions.py. `matches`:
    identifier → edition of what is known, and whose records match its own with which weight; also nobody's,
    if somebody's did. `armed`: the timer that is set, at most the next instant that matters. `window_due`:
    next instant at which a membership may change by itself, or a redirect ends. `publish_due`: when the
    profiles must be published; NEVER if they are. `profiles`: None until they are needed. `stale`: the
    evidence has changed since they were settled. `policy_version`: of the last change of policy that was
    applied here, not stored. Instants in ms.
    """

    __slots__ = _PARTS

    def __init__(self, root: str) -> None:
        self.root = root
        self.redirect = ""
        self.armed = NEVER
        self.identifiers: dict[str, int] = {}
        self.pages: list[list[str]] = [[]]
        self.inert: frozenset[str] = NONE
        self.closed: Mapping[str, str] = NOTHING
        self.claims: frozenset[str] = NONE
        self.decisions: Mapping[str, list[Any]] = UNDECIDED
        self.matches: Mapping[str, tuple[int, dict[str, float]]] = UNMATCHED
        self.head: msgspec.Raw | None = None
        self.hold_until = 0
        self.entries: dict[str, Entry] = {}
        self.trigger: tuple[str, int] = ("", 0)
        self.unsettled = False
        self.window_due = NEVER
        self.publish_due = NEVER
        self.last_active = 0
        self.reviewed = False
        self.refused = 0
        self.facets: dict[str, Facet | None] = {}
        self.packed: dict[str, msgspec.Raw] = {}
        self.profiles: list[Profile] | None = None
        self.stale = True
        self.dirty_pages = CLEAN
        self.policy_version = 0

    def add_identifier(self, identifier: str) -> None:
        """Take an identifier in, on the last page, which is marked for writing: it has grown."""
        if len(self.pages[-1]) >= PAGE_FACETS:
            self.pages.append([])
        self.pages[-1].append(identifier)
        page = self.identifiers[identifier] = len(self.pages) - 1
        if page:
            self.dirty_pages |= {page}
        self.head = None

    def add_claim(self, claim: str) -> None:
        """Await an answer: to the own claim of an identifier (its text), or to one that a component made
        which has merged into this one (`claimant`, CLAIMANT, identifier).
        """
        self.claims = self.claims | {claim}
        self.head = None

    def end_claim(self, claim: str) -> None:
        """The answer is in, or no longer needed."""
        if claim in self.claims:
            self.claims = self.claims - {claim}
            self.head = None

    def awaited(self) -> Collection[str]:
        """Identifiers with an open claim: not known yet whose, or what they bring is on its way."""
        return {claim.rpartition(CLAIMANT)[2] for claim in self.claims} if self.claims else NONE

    def make_inert(self, identifiers: Iterable[str]) -> None:
        """These identifiers no longer link."""
        self.inert = self.inert.union(identifiers)
        self.head = None

    def close_to(self, identifier: str, why: str) -> None:
        """Never link with an identifier outside."""
        self.closed = {**self.closed, identifier: why}
        self.head = None

    def open_to(self, identifier: str) -> None:
        """Undo `close_to`: the identifier is inside now. What was shared still does not link."""
        if identifier in self.closed:
            if self.closed[identifier] == "shared":
                self.inert = self.inert | {identifier}
            self.closed = {one: why for one, why in self.closed.items() if one != identifier}
            self.head = None

    def remove_identifier(self, identifier: str) -> None:
        """Give an identifier up that turned out not to link. It has no facet here."""
        page = self.identifiers.pop(identifier)
        self.pages[page].remove(identifier)
        self.facets.pop(identifier, None)
        self.packed.pop(identifier, None)
        self.dirty_pages |= {page}
        self.head = None

    def facet(self, identifier: str) -> Facet | None:
        """The facet to read, or None if the identifier has contributed nothing itself."""
        facet = self.facets.get(identifier)
        if facet is None:
            raw = self.packed.get(identifier)
            if raw is None or is_nil(raw):
                return None
            facet = self.facets[identifier] = Facet.from_list(_decode(raw))
        return facet

    def has_facet(self, identifier: str) -> bool:
        """Whether the identifier has contributed something itself."""
        if identifier in self.facets:
            return self.facets[identifier] is not None
        raw = self.packed.get(identifier)
        return raw is not None and not is_nil(raw)

    def look(self, identifier: str) -> Facet | None:
        """As `facet`, to be read at once and not kept: a decoded facet takes five times the memory."""
        facet = self.facets.get(identifier)
        if facet is not None:
            return facet
        raw = self.packed.get(identifier)
        return None if raw is None or is_nil(raw) else Facet.from_list(_decode(raw))

    def own_facet(self, identifier: str) -> Facet:
        """The facet to change; made if there is none. Its page is marked for writing."""
        facet = self.facet(identifier)
        if facet is None:
            facet = self.facets[identifier] = Facet()
        self.packed.pop(identifier, None)
        if len(self.pages) > 1:
            self.dirty_pages |= {self.identifiers[identifier]}
        return facet

    def pack(self, identifier: str) -> msgspec.Raw:
        """The stored form of one facet."""
        raw = self.packed.get(identifier)
        if raw is None:
            facet = self.facets.get(identifier)
            raw = msgspec.Raw(_encode(None if facet is None else facet.to_list()))
            self.packed[identifier] = raw
        return raw

    def encode_page(self, page: int) -> bytes:
        """The stored form of page `page` >= 1."""
        return _encode([self.pack(identifier) for identifier in self.pages[page]])

    def load_page(self, page: int, value: bytes) -> None:
        """Take the stored form of a page in."""
        raws = _decode_page(value)
        if len(raws) != len(self.pages[page]):
            raise InvariantViolation("facet page does not fit its component", page=page, facets=len(raws))
        self.packed.update(zip(self.pages[page], raws, strict=True))

    def written(self) -> None:
        """All pages are as they are stored. Of several facets only the packed form is kept: the fold of the
        profile is what the next touch needs, and a decoded facet takes ten times the memory.
        """
        self.dirty_pages = CLEAN
        if len(self.facets) > 1:
            folds = [profile.fold for profile in self.profiles or ()]
            self.facets = {one: facet for one, facet in self.facets.items() if facet in folds}

    def become_redirect(self, survivor: str, until_ms: int) -> None:
        """Give everything up to `survivor`; the redirect is kept until `until_ms`."""
        kept = list(self.identifiers)
        blank = Component(self.root)
        for name in _PARTS:  # Not a second `__init__`: compiled, it would not let go of what was there.
            setattr(self, name, getattr(blank, name))
        self.redirect, self.pages, self.window_due = survivor, [kept], until_ms

    def encode(self) -> bytes:
        """The stored form of the component's own record, page 0 included."""
        if self.redirect:
            return _pack_armed(self.armed) + _encode(
                [_REDIRECT, self.redirect, self.pages[0], self.window_due]
            )
        if self.head is None:
            head = [self.pages, sorted(self.inert), self.closed, sorted(self.claims)]
            self.head = msgspec.Raw(_encode(head))
        body = [
            _LIVE,
            self.armed,
            self.head,
            {pid: entry.pack() for pid, entry in self.entries.items()},
            self.trigger,
            self.hold_until,
            self.unsettled,
            self.window_due,
            self.publish_due,
            self.last_active,
            self.reviewed,
            self.refused,
            [self.pack(identifier) for identifier in self.pages[0]],
        ]
        if self.decisions or self.matches:
            body.append(self.decisions)
        if self.matches:
            body.append(self.matches)
        # A component that waits for publication is found again after a crash by the instant at the front.
        return _pack_armed(min(self.armed, self.publish_due)) + _encode(body)

    @classmethod
    def decode(cls, root: str, value: bytes) -> Component:
        """Inverse of `encode`. Pages from 1 on are loaded with `load_page`."""
        component = cls(root)
        component.stale = False
        component.armed = armed_of(value)
        body = memoryview(value)[8:]
        if body[1] == _REDIRECT:
            _, component.redirect, kept, component.window_due = _decode(body)
            component.pages = [kept]
            return component
        stored = decode_live(body)
        component.armed = stored.armed
        pages, inert, closed, claims = stored.head
        component.pages = pages
        component.identifiers = (
            dict.fromkeys(pages[0], 0)
            if len(pages) == 1
            else {identifier: page for page, identifiers in enumerate(pages) for identifier in identifiers}
        )
        component.inert = frozenset(inert) if inert else NONE
        component.closed = closed or NOTHING
        component.claims = frozenset(claims) if claims else NONE
        component.entries = {profile: Entry(*entry) for profile, entry in stored.entries.items()}
        component.trigger, component.hold_until = stored.trigger, stored.hold_until
        component.unsettled, component.window_due = stored.unsettled, stored.window_due
        component.publish_due, component.last_active = stored.publish_due, stored.last_active
        component.reviewed, component.refused = stored.reviewed, stored.refused
        component.packed = dict(zip(pages[0], stored.facets, strict=True))
        component.decisions = stored.decisions or UNDECIDED
        component.matches = stored.matches or UNMATCHED
        return component
