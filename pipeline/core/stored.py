"""What the stored form of a live component is made of, in its order.

A module of its own because a `msgspec.Struct` is a class that Python makes: node.py can be compiled without
it (docs/decisions/0011).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec


class LiveComponent(msgspec.Struct, array_like=True, gc=False):
    """The body of a component's record; the fields are those of `pipeline.core.node.Component`.

    `head`: pages, inert, closed, claims. `facets`: the packed facets of page 0. `decisions`, `matches`:
    only there if there are some.
    """

    kind: int
    armed: int
    head: tuple[list[list[str]], list[str], dict[str, str], list[str]]
    entries: dict[str, tuple[str, str, dict[str, list[Any]]]]
    trigger: tuple[str, int]
    hold_until: int
    unsettled: bool
    window_due: int
    publish_due: int
    last_active: int
    reviewed: bool
    refused: int
    facets: list[msgspec.Raw]
    decisions: dict[str, list[Any]] = {}
    matches: dict[str, tuple[int, dict[str, float]]] = {}


class Front(msgspec.Struct, array_like=True, gc=False):
    """The first fields of any component's body; what follows is passed over."""

    kind: int
    armed: Any
    head: Any = None


decode_live: Final = msgspec.msgpack.Decoder(LiveComponent).decode
_decode_front: Final = msgspec.msgpack.Decoder(Front).decode


def lies_elsewhere(value: bytes) -> bool:
    """Whether facets of a stored component lie in records of their own, so that this one is not all."""
    front = _decode_front(memoryview(value)[8:])
    return front.kind == 0 and len(front.head[0]) > 1
