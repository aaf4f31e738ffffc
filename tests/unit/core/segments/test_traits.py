"""Computed traits: what is refused, how they refer to each other, and the churn example of the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.core.outbox import MembershipChange
from pipeline.core.segments.asked import asked_by
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.definition import Computation, Computed, atoms
from pipeline.core.segments.document import DefinitionError
from pipeline.core.segments.explain import explain_segment
from pipeline.core.segments.notes import notes_of
from pipeline.core.segments.parse import definition_from_json, parse_definitions
from pipeline.core.segments.references import check_references, users_of
from pipeline.core.segments.trait_reader import SCORE_EXAMPLE, TRAIT_EXAMPLES
from pipeline.core.touch import Touch
from tests.support.histories import policy_of
from tests.support.laws import changes_of, check_outputs, profiles_of
from tests.support.memory import CALM, Cluster

DOCS: Final = Path(__file__).parents[4] / "docs"
PAGE: Final = (DOCS / "reference" / "traits.md").read_text("utf-8")
REFUSED: Final = re.findall(r"^\| `(\{.+?\})` \| `(line 1, .+?)` \|$", PAGE, re.MULTILINE)
DAY_MS: Final = 86_400_000
START_MS: Final = 1_772_323_200_000
COUNT: Final = {"trait": "orders", "compute": "count", "event": "order_completed"}


@pytest.mark.parametrize(("written", "message"), REFUSED)
def test_every_error_on_the_page_is_the_one_that_is_given(written: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_definitions(written)
    assert str(caught.value) == message


def test_the_page_shows_every_computation_with_an_example_that_is_read() -> None:
    assert len(REFUSED) == 6
    assert list(TRAIT_EXAMPLES) == list(Computation)
    for example in [
        *TRAIT_EXAMPLES.values(),
        SCORE_EXAMPLE,
        *re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL),
    ]:
        assert parse_definitions(example)[0].is_trait
    meanings = PAGE.partition("| `compute` | the value")[2].partition("| (`score`)")[0]
    first_cells = re.findall(r"^\| (`[^|]+`) \|", meanings, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(Computation)


@pytest.mark.parametrize(
    ("change", "problem", "suggestion"),
    [
        ({"compute": "average"}, "'average' is not known as a computation", "did you mean avg?"),
        ({"score": []}, "compute and score stand in one trait", "remove one"),
        ({"wthin": "7d"}, "'wthin' is not known in a computed trait", "did you mean within?"),
        ({"of": "total"}, "count counts events, not a property", "remove of"),
        ({"gap": "30m"}, "gap has nothing to say beside count", "remove it"),
        ({"event": ["a", "b"]}, "count wants one event, not a list", "write event: order_completed"),
        ({"compute": "recency", "within": "7d"}, "a recency has no window", "remove within"),
        ({"within": "401d"}, "the window 401d is too long", "write at most 400d"),
        ({"event": None}, "the trait has no event", "write event: order_completed"),
        ({"trait": "Ünits"}, "the trait 'Ünits' is not in snake_case", "write units"),
        ({"compute": None, "event": None}, "the trait orders has no compute", None),
        ({"compute": None, "score": [{"points": 1001, "when": {"has": "email"}}]},
         "event has nothing to say beside score", "remove it"),
        ({"compute": None, "event": None, "score": [{"points": 1001, "when": {"has": "email"}}]},
         "points is 1001", "write a number from -1000 to 1000"),
        ({"compute": None, "event": None, "score": [{"points": 1, "when": {"hass": "email"}}]},
         "'hass' is not known in a condition", "did you mean has?"),
    ],
)  # fmt: skip
def test_a_bad_trait_is_refused(change: dict[str, Any], problem: str, suggestion: str | None) -> None:
    written = {key: value for key, value in (COUNT | change).items() if value is not None}
    with pytest.raises(DefinitionError) as caught:
        definition_from_json(written)
    assert caught.value.problem == problem
    assert caught.value.suggestion == (suggestion or caught.value.suggestion)


def test_a_definition_survives_its_json_form() -> None:
    for example in [*TRAIT_EXAMPLES.values(), SCORE_EXAMPLE]:
        (definition,) = parse_definitions(example)
        assert definition_from_json(definition.with_version(3).to_json()) == definition.with_version(3)


def definitions_of(text: str) -> dict[str, Any]:
    return {one.id: one for one in parse_definitions(text)}


def test_a_trait_that_would_be_made_of_itself_is_refused_where_it_says_so() -> None:
    text = """
trait: a
score: [{points: 1, when: {segment: s}}]
---
id: s
where:
  all: [{has: email}, {trait: b, gte: 1}]
