"""When everything is consumed, judged from offsets and the notes beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.cli.idle import Behind, Offsets, judge, open_transactions

NOW_MS = 1_000_000
TOUCHES = ("elo.touches", 0)
WEB = ("touchpoints.web", 1)


def look(
    committed: Mapping[tuple[str, int], int],
    ends: Mapping[tuple[str, int], int],
    note: Mapping[str, Any] | None = None,
    starts: Mapping[tuple[str, int], int] | None = None,
) -> Offsets:
    return Offsets(committed, {TOUCHES: note} if note is not None else {}, starts or {}, ends)


@pytest.mark.parametrize(
    "offsets",
    [
        pytest.param(look({}, {WEB: 0}), id="nothing was ever sent"),
        pytest.param(look({WEB: 5}, {WEB: 5}), id="committed up to the end"),
        pytest.param(look({}, {WEB: 7}, starts={WEB: 7}), id="all that was sent has expired"),
        pytest.param(look({WEB: 3}, {WEB: 7}, starts={WEB: 7}), id="what was not read has expired"),
        pytest.param(look({TOUCHES: 5}, {TOUCHES: 5}, {"due": None, "open": 0}), id="nothing armed"),
        pytest.param(look({TOUCHES: 5}, {TOUCHES: 5}, {"due": NOW_MS + 1}), id="due later"),
        pytest.param(look({TOUCHES: 5}, {TOUCHES: 5}, {"defs": 4}), id="definitions applied"),
        pytest.param(look({TOUCHES: 5}, {TOUCHES: 5}, {"due": "?", "open": None}), id="a note of others"),
    ],
)
def test_nothing_is_behind_when(offsets: Offsets) -> None:
    assert judge(offsets, (), 4, NOW_MS) == ()


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (look({WEB: 3}, {WEB: 5}), Behind(*WEB, "records", 2)),
        (look({}, {WEB: 5}), Behind(*WEB, "records", 5)),
        (look({}, {WEB: 9}, starts={WEB: 7}), Behind(*WEB, "records", 2)),
        (look({TOUCHES: 5}, {TOUCHES: 5}, {"due": NOW_MS}), Behind(*TOUCHES, "timer", NOW_MS)),
        (look({TOUCHES: 5}, {TOUCHES: 5}, {"open": 2}), Behind(*TOUCHES, "open", 2)),
        (look({TOUCHES: 5}, {TOUCHES: 5}, {"defs": 1}), Behind(*TOUCHES, "definitions", 3)),
    ],
)
def test_what_is_behind_is_named_with_its_amount(offsets: Offsets, expected: Behind) -> None:
    assert judge(offsets, (), 4, NOW_MS) == (expected,)


def test_a_partition_that_lags_by_transaction_markers_only_is_consumed() -> None:
    assert judge(look({WEB: 3}, {WEB: 5}), [WEB], 0, NOW_MS) == ()


def test_an_end_above_the_last_stable_offset_is_an_open_transaction() -> None:
    assert open_transactions({WEB: 3, TOUCHES: 4}, {WEB: 3, TOUCHES: 5}) == (Behind(*TOUCHES, "transaction"),)


@pytest.mark.parametrize(
    ("behind", "sentence", "document"),
    [
        (Behind(*WEB, "records", 1), "touchpoints.web[1] by 1 record", {"records": 1}),
        (Behind(*WEB, "records", 2), "touchpoints.web[1] by 2 records", {"records": 2}),
        (Behind(*WEB, "timer", 90), "touchpoints.web[1] with a timer due 10 ms ago", {"due_ms": 90}),
        (Behind(*WEB, "open", 3), "touchpoints.web[1] with 3 open, their outputs to come", {"open": 3}),
        (Behind(*WEB, "definitions", 1), "touchpoints.web[1] by 1 segment definition", {"definitions": 1}),
        (Behind(*WEB, "transaction"), "touchpoints.web[1] with an open transaction", {"transaction": True}),
    ],
)
def test_each_kind_has_a_sentence_and_a_document(
    behind: Behind, sentence: str, document: dict[str, object]
) -> None:
    assert behind.sentence(100) == sentence
    assert behind.to_json() == {"topic": "touchpoints.web", "partition": 1, **document}
