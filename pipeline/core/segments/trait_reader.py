"""Reader of computed traits: which keys such a definition has, and what fits them.

It must not know how conditions are read: that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ..duration import UNITS_MS
from .asked import NUMERIC
from .conditions import duration, only, snake, whole_number
from .definition import LENGTHS, TRAIT, Computation, Computed, Condition, Definition, Score
from .document import DefinitionError, Node, similar_to
from .operands import read_where

RULES_MAX: Final = 100  # rules of a score
POINTS_MAX: Final = 1_000
SESSION_EVENTS_MAX: Final = 10  # types of events that make sessions
UNIT_MS_MIN: Final = UNITS_MS["h"]  # a shorter unit would wake everybody too often
UNIT_MS: Final = UNITS_MS["d"]
COMPUTATIONS: Final = tuple(str(one) for one in Computation)
TRAIT_KEYS: Final = ("trait", "name", "compute", "event", "of", "where", "within", "gap", "unit", "score")
RULE_KEYS: Final = ("points", "when")
TRAIT_EXAMPLES: Final[Mapping[Computation, str]] = MappingProxyType({
    Computation.COUNT: "{trait: orders_30d, compute: count, event: order_completed, within: 30d}",
    Computation.SUM: "{trait: lifetime_value, compute: sum, of: total, event: order_completed}",
    Computation.AVG: "{trait: order_value, compute: avg, of: total, event: order_completed}",
    Computation.MIN: "{trait: least_price, compute: min, of: price, event: product_viewed, within: 30d}",
    Computation.MAX: "{trait: largest_order, compute: max, of: total, event: order_completed}",
    Computation.FIRST: "{trait: first_campaign, compute: first, of: campaign, event: page_viewed}",
    Computation.LAST: "{trait: last_order_at, compute: last, event: order_completed}",
    Computation.MOST_FREQUENT: "{trait: favourite, compute: most_frequent, of: brand, event: product_viewed}",
    Computation.UNIQUE: "{trait: brands_7d, compute: unique, of: brand, event: product_viewed, within: 7d}",
    Computation.RECENCY: "{trait: days_since_order, compute: recency, event: order_completed, unit: 1d}",
    Computation.SESSIONS: "{trait: visits_30d, compute: sessions, event: page_viewed, gap: 30m, within: 30d}",
})  # fmt: skip
SCORE_EXAMPLE: Final = "{trait: interest, score: [{points: 10, when: {trait: visits_30d, gte: 3}}]}"
_WITH_PROPERTY: Final = (*NUMERIC, Computation.MOST_FREQUENT, Computation.UNIQUE)
_MAYBE_PROPERTY: Final = (Computation.FIRST, Computation.LAST)
_RULE_EXAMPLE: Final = "score: [{points: 10, when: {trait: city, is: Madrid}}]"
_SYNONYMS: Final[Mapping[str, str]] = MappingProxyType({
    "average": "avg", "mean": "avg", "minimum": "min", "maximum": "max", "total": "sum", "number": "count",
    "frequency": "count", "monetary": "sum", "value": "sum", "lifetime_value": "sum", "ltv": "sum",
    "mode": "most_frequent", "favourite": "most_frequent", "favorite": "most_frequent", "earliest": "first",
    "latest": "last", "newest": "last", "distinct": "unique", "unique_count": "unique",
    "days_since": "recency", "session": "sessions",
})  # fmt: skip


def required_of(kind: Computation) -> tuple[str, ...]:
    """The keys that a computation must have."""
    of = ("of",) if kind in _WITH_PROPERTY else ()
    return ("event", *of, *(("gap",) if kind is Computation.SESSIONS else ()))


def keys_of(kind: Computation) -> tuple[str, ...]:
    """The keys that a computation may have, `compute` first."""
    of = ("of",) if kind in (*_WITH_PROPERTY, *_MAYBE_PROPERTY) else ()
    length = (LENGTHS[kind],) if kind in LENGTHS else ()
    window = () if kind is Computation.RECENCY else ("within",)
    return ("compute", "event", *of, "where", *window, *length)


def read_computed(
    node: Node, entries: dict[str, Node], read_condition: Callable[[Node, int], Condition]
) -> Definition:
    """The definition of a computed trait. Raises DefinitionError."""
    only({key: value for key, value in entries.items() if key != "version"}, TRAIT_KEYS, "a computed trait")
    name = snake(entries["trait"], "trait", "orders_30d")
    both = [key for key in ("compute", "score") if key in entries]
    if len(both) != 1:
        if both:
            raise DefinitionError(
                entries["score"].key_place, "compute and score stand in one trait", "remove one"
            )
        node.refuse(
            f"the trait {name} has no compute", f"write for example {TRAIT_EXAMPLES[Computation.COUNT]}"
        )
    title = entries["name"].text("name", "Orders in 30 days") if "name" in entries else name
    where = _score(entries, read_condition) if "score" in entries else _computed(entries)
    return Definition(id=TRAIT + name, name=title, purpose=None, where=where)


def _score(entries: dict[str, Node], read_condition: Callable[[Node, int], Condition]) -> Score:
    for key, value in entries.items():
        if key not in ("trait", "name", "score", "version"):
            raise DefinitionError(value.key_place, f"{key} has nothing to say beside score", "remove it")
    items = entries["score"].items("score", _RULE_EXAMPLE)
    if len(items) > RULES_MAX:
        entries["score"].refuse(f"score has more than {RULES_MAX} rules", "leave some out")
    rules = []
    for item in items:
        rule = item.mapping("a rule", "{points: 10, when: {trait: city, is: Madrid}}")
        only(rule, RULE_KEYS, "a rule of a score")
        for key in RULE_KEYS:
            if key not in rule:
                item.refuse(f"the rule has no {key}", f"write for example {_RULE_EXAMPLE}")
        points = whole_number(rule["points"], "points", -POINTS_MAX, POINTS_MAX)
        rules.append((points, read_condition(rule["when"], 1)))
    return Score(tuple(rules))


def _computed(entries: dict[str, Node]) -> Computed:
    kind = _computation(entries["compute"])
    if "event" not in entries:
        entries["compute"].refuse("the trait has no event", "write event: order_completed")
    of_property = _property(entries, kind)
    length = LENGTHS.get(kind)
    for key in ("gap", "unit"):
        if key in entries and key != length:
            raise DefinitionError(
                entries[key].key_place, f"{key} has nothing to say beside {kind}", "remove it"
            )
    length_ms = None
    if kind is Computation.SESSIONS:
        if "gap" not in entries:
            entries["compute"].refuse("sessions want a gap", "write gap: 30m")
        length_ms = duration(entries["gap"], "gap")
    elif kind is Computation.RECENCY:
        if "within" in entries:
            raise DefinitionError(entries["within"].key_place, "a recency has no window", "remove within")
        length_ms = duration(entries["unit"], "unit") if "unit" in entries else UNIT_MS
        if length_ms < UNIT_MS_MIN:
            entries["unit"].refuse("the unit is too short", "write at least 1h")
    events = _events(entries["event"], kind)
    where = read_where(entries["where"]) if "where" in entries else ()
    within_ms = duration(entries["within"], "within") if "within" in entries else None
    return Computed(kind, events, where, within_ms, of_property, length_ms)


def _computation(node: Node) -> Computation:
    text = node.text("compute", "count")
    if text not in COMPUTATIONS:
        meant = _SYNONYMS.get(text.lower())
        node.refuse(
            f"{text!r} is not known as a computation",
            f"did you mean {meant}?" if meant else similar_to(text, COMPUTATIONS),
        )
    return Computation(text)


def _property(entries: dict[str, Node], kind: Computation) -> str | None:
    if "of" not in entries:
        if kind in _WITH_PROPERTY:
            entries["compute"].refuse(f"{kind} wants a property", f"write compute: {kind}, of: total")
        return None
    if kind not in (*_WITH_PROPERTY, *_MAYBE_PROPERTY):
        place = entries["of"].key_place
        raise DefinitionError(place, f"{kind} counts events, not a property", "remove of")
    return entries["of"].text("of", "of: total", 1_000)


def _events(node: Node, kind: Computation) -> tuple[str, ...]:
    if not isinstance(node.value, list):
        return (snake(node, "event", "order_completed"),)
    if kind is not Computation.SESSIONS:
        node.refuse(f"{kind} wants one event, not a list", "write event: order_completed")
    items = node.items("event", "event: [page_viewed, order_completed]")
    if len(items) > SESSION_EVENTS_MAX:
        node.refuse(f"sessions are made of at most {SESSION_EVENTS_MAX} types of events", "leave some out")
    return tuple(sorted({snake(item, "event", "order_completed") for item in items}))
