"""Which patterns are accepted, and that those take no noticeable time on the worst text."""

from __future__ import annotations

import pytest

from pipeline.core.segments.pattern import PATTERN_CHARS_MAX, pattern_fault


@pytest.mark.parametrize(
    "pattern",
    [
        "Madrid",
        "(?i)madrid|barcelona",
        "^280[0-9]{2}$",
        r"^.*@.*\.com\.br$",
        r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}",
        r"\bshoes?\b",
        "https?://.*shoes?",
        "(run|walk)ing shoes",
        "^(?:[a-z]{3}-){2}[0-9]+$",
        "(?<!no )purchase",
        r"[a-z]--\[[^]-]\[",
    ],
)
def test_patterns_that_people_write_are_accepted(pattern: str) -> None:
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(a+)+$", "the pattern has a repeat or an alternative inside a repeat"),
        ("(a|aa)+$", "the pattern has a repeat or an alternative inside a repeat"),
        ("(?:a?){30}a{30}", "the pattern has a repeat or an alternative inside a repeat"),
        ("(?=(a*)*b)", "the pattern has a repeat or an alternative inside a repeat"),
        ("a?" * 30 + "a" * 30, "the pattern has too many open repeats"),
        (".*a.*b", "the pattern has too many open repeats"),
        ("(?m)^.*a.*b", "the pattern has too many open repeats"),
        (r"(\w+) \1", "the pattern refers back to a group"),
        ("(a)?(?(1)b|c)", "the pattern refers back to a group"),
        ("[[a]", "the pattern is ambiguous"),
        ("[a-z[:digit:]]", "the pattern is ambiguous"),
        ("x[]a&&b]", "the pattern is ambiguous"),
        ("*a", "the pattern is not a regular expression (nothing to repeat at its character 1)"),
        ("a{99999999999}", "the pattern repeats too often or is nested too deep"),
        ("a" * (PATTERN_CHARS_MAX + 1), "the pattern has more than 200 characters"),
    ],
)
def test_patterns_that_could_stall_a_worker_are_refused(pattern: str, problem: str) -> None:
    fault = pattern_fault(pattern)
    assert fault is not None
    assert fault[0] == problem
