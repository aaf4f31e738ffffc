"""Why a computed trait has its value: held against the oracle, which looks at raw events, and in examples."""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

from pipeline.core.facet import NEVER, Facet
from pipeline.core.instant import format_instant
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.definition import Computed, Score
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.segments.values import counts_all
from pipeline.core.segments.why_computed import WhyComputed, explain_computed
from tests.support.segment_cases import HOUR_MS, START_MS, fold, random_history, random_trait
from tests.support.segment_oracle import Person, id_of, trait_value

Events = list[dict[str, Any]]
NOW_MS: Final = START_MS + 10 * HOUR_MS
FAR_MS: Final = NOW_MS + 1_000 * 24 * HOUR_MS
ORDERS: Final[Events] = [
    {"event_id": f"o{number}", "type": "order_completed", "occurred_at": NOW_MS - hours * HOUR_MS,
     "properties": {"total": total, "shop": shop}}
    for number, (hours, total, shop) in enumerate(
        [(9, 20, "Lisbon"), (5, 70.5, "Madrid"), (2, 70.5, "Madrid"), (1, 10, "Porto")]
    )
]  # fmt: skip


def whole(facets: dict[str, Facet], catalogue: Catalogue) -> Facet:
    """The fold of a profile."""
    everything = Facet()
    for facet in facets.values():
        everything.add(facet, {}, catalogue.capacities)
    return everything


def explained(
    written: dict[str, Any], others: list[dict[str, Any]], histories: dict[str, Events], now_ms: int = NOW_MS
) -> WhyComputed:
    """A trait of a profile whose identifiers have these histories."""
    definitions = {id_of(one): definition_from_json(one) for one in [written, *others]}
    catalogue = Catalogue(definitions.values())
    facets = {name: fold(catalogue, history, {}, {}) for name, history in histories.items()}
    definition = definitions[id_of(written)]
    return explain_computed(
        definition, whole(facets, catalogue), list(facets), now_ms, definitions, facets
    )  # fmt: skip


def typed(value: Any) -> tuple[type, Any]:
    return type(value), value


@pytest.mark.parametrize("seed", range(150))
def test_a_value_its_change_and_its_ingredients_are_those_of_the_oracle(seed: int) -> None:
    rng = random.Random(seed)
    written = random_trait(rng, "made")
    everything = random_history(rng, rng.choice([0, 3, 12]))
    names = rng.sample(["user_id:1", "email:a@x", "anonymous_id:7"], k=rng.randrange(1, 4))
    histories: dict[str, Events] = {name: [] for name in names}
    for event in everything:
        histories[rng.choice(names)].append(event)
    now_ms = START_MS + rng.randrange(11 * HOUR_MS)
    why = explained(written, [], histories, now_ms)

    def truth(events: Events, at_ms: int) -> tuple[type, Any]:
        person = Person(events, {}, {}, {name.partition(":")[0] for name in names})
        return typed(trait_value(written, person, at_ms, {id_of(written): written}))

    assert typed(why.value) == truth(everything, now_ms)
    if why.changes_ms == NEVER:
        assert truth(everything, FAR_MS) == typed(why.value)
    else:
        assert truth(everything, why.changes_ms - 1) == typed(why.value) != typed(why.becomes)
        assert truth(everything, why.changes_ms) == typed(why.becomes)
    value = why.definition.where
    if isinstance(value, Score):
        points = [points for points, rule in why.rules if rule.holds]
        assert why.value == sum(points)
        return
    assert isinstance(value, Computed)
    by_id = {event["event_id"]: event for event in everything}
    deciding = [by_id[one.event_id] for one in why.events]
    if not counts_all(value) or value.computation == "first":
        assert truth(deciding, now_ms) == typed(why.value)
    for one in why.events:
        assert by_id[one.event_id] in histories[str(why.by(one))]
        assert one.at_ms == by_id[one.event_id]["occurred_at"]
        assert one.brings == (by_id[one.event_id]["properties"][value.property] if value.property else None)
        assert why.by(one) in why.identifiers
    for name, alone in why.alone.items():
        assert typed(alone) == truth(histories[name], now_ms)
    for name in set(names) - set(why.alone):
        assert truth(histories[name], now_ms) == truth([], now_ms)


