"""docs/reference/segments.md tells the truth: its examples are read, its errors are the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.core.segments.definition import Operator
from pipeline.core.segments.document import DefinitionError
from pipeline.core.segments.parse import parse_definitions

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "segments.md").read_text(encoding="utf-8")
REFUSED = re.findall(r"^\| `(\{.+?\})` \| `(line 3, .+?)` \|$", PAGE, re.MULTILINE)


def test_every_example_is_a_definition() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert [parse_definitions(example)[0].id for example in examples] == [
        "madrid-running-no-purchase",
        "big-spenders-at-risk",
        "spent-much-lately",
        "looked-then-bought",
        "win-back",
        "madrid-vip",
        "birthday-or-renewal",
    ]


@pytest.mark.parametrize(("written", "message"), REFUSED)
def test_every_error_on_the_page_is_the_one_that_is_given(written: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_definitions(f"id: x\nwhere:\n  {written}\n")
    assert str(caught.value) == message


def test_every_operator_has_its_row() -> None:
    assert len(REFUSED) == 10
    rows = re.findall(r"^\| ((?:`\w+` ?)+)\|[^|]*\|[^|]*\|[^|]*\|$", PAGE, re.MULTILINE)
    assert sorted(" ".join(rows).replace("`", "").split()) == sorted(Operator)