---
trait: b
score: [{points: 1, when: {trait: a, gte: 1}}]
"""
    found = definitions_of(text)
    with pytest.raises(DefinitionError) as caught:
        check_references({}, found.values())
    assert str(caught.value) == (
        "line 3, column 37: trait a would be computed from itself (trait:a → s → trait:b → trait:a), "
        "write the conditions out in one of them"
    )
    # Where it stands on the topic all the same, the names stand for what producers send.
    catalogue = Catalogue(found.values())
    assert catalogue.segments["s"].evaluate(folded({"b": 3}), ("email",), START_MS)[0]


def folded(traits: dict[str, Any]) -> Any:
    from pipeline.core.facet import Facet

    facet = Facet()
    facet.traits = {name: [value, 1] for name, value in traits.items()}
    return facet


def test_an_unknown_segment_in_a_score_is_refused_and_users_of_a_trait_are_known() -> None:
    (score,) = parse_definitions("trait: a\nscore:\n  - {points: 1, when: {segment: in-madird}}")
    madrid = parse_definitions("id: in-madrid\nwhere: {trait: city, is: Madrid}")[0]
    with pytest.raises(DefinitionError, match="line 3, column 33: there is no segment 'in-madird', did you"):
        check_references({madrid.id: madrid}, [score])
    found = definitions_of(
        "trait: city\ncompute: count\nevent: moved\n---\nid: x\nwhere: {segment: in-madrid}"
    )
    assert users_of(["trait:city"], {madrid.id: madrid, **found}) == {"in-madrid", "x"}


def test_apply_says_where_only_the_newest_events_count() -> None:
    noted = {}
    for kind, text in TRAIT_EXAMPLES.items():
        catalogue = Catalogue(parse_definitions(text))
        noted[kind] = [note for one in catalogue.segments.values() for note in notes_of(one, {}, 30 * DAY_MS)]
    assert {kind for kind, notes in noted.items() if not notes} == {
        "sum",
        "avg",
        "max",
        "first",
        "last",
        "recency",
    }
    (note,) = noted[Computation.COUNT]
    assert note.startswith("count: order_completed within 30d: looks at the newest 200 such events")
    assert note.endswith("and is at most that")


def test_nobody_pays_for_computed_traits_that_ask_about_other_events() -> None:
    (definition,) = parse_definitions(TRAIT_EXAMPLES[Computation.COUNT])
    assert [one.event for atom in atoms(definition.where) for one in asked_by(atom)] == ["order_completed"]
    assert isinstance(definition.where, Computed)
    catalogue = Catalogue([definition])
    assert set(catalogue.by_event) == {"order_completed"}


# -- the churn example --------------------------------------------------------------------------------------


def touch(number: int, kind: str, at_ms: int, properties: str = "{}", **more: Any) -> Touch:
    return Touch(f"e{number}", "web", kind, at_ms, ["email:ana@example.com"], properties=properties, **more)


def test_the_churn_example_lets_a_valuable_customer_in_at_the_millisecond_and_out_with_the_next_visit() -> (
    None
):
    definitions = parse_definitions((DOCS / "examples" / "churn-risk.yaml").read_text("utf-8"))
    check_references({}, definitions)
    cluster = Cluster(policy_of(anonymous_retention="400d"), definitions, start_ms=START_MS, chaos=CALM)
    ordered_ms = START_MS
    for at, (kind, properties) in enumerate(
        [("order_completed", '{"total": 80}'), ("product_viewed", '{"category": "hats"}'),
         ("order_completed", '{"total": 100}'), ("page_viewed", "{}")]
    ):  # fmt: skip
        cluster.accept(touch(at, kind, ordered_ms + at, properties, consent={"marketing": True}))
    last_ms = ordered_ms + 2
    cluster.settle()
    assert profiles_of(cluster)[0]["traits"] == {
        "churn_risk": 0, "days_since_order": 0, "favourite_category": "hats", "lifetime_value": 180,
        "orders_180d": 2, "rfm": 7, "spent_180d": 180, "visits_30d": 1,
    }  # fmt: skip
    cluster.advance(last_ms + 45 * DAY_MS - 1)
    assert profiles_of(cluster)[0]["traits"]["churn_risk"] == 25
    assert not changes_of(cluster)
    cluster.advance(last_ms + 50 * DAY_MS)
    visit_ms = last_ms + 50 * DAY_MS
    cluster.accept(touch(9, "page_viewed", visit_ms))
    cluster.settle()
    told = [(one.segment_id, one.change, one.occurred_at) for one in changes_of(cluster)]
    assert told == [
        ("churn-risk-high", "entered", last_ms + 45 * DAY_MS),
        ("churn-risk-high-silent", "entered", last_ms + 45 * DAY_MS),
        ("churn-risk-high", "exited", visit_ms),
        ("churn-risk-high-silent", "exited", visit_ms),
    ]
    assert isinstance(changes_of(cluster)[2], MembershipChange)
    assert changes_of(cluster)[2].event_ids[0] == "e9"
    check_outputs(cluster)


def test_why_shows_a_score_with_its_rules_and_what_would_change_it() -> None:
    definitions = {
        one.id: one for one in parse_definitions((DOCS / "examples/churn-risk.yaml").read_text("utf-8"))
    }
    catalogue = Catalogue(definitions.values())
    cluster = Cluster(policy_of(), definitions.values(), start_ms=START_MS, chaos=CALM)
    cluster.accept(touch(1, "order_completed", START_MS, '{"total": 180}', consent={"marketing": True}))
    cluster.settle()
    (component,) = cluster.partitions[0].components()
    fold = cluster.partitions[0].outputs.profiles(component)[0].fold
    why = explain_segment(
        definitions["churn-risk-high"],
        fold,
        ["email:ana@example.com"],
        START_MS + 46 * DAY_MS,
        definitions,
        {"email:ana@example.com": fold},
    )
    assert why.inside
    risk, value = why.where.conditions
    assert dict(risk.found) == {"value": 55, "computed": "score of 5 rules", "points": [30, 20, 25, 15, 10]}
    assert [one.holds for one in risk.conditions] == [True, False, True, False, False]
    assert [dict(one.found)["value"] for one in risk.conditions[:3]] == [46, 46, 0]
    assert dict(value.found)["value"] == 180
    assert risk.conditions[0].identifiers == value.identifiers == ("email:ana@example.com",)
    assert risk.conditions[3].identifiers == ()
    assert why.to_json()["would_change"] == ["consent marketing: would have to end"]
    assert risk.conditions[0].events == ((START_MS, "e1"),)
    assert (
        catalogue.segments["churn-risk-high"].evaluate(fold, ("email",), START_MS)[1]
        == START_MS + 45 * DAY_MS
    )