@pytest.mark.parametrize(
    ("compute", "value", "events", "of"),
    [
        ({"compute": "count", "within": "6h"}, 3, ["o3", "o2", "o1"], 3),
        ({"compute": "count"}, 4, [], 4),
        ({"compute": "sum", "of": "total", "within": "6h"}, 151, ["o3", "o2", "o1"], 3),
        ({"compute": "max", "of": "total", "within": "6h"}, 70.5, ["o2", "o1"], 3),
        ({"compute": "min", "of": "total"}, 10, ["o3"], 4),
        ({"compute": "first", "of": "shop"}, "Lisbon", ["o0"], 4),
        ({"compute": "first", "of": "shop", "within": "6h"}, "Madrid", ["o1"], 3),
        ({"compute": "last", "of": "shop"}, "Porto", ["o3"], 1),
        ({"compute": "most_frequent", "of": "shop"}, "Madrid", ["o2", "o1"], 4),
        ({"compute": "unique", "of": "shop"}, 3, ["o3", "o2", "o1", "o0"], 4),
        ({"compute": "recency", "unit": "1h"}, 1, ["o3"], 1),
        ({"compute": "sessions", "gap": "2h"}, 3, ["o3", "o2", "o1", "o0"], 4),
    ],
    ids=str,
)
def test_the_events_that_decide_are_named(
    compute: dict[str, Any], value: Any, events: list[str], of: int
) -> None:
    why = explained({"trait": "made", "event": "order_completed", **compute}, [], {"user_id:1": ORDERS})
    assert (why.value, [one.event_id for one in why.events], why.of) == (value, events, of)


def test_an_explanation_as_json() -> None:
    written = {"trait": "spent", "compute": "sum", "of": "total", "event": "order_completed", "within": "6h"}
    why = explained(written, [], {"user_id:1": ORDERS[:2], "email:a@x": ORDERS[2:]})
    assert why.to_json() == {
        "trait": "spent", "trait_version": 1, "value": 151,
        "evaluated_at": format_instant(NOW_MS),
        "changes_at": format_instant(NOW_MS + HOUR_MS), "becomes": 80.5, "rule": None,
        "computed": {"event": "order_completed", "within": "6h", "compute": "sum", "of": "total"},
        "found": {"of": 3, "or_more": False},
        "events": [
            {"event_id": name, "at": format_instant(NOW_MS - hours * HOUR_MS), "value": total,
             "until": format_instant(NOW_MS + (6 - hours) * HOUR_MS), "identifier": whose}
            for name, hours, total, whose in (
                ("o3", 1, 10, "email:a@x"), ("o2", 2, 70.5, "email:a@x"), ("o1", 5, 70.5, "user_id:1")
            )
        ],
        "identifiers": ["email:a@x", "user_id:1"],
        "values": [{"identifier": "email:a@x", "value": 80.5}, {"identifier": "user_id:1", "value": 70.5}],
        "conditions": [],
    }  # fmt: skip


def test_a_score_shows_its_rules_with_their_points_and_what_is_behind_them() -> None:
    orders = {"trait": "orders", "compute": "count", "event": "order_completed", "within": "6h"}
    score = {"trait": "risk", "score": [
        {"points": 30, "when": {"trait": "orders", "lt": 3}},
        {"points": -5, "when": {"event": "order_completed", "where": {"shop": "Porto"}, "within": "3h"}},
    ]}  # fmt: skip
    why = explained(score, [orders], {"user_id:1": ORDERS, "email:a@x": []})
    assert (why.value, why.becomes, why.changes_ms) == (-5, 25, NOW_MS + HOUR_MS)
    document = why.to_json()
    assert [(one["points"], one["holds"]) for one in document["conditions"]] == [(30, False), (-5, True)]
    first, second = document["conditions"]
    assert (first["found"]["value"], [one["event_id"] for one in first["events"]]) == (3, ["o3", "o2", "o1"])
    assert [one["event_id"] for one in second["events"]] == ["o3"]
    assert document["identifiers"] == ["user_id:1"]


def test_what_does_not_count_any_more_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.core.segments.asked.KEPT_MAX", 3)
    written = {"trait": "shops", "compute": "unique", "of": "shop", "event": "order_completed"}
    why = explained(written, [], {"user_id:1": ORDERS})
    assert (why.value, why.of, why.or_more) == (2, 3, True)
