"""docs/reference/identity.md tells the truth: its example is read, its errors are the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.core.policy import NORMALISERS, parse_policy, read_policy
from pipeline.core.segments.document import DefinitionError

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "identity.md").read_text(encoding="utf-8")
REFUSED = re.findall(r"^\| `(\{.+?\})` \| `(line 3, .+?)` \|$", PAGE, re.MULTILINE)


def test_the_example_is_a_policy_that_uses_every_rule() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    policy = read_policy(example)
    assert policy.sliding_types == {"phone"}
    assert policy.unique_types == {"loyalty_card"}
    assert policy.apart_traits == ("cpf", "birth_date")
    assert policy.namespaces == {"crm": {"user_id": "crm.user_id"}}
    assert policy.blocked_patterns


@pytest.mark.parametrize(("written", "message"), REFUSED)
def test_every_error_on_the_page_is_the_one_that_is_given(written: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_policy(f"identifiers:\n  user_id: {{limit: 1}}\n  email: {written}\n")
    assert str(caught.value) == message


def test_every_setting_has_its_section_or_its_row_with_the_default_that_holds() -> None:
    assert len(REFUSED) == 6
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]+\|$", PAGE, re.MULTILINE))
    written = {name: int(value) if value.isdigit() else value for name, value in rows.items()}
    assert parse_policy({"identifiers": {"a": {}}} | written) == parse_policy({"identifiers": {"a": {}}})
    sections = set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) - {"Errors", "Decisions"}
    with pytest.raises(DefinitionError) as caught:
        parse_policy({"?": 1})
    known = set(caught.value.suggestion.removeprefix("write one of ").split(", "))
    assert known - set(rows) == (sections & known) | {"identifiers"}
    assert sections - known == {"limit", "on_conflict", "unique", "shared_after"}
    assert all(f"`{name}`" in PAGE for name in NORMALISERS if name != "text")
