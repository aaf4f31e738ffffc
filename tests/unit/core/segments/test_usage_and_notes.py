"""Who uses what, where an answer is not exact, and numbers that are estimated from a sample."""

from __future__ import annotations

from typing import Any

from pipeline.core.segments.definition import Definition
from pipeline.core.segments.notes import notes_on
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.segments.usage import usage_of

DAY_MS = 86_400_000
HISTORY_MS = 30 * DAY_MS


def definition(name: str, where: dict[str, Any], **more: Any) -> Definition:
    return definition_from_json({"id": name, "where": where, **more})


def test_everything_that_a_condition_names_is_found_with_those_who_use_it() -> None:
    found = usage_of([
        definition("b", {"all": [{"trait": "city", "is": "Madrid"}, {"event": "viewed", "within": "1d"}]}),
        definition("a", {"sequence": [{"event": "viewed"}, {"event": "bought"}], "within": "1d"}),
        definition("c", {"any": [{"segment": "a"}, {"has": "email"}, {"consent": "ads"}]}, purpose="mail"),
        definition("d", {"none": [{"trait": "born", "on": "today"}, {"first_time": "bought"}]}),
        definition("e", {"none": [{"not_since": {"event": "bought"}}]}),
    ])  # fmt: skip
    assert found == {
        "traits": {"born": ["d"], "city": ["b"]},
        "events": {"bought": ["a", "d", "e"], "viewed": ["a", "b"]},
        "segments": {"a": ["c"]},
        "purposes": {"ads": ["c"], "mail": ["c"]},
        "identifier_types": {"email": ["c"]},
    }


def notes_of(where: dict[str, Any], *before: Definition) -> list[str]:
    applied = {one.id: one for one in before}
    return notes_on(["x"], {**applied, "x": definition("x", where)}, applied, HISTORY_MS)["x"]


def test_what_reaches_further_back_than_the_history_is_said_unless_the_state_keeps_it_already() -> None:
    year = {"event": "bought", "within": "365d"}
    (said,) = notes_of(year)
    assert said.endswith("the window is longer than the history, which goes back 30d")
    assert notes_of(year, definition("y", year)) == []
    assert notes_of({"event": "bought", "within": "30d"}) == []
    (said,) = notes_of({"event": "bought", "where": {"total": 1}})
    assert said.endswith("counted from the history only, which goes back 30d")
    assert notes_of({"event": "bought"}) == []  # Counted for ever, whoever asks.
    (said,) = notes_of({"first_time": "bought", "where": {"total": 1}, "within": "1d"})
    assert said.endswith("counted from the history only, which goes back 30d")


def test_bounds_on_what_is_looked_at_are_said() -> None:
    (said,) = notes_of({"event": "bought", "within": "1d", "avg": "total", "gt": 1})
    assert said.endswith("of the newest 200 such events of a person")
    steps = [{"event": "viewed", "where": {"name": {"matches": "^a"}}}, {"event": "bought"}]
    newest, matched = notes_of({"sequence": steps, "within": "1d"})
    assert newest.endswith("each step looks at the newest 200 such events of a person")
    assert matched.endswith("matches looks at the first 1,024 characters of a text")
