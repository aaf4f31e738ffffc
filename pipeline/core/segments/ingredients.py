"""What a computed trait is made of: the events behind its value, and what each of them brings.

It reads what leaves have kept. It must not know how a value is folded, nor how an explanation is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from ..facet import NEVER, Facet
from . import asked
from .asked import Asked, asked_by
from .definition import Computation, Computed
from .leaf import LeafState, event_ids, first_of
from .values import as_number, counts_all

EQUAL: Final = (Computation.MIN, Computation.MAX, Computation.MOST_FREQUENT)
"""Of these the events decide that bring the very value."""
TEXTED_PARTS: Final = 5  # of the state of a texted leaf, which keeps the earliest event as well


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One event. `brings`: what it says in the property that counts; None if it is the event that counts.

    `until_ms`: when it leaves the window; NEVER if there is none.
    """

    at_ms: int
    event_id: str
    brings: Any
    until_ms: int


@dataclass(frozen=True, slots=True)
class Ingredients:
    """The events that decide a value, oldest first, as far as they are kept.

    `of`: how many the value is made of; `or_more`: older ones, which do not count, may lie in the window too.
    """

    deciding: tuple[Ingredient, ...]
    of: int
    or_more: bool


def ingredients_of(value: Computed, made: Any, fold: Facet, now_ms: int) -> Ingredients:
    """What a value is made of that is `made` at `now_ms`, of one facet or a fold."""
    found: list[Ingredient] = []
    ever = 0
    for one in asked_by(value):
        state = fold.leaves.get(one.key())
        if state is not None:
            ever += state[0]
            found += _kept(one, state, earliest=value.computation is Computation.FIRST)
        elif not one.needs_leaf():
            ever += fold.counters.get(one.event, 0)
    found.sort(key=lambda one: one.at_ms)  # Those of one instant stand as in their leaf.
    if counts_all(value):
        return Ingredients(_deciding(value.computation, found, made), ever, False)
    if value.within_ms is not None:
        found = [one for one in found if one.until_ms > now_ms]
    found = found[-asked_by(value)[0].needed :]
    or_more = len(found) == asked.KEPT_MAX < ever
    return Ingredients(_deciding(value.computation, found, made), len(found), or_more)


def kept_events(key: str, state: LeafState) -> list[tuple[int, str]]:
    """(event time, event id) of what a leaf still knows: the newest, and of a texted one the earliest."""
    pairs = list(zip(state[1], event_ids(key, state), strict=True))
    if len(state) == TEXTED_PARTS:
        at_ms, kept = first_of(state)
        pairs.append((at_ms, kept.partition(" ")[2]))
    return pairs


def _kept(one: Asked, state: LeafState, *, earliest: bool) -> list[Ingredient]:
    pairs = set(zip(state[1], state[2], strict=True))
    if earliest:
        pairs.add(first_of(state))
    return [_ingredient(one, at_ms, kept) for at_ms, kept in sorted(pairs)]


def _ingredient(one: Asked, at_ms: int, kept: str) -> Ingredient:
    """`kept`: what stands for an event in a leaf: its id, behind a number or text if it brings one."""
    brings: Any = None
    event_id = kept
    if one.number_in is not None:
        text, _, event_id = kept.partition(" ")
        brings = as_number(int(text))
    elif one.text_in is not None:
        text, _, event_id = kept.partition(" ")
        brings = orjson.loads(text)
    return Ingredient(at_ms, event_id, brings, NEVER if one.within_ms is None else at_ms + one.within_ms)


def _deciding(kind: Computation, found: list[Ingredient], made: Any) -> tuple[Ingredient, ...]:
    if kind is Computation.FIRST:
        return tuple(found[:1])
    if kind in EQUAL:
        return tuple(one for one in found if (type(one.brings), one.brings) == (type(made), made))
    return tuple(found)
