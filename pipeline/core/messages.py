"""The messages between nodes, as they cross partitions on `elo.mail`. Version 1, pinned by a golden file.

The key of the record is the node that the message goes to; the value is one version byte and MessagePack.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .errors import InvariantViolation
from .touch import Touch

MAIL_VERSION: Final = b"\x01"
MERGE_BYTES_MAX: int = 512 * 1024
"""A merge above this is sent in parts. Far below the broker's limit, so that one part never fails. Not Final:
compiled code would not see that a test has made it small."""


class Absorb(msgspec.Struct, array_like=True, tag=1, gc=False):
    """To a component: fold the touch into the facet of `via`, the touch's strongest identifier.

    `leaves`: (key, capacity) of the window leaves that it belongs to. The partition that keeps the touch
    decides them, once, so that a definition which reaches the partitions at different moments counts no touch
    twice. `lost`: a component that turned out to be gone; a redirect to it is a dead end.
    """

    via: str
    touch: Touch
    leaves: list[tuple[str, int]] = []
    lost: str = ""


class Claim(msgspec.Struct, array_like=True, tag=2, gc=False):
    """To an identifier: `component` saw it together with `partner`. `ask`: an answer is awaited.

    `trigger`: event id and time of the touch that told so; ("", 0) if none did just now.
    """

    component: str
    partner: str
    ask: bool
    trigger: tuple[str, int] = ("", 0)


class Linked(msgspec.Struct, array_like=True, tag=3, gc=False):
    """To a component: the claim that `component` made of `identifier` is answered.

    `status`: empty (it is yours, or on its way in a merge), `inert` (yours, but shared), `shared` or `full`
    (not yours). `component` empty: nobody asked, it has become `inert`, by the touch `trigger`.
    """

    component: str
    identifier: str
    status: str
    trigger: tuple[str, int] = ("", 0)


class Join(msgspec.Struct, array_like=True, tag=4, gc=False):
    """To a component: become a redirect to `survivor`, because both claimed `identifier`, `claimant` last."""

    survivor: str
    identifier: str
    claimant: str


class Merge(msgspec.Struct, array_like=True, tag=5, gc=False):
    """To a component: take over what `loser` held. Several parts make one merge; `last` ends it.

    `facets`: [identifier, packed facet or nil] of what `loser` owned; `claims`: what it had only asked for.
    Everything but these comes with the first part. It answers the claim of `claimant` to `identifier`.
    `untold`: version of the policy under which their comparison records were still to be told; 0: none.
    """

    loser: str
    identifier: str
    claimant: str
    last: bool
    facets: list[tuple[str, msgspec.Raw]]
    inert: list[str] = []
    closed: dict[str, str] = {}
    claims: list[str] = []
    entries: dict[str, tuple[str, str, dict[str, list[Any]]]] = {}
    trigger: tuple[str, int] = ("", 0)
    last_active: int = 0
    untold: int = 0


class Repoint(msgspec.Struct, array_like=True, tag=6, gc=False):
    """To an identifier: your owner is `component` now (path compression)."""

    component: str


class Close(msgspec.Struct, array_like=True, tag=7, gc=False):
    """To an identifier: your component is full, accept no further link."""


class Locate(msgspec.Struct, array_like=True, tag=8, gc=False):
    """To a component: tell `identifier` who you are; sent before a redirect expires."""

    identifier: str


class Forget(msgspec.Struct, array_like=True, tag=9, gc=False):
    """To an identifier: `component` expired; if no stronger one has taken you since, you are forgotten."""

    component: str


class Retouch(msgspec.Struct, array_like=True, tag=10, gc=False):
    """To an identifier: `component` is no longer there, find the touch another owner."""

    component: str
    touch: Touch
    leaves: list[tuple[str, int]] = []


class Fill(msgspec.Struct, array_like=True, tag=11, gc=False):
    """To a component: an older touch of `via`, seen again because a new definition asks about it.

    `leaves`: (key, capacity, whether it must be counted). `source`: the partition that keeps the touch, which
    is told when it has arrived; `offset`: of the definitions topic, for which change of definitions it is.
    """

    via: str
    event_id: str
    occurred_at: int
    leaves: list[tuple[str, int, bool]]
    source: int = 0
    offset: int = 0


class Filled(msgspec.Struct, array_like=True, tag=12, gc=False):
    """To a partition: all fills of `partition` for definitions below `offset` of their topic have arrived."""

    partition: int
    offset: int


class Taken(msgspec.Struct, array_like=True, tag=13, gc=False):
    """To the partition that sent fills: so many for the change of definitions at `offset` have arrived."""

    offset: int
    count: int


class Bind(msgspec.Struct, array_like=True, tag=14, gc=False):
    """To an identifier: a decision in `component` names you. As a Claim, but a shared one is claimed too."""

    component: str


class Decided(msgspec.Struct, array_like=True, tag=15, gc=False):
    """To a component: decisions of another one, whose Merge comes next. Name → row."""

    decisions: dict[str, list[Any]]


class Adopted(msgspec.Struct, array_like=True, tag=16, gc=False):
    """To a partition: `partition` has taken the identity policy of this version into use."""

    partition: int
    version: int


class Describe(msgspec.Struct, array_like=True, tag=17, gc=False):
    """To an identifier: its facet at `component` says this of a person now. `record`: see likeness.py; empty:
    nothing that could be compared."""

    component: str
    record: str


class Enter(msgspec.Struct, array_like=True, tag=18, gc=False):
    """To a block: `identifier` has a record with your key, or a changed one: who else has one?

    `fresh`: it is not in the block yet.
    """

    identifier: str
    fresh: bool


class Leave(msgspec.Struct, array_like=True, tag=19, gc=False):
    """To a block: the record of `identifier` has your key no longer."""

    identifier: str


class Found(msgspec.Struct, array_like=True, tag=20, gc=False):
    """To an identifier: these are in `block` too. `open`: it holds no more records than may be compared.

    `again`: it was not open before, so who was compared already is compared again.
    """

    block: str
    identifiers: list[str]
    open: bool
    again: bool = False


class Compare(msgspec.Struct, array_like=True, tag=21, gc=False):
    """To an identifier: compare your record with that of `identifier`; empty: it has none any more.

    `stamp`: of the record, greater than those of its earlier ones. `held`: an answer is awaited also if the
    two do not match, because they did.
    """

    identifier: str
    stamp: int
    record: str
    held: bool


class Compared(msgspec.Struct, array_like=True, tag=22, gc=False):
    """To an identifier: your record of `stamp` and mine match with `weight`, None: they do not.

    `blocks`: those that both are in.
    """

    identifier: str
    stamp: int
    weight: float | None
    blocks: list[str]


class Matches(msgspec.Struct, array_like=True, tag=23, gc=False):
    """To a component: all whose records match that of `identifier`, with the weights.

    `edition`: greater than those of what was told of the identifier earlier.
    """

    identifier: str
    edition: int
    edges: dict[str, float]


Message = (
    Absorb
    | Claim
    | Linked
    | Join
    | Merge
    | Repoint
    | Close
    | Locate
    | Forget
    | Retouch
    | Fill
    | Filled
    | Taken
    | Bind
    | Decided
    | Adopted
    | Describe
    | Enter
    | Leave
    | Found
    | Compare
    | Compared
    | Matches
)
TO_IDENTIFIER: Final = (Claim, Repoint, Close, Forget, Retouch, Bind)
OF_RECORDS: Final = (Describe, Enter, Leave, Found, Compare, Compared)
"""To the comparison record of an identifier, or to a block."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Message).decode


def encode_message(message: Message) -> bytes:
    """The value of a record of `elo.mail`."""
    return MAIL_VERSION + _encode(message)


def decode_message(value: bytes) -> Message:
    """Inverse of `encode_message`.

    Raises InvariantViolation for a version that this program does not know.
    """
    if value[:1] != MAIL_VERSION:
        raise InvariantViolation("mail of an unknown version; run a newer elo", version=value[:1].hex())
    message: Message = _decode(memoryview(value)[1:])
    return message
