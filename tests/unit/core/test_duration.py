"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.duration import UNITS_MS, format_duration, parse_duration_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", 250), ("90s", 90_000), ("15m", 900_000), ("24h", 86_400_000), ("7d", 604_800_000),
        ("2w", 1_209_600_000), (" 1s ", 1_000), ("1m", 60_000), ("007d", 604_800_000),
    ],
)  # fmt: skip
def test_a_duration_is_milliseconds(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "d",
        "0d",
        "00s",
        "-1d",
        "1.5h",
        "7 d",
        "7D",
        "1y",
        "1d2h",
        "٣d",
        "1e3s",
        "9999999999999s",
        "7d\n7d",
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration, write for example 90s, 15m, 24h or 7d"):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (604_800_000, "7d"),
        (1_209_600_000, "14d"),
        (3_600_000, "1h"),
        (90_000, "90s"),
        (61_000, "61s"),
        (250, "250ms"),
    ],
)
def test_the_shortest_exact_form_is_written(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@given(st.integers(1, 10**9), st.sampled_from(sorted(UNITS_MS)))
def test_writing_and_reading_are_inverse(number: int, unit: str) -> None:
    ms = parse_duration_ms(f"{number}{unit}")
    assert ms == number * UNITS_MS[unit]
    assert parse_duration_ms(format_duration(ms)) == ms
