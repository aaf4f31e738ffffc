"""Decisions as a set: united in any order, and which of them count, the strongest first."""

from __future__ import annotations

from itertools import permutations

import pytest

from pipeline.core.decisions import Action, Decision, decision_of, in_force, names, united_rows

A, B, C = "user_id:a", "user_id:b", "user_id:c"


def made(name: str, action: Action, at_ms: int, *identifiers: str, kept: tuple[str, ...] = ()) -> Decision:
    source = "crm" if name.startswith("source:crm") else "erp" if name.startswith("source:erp") else ""
    return Decision(name, action, at_ms, source, identifiers, kept, "maria", "a test")


def counting(*decisions: Decision) -> list[tuple[str, tuple[str, ...]]]:
    rows = {one.name: one.row() for one in decisions}
    return [(one.id, one.identifiers) for one in in_force(rows)]


def test_a_decision_is_read_as_it_was_kept() -> None:
    one = made("source:crm:e", Action.PART, 7, B, kept=(A,))
    assert decision_of(one.name, one.row()) == one


def test_of_two_with_one_name_the_same_counts_in_any_order() -> None:
    claims = [made("decision:d", Action.MERGE, at_ms, A, B).row() for at_ms in (3, 1, 2)]
    claims.append(made("decision:d", Action.SPLIT, 0, C).row())
    for order in permutations(claims):
        rows = {}
        for row in order:
            rows = united_rows(rows, {"decision:d": row})
        assert rows == {"decision:d": claims[1]}


def test_stewards_come_before_sources_and_the_newest_first() -> None:
    assert counting(
        made("source:crm:e", Action.MERGE, 99, A, B),
        made("decision:d1", Action.MERGE, 5, A, B),
        made("decision:d2", Action.SPLIT, 5, A),
        made("decision:d3", Action.SPLIT, 6, B),
    ) == [("d3", (B,)), ("d2", (A,)), ("d1", (A, B)), ("crm:e", (A, B))]


@pytest.mark.parametrize(
    ("undone", "left"), [("undo:d", ["crm:e"]), ("undo:crm:e", ["d"]), ("undo:x", ["d", "crm:e"])]
)
def test_what_is_undone_does_not_count(undone: str, left: list[str]) -> None:
    rows = [
        made("decision:d", Action.MERGE, 1, A, B),
        made("source:crm:e", Action.MERGE, 1, A, B),
        made(undone, Action.UNDO, 0),
    ]
    assert [name for name, _ in counting(*rows)] == left


def test_a_parting_takes_out_of_the_earlier_merges_of_its_source_only() -> None:
    assert counting(
        made("source:crm:1", Action.MERGE, 1, A, B, C),
        made("source:crm:2", Action.PART, 2, B, kept=(A,)),
        made("source:crm:3", Action.MERGE, 3, A, B),
        made("source:erp:1", Action.MERGE, 1, A, B),
        made("source:crm:4", Action.PART, 9, C, kept=("user_id:x",)),
    ) == [("crm:3", (A, B)), ("erp:1", (A, B)), ("crm:1", (A, C))]


def test_only_decisions_in_force_name_somebody() -> None:
    rows = {"decision:d": made("decision:d", Action.MERGE, 1, A, B).row()}
    assert (names(rows, A), names(rows, C)) == (True, False)
    assert not names({**rows, "undo:d": made("undo:d", Action.UNDO, 2).row()}, A)
