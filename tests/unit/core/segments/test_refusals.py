"""Everything that is refused in a definition: line, column, what is wrong, what to write instead."""

from __future__ import annotations

import pytest

from pipeline.core.segments.document import DefinitionError
from pipeline.core.segments.parse import HEADS, parse_definitions

BODY = "id: x\nwhere:\n  "  # what follows stands in line 3 from column 3


def refusal(text: str) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        parse_definitions(text)
    return caught.value


@pytest.mark.parametrize(
    ("condition", "column", "problem", "suggestion"),
    [
        ("{trait: city, iss: Madrid}", 17, "'iss' is not known in a trait condition", "did you mean is?"),
        (
            "{trait: city, equals: Madrid}",
            17,
            "'equals' is not known in a trait condition",
            "did you mean is?",
        ),
        ("{event: a, withn: 7d}", 14, "'withn' is not known in an event condition", "did you mean within?"),
        ("{event: a, count: 3}", 14, "'count' is not known in an event condition", "did you mean at_least?"),
        (
            "{trait: city, is: Madrid, within: 7d}",
            29,
            "'within' is not known in a trait condition",
            "within belongs to an event condition",
        ),
        ("{and: [{has: email}]}", 4, "'and' is not known in a condition", "did you mean all?"),
        ("{evnt: a}", 4, "'evnt' is not known in a condition", "did you mean event?"),
        (
            "{event: a, gt: 10}",
            14,
            "'gt' is not known in an event condition",
            "write where: {price: {gt: ...}}",
        ),
        ("{is: Madrid}", 4, "'is' is not known in a condition", "write {trait: city, is: ...}"),
        ("{within: 7d}", 4, "'within' is not known in a condition", "within belongs to an event condition"),
        (
            "{zzz: 7d}",
            4,
            "'zzz' is not known in a condition",
            f"write one of {', '.join(HEADS)}",
        ),
        (
            "{trait: city, event: a}",
            17,
            "trait and event stand in one condition",
            "write all: [{trait: ...}, {event: ...}]",
        ),
        ("[{has: email}]", 3, "a condition is a mapping, not a list", "write all: in front of the list"),
        ("email", 3, "a condition is a mapping, not a text", "write for example {trait: city, is: Madrid}"),
        ("{}", 3, "a condition is empty", "write for example {trait: city, is: Madrid}"),
        (
            "{all: []}",
            9,
            "all is an empty list",
            "write for example all: [{trait: city, is: Madrid}, {has: email}]",
        ),
        (
            "{none: {has: email}}",
            10,
            "none is a list, not a mapping",
            "write for example none: [{event: order_completed, within: 7d}]",
        ),
        ("{all: [{has: email}], any: [{has: email}]}", 25, "all and any stand in one condition", None),
        ("{all: [{has: email}], within: 7d}", 25, "'within' is not known in a condition with all", None),
        (
            "{event: a, at_least: 1, exactly: 2}",
            27,
            "at_least and exactly stand in one condition",
            "write two event conditions under all",
        ),
        ("{event: a, at_least: 0}", 24, "at_least is 0", "write a number from 1 to 1000"),
        ("{event: a, at_most: 1001}", 23, "at_most is 1001", "write a number from 0 to 1000"),
        ("{event: a, exactly: -1}", 23, "exactly is -1", "write a number from 0 to 1000"),
        (
            "{event: a, at_least: true}",
            24,
            "at_least is a whole number, not true or false",
            "write for example at_least: 1",
        ),
        ("{event: a, at_least: 1.5}", 24, "at_least is a whole number, not 1.5", None),
        ("{event: a, at_least: '2'}", 24, "at_least is a whole number, not a text", None),
        ("{event: a, within: 7 days}", 22, "'7 days' is not a duration", "did you mean 7d?"),
        ("{event: a, within: 90 Minutes}", 22, "'90 Minutes' is not a duration", "did you mean 90m?"),
        ("{event: a, within: 7 secs}", 22, "'7 secs' is not a duration", "did you mean 7s?"),
        (
            "{event: a, within: 7 months}",
            22,
            "'7 months' is not a duration",
            "write for example 90s, 15m, 24h or 7d",
        ),
        ("{event: a, within: 0d}", 22, "'0d' is not a duration", "write for example 90s, 15m, 24h or 7d"),
        ("{event: a, within: soon}", 22, "'soon' is not a duration", "write for example 90s, 15m, 24h or 7d"),
        (
            "{event: a, within: 90}",
            22,
            "within is a duration, not a number",
            "write for example 90s, 15m, 24h or 7d",
        ),
        ("{event: a, within: 401d}", 22, "the window 401d is too long", "write at most 400d"),
        (
            "{event: OrderCompleted}",
            11,
            "the event 'OrderCompleted' is not in snake_case",
            "write order_completed",
        ),
        (
            "{event: Order Completed}",
            11,
            "the event 'Order Completed' is not in snake_case",
            "write order_completed",
        ),
        ("{event: '42'}", 11, "the event '42' is not in snake_case", "write product_viewed"),
        (
            "{event: 42}",
            11,
            "event is a text, not a number",
            "write for example {event: product_viewed, within: 7d} in quotes",
        ),
        (
            "{event: a, where: {}}",
            21,
            "where is empty",
            "write for example where: {category: running shoes, price: {gt: 10}}",
        ),
        ("{event: a, where: []}", 21, "where is a mapping, not a list", None),
        (
            "{event: a, where: {gt: 10}}",
            22,
            "gt is an operator, and where wants the property in front of it",
            "write where: {price: {gt: ...}}",
        ),
        (
            "{event: a, where: {size: [a, b]}}",
            28,
            "the property size has a list",
            "write {size: {in: [...]}}",
        ),
        ("{event: a, where: {price: {gtt: 1}}}", 30, "'gtt' is not an operator", "did you mean gt?"),
        ("{event: a, where: {price: {'>=': 1}}}", 30, "'>=' is not an operator", "did you mean gte?"),
        ("{event: a, where: {price: {}}}", 29, "the property price is empty", None),
        (
            "{event: a, where: {price: null}}",
            29,
            "is wants a value, not nothing",
            "write exists: false to mean a missing value",
        ),
        (
            "{trait: city}",
            11,
            "the condition on city has no operator",
            "write {trait: city, exists: true}",
        ),
        ("{trait: '', exists: true}", 11, "trait is empty or has spaces around it", None),
        ("{trait: city, is: [a]}", 21, "is wants one value, not a list", "write in: [...]"),
        ("{trait: city, contains: [a]}", 27, "contains wants one value, not a list", None),
        (
            "{trait: city, contains: ''}",
            27,
            "every text contains the empty one",
            "write at least one character",
        ),
        ("{trait: city, in: []}", 21, "in is an empty list", "write for example in: [Madrid, Lisbon]"),
        (
            "{trait: city, in: Madrid}",
            21,
            "in is a list, not a text",
            "write for example in: [Madrid, Lisbon]",
        ),
        ("{trait: city, in: [a, [b]]}", 25, "in wants one value, not a list", None),
        (
            "{trait: city, exists: yes}",
            25,
            "exists is true or false, not a text",
            "write exists: true or exists: false",
        ),
        ("{trait: age, gt: '18'}", 20, "gt wants a number, not a text", "write gt: 18 without quotes"),
        ("{trait: age, gt: 2026-01-31}", 20, "gt wants a number, not a text", "write after for dates"),
        ("{trait: age, lte: true}", 21, "lte wants a number, not true or false", "write for example lte: 10"),
        (
            "{trait: age, gt: .nan}",
            20,
            "NaN and infinity are not values",
            "write a number, or put it in quotes",
        ),
        (
            "{trait: age, is: NaN}",
            20,
            "NaN and infinity are not values",
            "write a number, or put it in quotes",
        ),
        ("{trait: age, lt: -.inf}", 20, "NaN and infinity are not values", None),
        ("{trait: age, lt: 1e999}", 20, "NaN and infinity are not values", None),
        (
            "{trait: id, is: 99999999999999999999}",
            19,
            "the number has more than 64 bits",
            "put it in quotes to mean a text",
        ),
        ("{trait: id, is: 9300000000000000000}", 19, "the number has more than 64 bits", None),
        (
            "{trait: born, before: 31/01/2026}",
            25,
            "before wants a date or an instant",
            "write for example 2026-01-31, 2026-01-31T12:00:00Z or milliseconds since 1970",
        ),
        ("{trait: born, after: 2026-02-30}", 24, "after wants a date or an instant", None),
        (
            "{trait: zip, matches: '280['}",
            25,
            "the pattern is not a regular expression (unterminated character set at its character 4)",
            "put \\ before a character that stands for itself",
        ),
        (
            "{trait: zip, matches: (a+)+$}",
            25,
            "the pattern has a repeat or an alternative inside a repeat",
            None,
        ),
        ("{trait: zip, matches: 28}", 25, "matches wants a regular expression, not a number", None),
        ("{has: e-mail}", 9, "'e-mail' is not an identifier type", "write lower-case letters, digits and _"),
        (
            "{has: [email]}",
            9,
            "has is a text, not a list",
            "write for example {has: email}",
        ),
        ("{consent: true}", 13, "consent is a text, not true or false", None),
        ("{trait: city, trait: city}", 17, "'trait' stands here twice, first in line 3", "remove one"),
        ("{<<: {trait: city}}", 4, "'<<' is not known in a condition", None),
        ("{1: a}", 4, "a key is a text", "put it in quotes"),
        ("{[a]: b}", 4, "a key is a text", "put it in quotes"),
        ("{trait: !secret city, is: a}", 11, "the tag !secret is not read", "remove it"),
        ("{trait: city, is: !!bool maybe}", 21, "'maybe' is not true or false", "write true or false"),
        ("{trait: city, is: !!int maybe}", 21, "'maybe' is not a number", "write for example 10 or 0.5"),
        ("{all: [&one {has: email}, *one]}", 29, "aliases are not read", "write the value out"),
        ("{all: &all [*all]}", 15, "aliases are not read", "write the value out"),
        (
            '{trait: city, is: "\\ud800"}',
            21,
            "half of a surrogate pair is not a character",
            "write the whole character",
        ),
        (
            "{sequence: [{event: a}], within: 7d}",
            14,
            "a sequence has 2 to 10 steps",
            "write for example {sequence: [{event: product_viewed}, {event: order_completed}], within: 7d}",
        ),
        ("{sequence: [{event: a}, {event: b}]}", 14, "within is missing", None),
        ("{sequence: [{event: a}, {evnt: b}], within: 1d}", 28, "a step has no event", None),
        (
            "{sequence: [{event: a}, {event: b, within: 1d}], within: 1d}",
            38,
            "'within' is not known in a step of a sequence",
            "within belongs to an event condition",
        ),
        ("{sequence: [{event: a}, b], within: 1d}", 27, "a step is a mapping, not a text", None),
        ("{first_time: OrderCompleted}", 16, "the event 'OrderCompleted' is not in snake_case", None),
        ("{first_time: a, at_least: 2}", 19, "'at_least' is not known in a condition with first_time", None),
        (
            "{not_since: order_completed}",
            15,
            "not_since is a mapping, not a text",
            "write for example {not_since: {event: order_completed, for: 30d}}",
        ),
        ("{not_since: {event: a}, for: 30d}", 27, "'for' is not known beside not_since", None),
        ("{not_since: {event: a, within: 30d}}", 26, "'within' is not known in not_since", None),
        ("{not_since: {for: 30d}}", 15, "not_since has no event", None),
        ("{not_since: {event: a, for: 30 days}}", 31, "'30 days' is not a duration", "did you mean 30d?"),
        ("{segment: Other}", 13, "the id 'Other' is not in kebab-case", "write other"),
        ("{segment: other, is: true}", 20, "'is' is not known in a condition with segment", None),
        (
            "{event: a, sum: total}",
            19,
            "the sum of total is compared to nothing",
            "write sum: total, gte: 100",
        ),
        (
            "{event: a, avg: total, gt: '10'}",
            30,
            "gt wants a number, not a text",
            "write gt: 10 without quotes",
        ),
        ("{event: a, avg: total, is: 10}", 26, "'is' is not known in an event with avg", None),
        ("{event: a, sum: total, at_least: 10}", 26, "sum and at_least stand in one condition", None),
        ("{event: a, sum: total, max: total, gt: 1}", 26, "sum and max stand in one condition", None),
        (
            "{event: a, average: total, gt: 1}",
            14,
            "'average' is not known in an event condition",
            "did you mean avg?",
        ),
        ("{trait: born, on: monday}", 21, "on is one of yesterday, today, tomorrow", "write on: today"),
        ("{trait: born, within_next: 30}", 30, "within_next is a duration, not a number", None),
        ("{trait: born, within_last: 500d}", 30, "the window 500d is too long", "write at most 400d"),
        (
            "{trait: born, on: today, is: a}",
            28,
            "on and is stand in one condition",
            "write two trait conditions under all",
        ),
        ("{trait: born, on: today, timezone: Madrid}", 38, "'Madrid' is not a time zone", None),
        (
            "{trait: born, on: today, timezone: ../x}",
            38,
            "'../x' is not a time zone",
            "write for example Europe/Madrid",
        ),
        ("{trait: born, is: a, timezone: UTC}", 24, "timezone has nothing to say here", None),
    ],
)
def test_a_bad_condition_is_refused_where_it_stands(
    condition: str, column: int, problem: str, suggestion: str | None
) -> None:
    error = refusal(BODY + condition)
    assert (error.line, error.column, error.problem) == (3, column, problem)
    assert error.suggestion == (suggestion or error.suggestion)
    assert str(error) == f"line 3, column {column}: {problem}, {error.suggestion}"


