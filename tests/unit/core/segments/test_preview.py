"""A preview tells what applying would do: held against clusters that had the definitions from the start."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection
from typing import Any

import pytest

from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.definition import Definition
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.segments.preview import Preview, SegmentPreview, TraitPreview
from tests.support.evidence import START_MS, People, shipped_policy
from tests.support.segment_cases import CATEGORIES, EVENTS, HOURS, random_definition, random_trait
from tests.support.segment_cases import START_MS as START_CASES_MS

DAY_MS = 86_400_000


def definition(name: str, where: dict[str, Any], **more: Any) -> Definition:
    return definition_from_json({"id": name, "where": where, **more})


def previewed(
    people: People,
    definitions: list[Definition],
    applied: list[Definition],
    removed: Collection[str] = (),
    chosen: Callable[[str], bool] = lambda root: True,
) -> Preview:
    """What `elo segments preview` does, over the state of a cluster."""
    preview = Preview(definitions, applied, people.policy.history_ms, removed)
    if preview.fill:
        for touch in people.touches:
            if preview.wants(touch):
                preview.see(touch)
    for component in {one.root: one for one in people.owned().values()}.values():
        for profile in people.profiles(component) if chosen(component.root) else ():
            preview.add(component, profile, people.cluster.now_ms)
    return preview


def segment(preview: Preview, name: str) -> SegmentPreview:
    found = preview.segments[name]
    assert isinstance(found, SegmentPreview)
    return found


def members(people: People, segment_id: str) -> list[str]:
    """Who was told to be inside."""
    components = {one.root: one for one in people.owned().values()}.values()
    return sorted(
        pid
        for component in components
        for pid, entry in component.entries.items()
        if not entry.alias_of and segment_id in entry.memberships and entry.memberships[segment_id][0]
    )


def test_an_edited_definition_shows_who_enters_and_who_leaves() -> None:
    old = definition("paying", {"trait": "plan", "is": "gold"})
    other = definition("everybody", {"event": "page_viewed"})
    people = People(shipped_policy(), definitions=[old, other])
    for number, plan in enumerate(("gold", "silver", "bronze", "gold")):
        people.touch(f"user_id:{number}", traits=f'{{"plan": "{plan}"}}')
    new = definition("paying", {"trait": "plan", "in": ["silver", "bronze"]})
    preview = previewed(people, [new], [old, other])
    result = segment(preview, "paying").to_json()
    ids = [people.profiles(people.component(f"user_id:{number}"))[0].id for number in range(4)]
    assert (preview.profiles.count, preview.fill, result["today"]) == (4, {}, 2)
    assert result["inside"] == result["entering"] == {"count": 2, "examples": sorted(ids[1:3])}
    assert result["leaving"] == {"count": 2, "examples": sorted([ids[0], ids[3]])}
    assert (result["overlaps"], result["notes"]) == ({"everybody": 2}, [])


def test_what_the_state_does_not_keep_is_counted_from_the_history_and_said() -> None:
    people = People(shipped_policy())
    for price in (5, 50, 60):
        people.touch("user_id:1", "product_viewed", properties=f'{{"price": {price}}}')
    people.touch("user_id:2", "product_viewed", properties='{"price": 70}')
    dear = {"event": "product_viewed", "where": {"price": {"gt": 10}}, "at_least": 2}
    preview = previewed(
        people,
        [
            definition("dear", dear),
            definition("dear-lately", {**dear, "within": "1h"}),
            definition("dear-year", {**dear, "within": "365d"}),
            definition("dear-now", {**dear, "within": "1s"}),
        ],
        [],
    )
    counts = {name: segment(preview, name).inside.count for name in preview.segments}
    assert counts == {"dear": 1, "dear-lately": 1, "dear-year": 1, "dear-now": 0}
    notes = {name: one.notes for name, one in preview.segments.items()}
    assert notes["dear-lately"] == notes["dear-now"] == []
    said = "event product_viewed (price gt 10)"
    assert notes["dear"] == [f"{said}, at least 2: counted from the history only, which goes back 30d"]
    assert notes["dear-year"] == [
        f"{said} within 365d, at least 2: the window is longer than the history, which goes back 30d"
    ]


def test_a_leaf_that_is_kept_needs_the_history_only_if_more_of_it_is_asked_for() -> None:
    one = definition("once", {"event": "page_viewed", "within": "1h"})
    twice = definition("twice", {"event": "page_viewed", "within": "2h", "at_least": 2})
    people = People(shipped_policy(), ["user_id:1", "user_id:1", "user_id:2"], [one])
    assert Preview([definition("longer", {"event": "page_viewed", "within": "2h"})], [one], DAY_MS).fill == {}
    preview = previewed(people, [twice], [one])
    assert preview.fill == {"page_viewed": True}
    assert segment(preview, "twice").inside.count == 1


@pytest.mark.parametrize("seed", range(30))
def test_a_preview_finds_whom_the_definitions_would_have_found_from_the_start(seed: int) -> None:
    rng = random.Random(seed)
    definitions = [definition_from_json(random_definition(rng, number)) for number in range(12)]
    applied = definitions[: rng.randrange(8)]
    edited = [definition_from_json({**random_definition(rng, 20), "id": one.id}) for one in applied[:3]]
    wanted = [*edited, *definitions[len(applied[:3]) :]]
    before, after = (People(shipped_policy(), definitions=some) for some in (applied, wanted))
    names = ["user_id:1", "user_id:2", "email:a", "email:b", "anonymous_id:x", "anonymous_id:y"]
    for _ in range(25):
        identifiers = " ".join(rng.sample(names, k=rng.choice([1, 1, 2])))
        if identifiers.count("user_id") == 2:
            continue
        kind = rng.choice(["product_viewed", "order_completed", "page_viewed"])
        fields = {
            "properties": rng.choice(["{}", '{"category": "hats", "price": 2.5}', '{"category": "books"}']),
            "traits": rng.choice(["{}", '{"city": "Madrid"}', '{"plan": 10}']),
            "consent": rng.choice([{}, {"marketing": True}, {"analytics": False}]),
        }
        for people in (before, after):
            people.touch(identifiers, kind, **fields)
    now_ms = START_MS + 60_000 + rng.choice([0, 90 * 60_000])
    for people in (before, after):
        people.cluster.advance(now_ms)
    preview = previewed(before, wanted, applied)
    for one in wanted:
        told, today = members(after, one.id), members(before, one.id)
        result = segment(preview, one.id)
        assert result.inside.examples == told, one.to_json()
        assert result.today.count == len(today)
        assert set(result.entering.examples) == set(told) - set(today)
        assert set(result.leaving.examples) == set(today) - set(told)


@pytest.mark.parametrize(
    ("where", "back_ms"),
    [
        ({"event": "a", "within": "7d"}, 7 * DAY_MS),
        ({"any": [{"event": "a", "within": "1h"}, {"not_since": {"event": "a", "for": "2d"}}]}, 2 * DAY_MS),
        ({"sequence": [{"event": "a"}, {"event": "b"}], "within": "3d"}, 3 * DAY_MS),
        ({"event": "a", "where": {"x": 1}}, None),
        ({"any": [{"event": "a", "within": "1h"}, {"event": "a", "where": {"x": 1}}]}, None),
        ({"first_time": "a", "within": "1h"}, None),
        ({"trait": "city", "is": "Madrid"}, 0),
    ],
)
def test_the_history_is_read_as_far_back_as_windows_reach(where: dict[str, Any], back_ms: int | None) -> None:
    """And six minutes more: events may be ahead of the clocks, which may differ."""
    preview = Preview([definition("a", where)], [], DAY_MS)
    now_ms = 100 * DAY_MS
    expected = 0 if back_ms is None else now_ms - back_ms - 6 * 60_000
    assert preview.since_ms(now_ms) == expected


def test_a_window_that_is_counted_already_does_not_make_the_history_be_read() -> None:
    ever = definition("ever", {"event": "a", "where": {"x": 1}})
    lately = definition("lately", {"event": "b", "within": "1d"})
    both = definition("both", {"all": [ever.to_json()["where"], {"segment": "lately"}]})
    assert Preview([both], [ever, lately], DAY_MS).fill == {}
    assert Preview([both, lately], [ever], DAY_MS).since_ms(9 * DAY_MS) == 8 * DAY_MS - 6 * 60_000


@pytest.mark.parametrize("seed", range(20))
def test_a_preview_of_traits_has_the_values_that_they_then_have(seed: int) -> None:
    rng = random.Random(seed)
    kept = [definition_from_json(random_trait(rng, f"t{number}", HOURS)) for number in range(4)]
    edited = definition_from_json(random_trait(rng, "t0", HOURS))
    new = [definition_from_json(random_trait(rng, f"n{number}", HOURS)) for number in range(4)]
    wanted, removed = [edited, *new], ["trait:t3"]
    before, after = (
        People(shipped_policy(), definitions=some) for some in (kept, [edited, *kept[1:3], *new])
    )
    for number in range(30):
        properties = {"category": rng.choice(CATEGORIES), "price": rng.choice([1, 2.5, "x"])}
        who, kind = rng.choice("123456"), rng.choice(EVENTS)
        ahead_ms = START_CASES_MS + rng.randrange(20) * 1_800_000 - START_MS - number * 1_000
        for people in (before, after):
            people.touch(f"user_id:{who}", kind, later_ms=ahead_ms, properties=json.dumps(properties))
    now_ms = max(one.cluster.now_ms for one in (before, after))
    preview = previewed(before, wanted, kept, removed)
    found, was = (
        {
            profile.id: catalogue.computed(profile.fold, profile.types, now_ms)
            for component in {one.root: one for one in people.owned().values()}.values()
            for profile in people.profiles(component)
        }
        for people, catalogue in ((after, Catalogue([edited, *new])), (before, Catalogue(kept)))
    )
    for name in [one.id for one in wanted] + removed:
        result = preview.segments[name]
        assert isinstance(result, TraitPreview)
        trait = name.partition(":")[2]
        values = {pid: one.get(trait) for pid, one in sorted(found.items())}
        having = {pid: value for pid, value in values.items() if value is not None}
        shown = result.to_json()
        assert shown["values"]["count"] == len(having)
        assert shown["values"]["examples"] == [
            {"profile_id": pid, "value": value} for pid, value in having.items()
        ]
        numbers = sorted(one for one in having.values() if type(one) in (int, float))
        if numbers:
            assert [shown["values"][one] for one in ("min", "median", "max")] == [
                numbers[0], numbers[(len(numbers) - 1) // 2], numbers[-1]
            ]  # fmt: skip
        assert shown["changing"]["examples"] == [
            pid for pid, value in values.items() if repr(value) != repr(was[pid].get(trait))
        ]