@pytest.mark.parametrize(
    ("text", "line", "column", "problem", "suggestion"),
    [
        ("", 1, 1, "there is no definition here", "write id, name and where"),
        ("# nothing\n---\n", 1, 1, "there is no definition here", None),
        ("[]", 1, 1, "there is no definition here", None),
        ("id: x\n", 1, 1, "where is missing", "write for example where: {trait: city, is: Madrid}"),
        ("\nwhere: {has: email}\n", 2, 1, "id is missing", "write for example id: madrid-buyers"),
        ("just text", 1, 1, "a definition is a mapping, not a text", None),
        ("id: My Buyers\nwhere: {}", 1, 5, "the id 'My Buyers' is not in kebab-case", "write my-buyers"),
        ("id: a--b\nwhere: {has: email}", 1, 5, "the id 'a--b' is not in kebab-case", "write a-b"),
        ("id: São João\nwhere: {}", 1, 5, "the id 'São João' is not in kebab-case", "write sao-joao"),
        ("id: 7\nwhere: {}", 1, 5, "id is a text, not a number", "write for example madrid-buyers in quotes"),
        ("id: x\nid: y\nwhere: {has: email}", 2, 1, "'id' stands here twice, first in line 1", "remove one"),
        ("id: x\nnmae: y\nwhere: {}", 2, 1, "'nmae' is not known in a definition", "did you mean name?"),
        ("id: x\nrules: {has: email}", 2, 1, "'rules' is not known in a definition", "did you mean where?"),
        ("id: x\nversion: 2\nwhere: {has: email}", 2, 1, "version is counted when applying", "remove it"),
        ("id: x\nname:\nwhere: {has: email}", 2, 6, "name is a text, not nothing", None),
        ("id: x\npurpose: [a]\nwhere: {has: email}", 2, 10, "purpose is a text, not a list", None),
        ("id: x\nwhere: {has: email", 2, 19, "not YAML (expected ',' or '}', but got '<stream end>')", None),
        ("id: x\n\twhere: a", 2, 1, "not YAML (found character '\\t' that cannot start any token)", None),
        ("id: x: y", 1, 6, "not YAML (mapping values are not allowed here)", None),
        ("id: x\nname: a\x00b", 2, 8, "this character is not allowed in YAML", None),
        (
            "id: x\nwhere: {has: email}\n---\nid: x\nwhere: {has: phone}",
            4,
            5,
            "the id x stands here twice",
            "give each segment its own id",
        ),
        ("- {id: a, where: {has: email}}\n- {id: b}", 2, 3, "where is missing", None),
        ("id: x\r\nwhere: {hass: email}", 2, 9, "'hass' is not known in a condition", None),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_as_a_whole_with_line_and_column(
    text: str, line: int, column: int, problem: str, suggestion: str | None
) -> None:
    error = refusal(text)
    assert (error.line, error.column, error.problem) == (line, column, problem)
    assert error.suggestion == (suggestion or error.suggestion)
