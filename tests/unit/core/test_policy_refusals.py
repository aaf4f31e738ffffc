"""Everything that is refused in an identity policy: line, column, what is wrong, what to write instead."""

from __future__ import annotations

import random

import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.policy import Policy, parse_policy, read_policy
from pipeline.core.segments.document import DefinitionError

EXAMPLE = "identifiers: {user_id: {limit: 1}, email: {limit: 5, normalise: email}}"
EMAIL = "identifiers:\n  user_id: {limit: 1}\n  email: "  # what follows stands in line 3 from column 10
TYPES = "identifiers: {user_id: {limit: 1}, email: {limit: 5}}\n"  # what follows stands in line 2
SETTINGS = (
    "version", "default_region", "history", "anonymous_retention", "link_wait", "component_identifiers_max",
    "identifiers", "blocked", "traits", "cannot_link", "namespaces",
    "matching",
)  # fmt: skip
REFUSALS: list[tuple[str, int, int, str, str]] = [
    ('', 1, 1,
     'there is no identity policy here',
     f'write {EXAMPLE}'),
    ("---\n" + TYPES + "---\n" + TYPES, 4, 1,
     'a second document begins here',
     'write one policy per file'),
    ('- identifiers', 1, 1,
     'identity policy is a mapping, not a list',
     f'write for example {EXAMPLE}'),
    ('just a text', 1, 1,
     'identity policy is a mapping, not a text',
     f'write for example {EXAMPLE}'),
    ('version: 1\n', 1, 1,
     'identifiers is missing',
     f'write {EXAMPLE}'),
    ('identifiers: {}\n', 1, 14,
     'identifiers is empty',
     f'write for example {EXAMPLE}'),
    ('identifiers: [user_id]\n', 1, 14,
     'identifiers is a mapping, not a list',
     f'write for example {EXAMPLE}'),
    ('identifiers: {user_id: {limit: 1}\n', 2, 1,
     "not YAML (expected ',' or '}', but got '<stream end>')",
     'check indentation, colons and quotes there'),
    ('identifiers:\n  user_id: {}\n  user_id: {}\n', 3, 3,
     "'user_id' stands here twice, first in line 2",
     'remove one'),
    ('identifiers:\n  User ID: {}\n', 2, 3,
     "the identifier type 'User ID' is not in snake_case",
     'write user_id'),
    ('identifiers:\n  1: {}\n', 2, 3,
     'a key is a text',
     'put it in quotes'),
    ('identifiers:\n  crm.user_id: {}\n', 2, 3,
     "'crm.user_id' is not declared under namespaces",
     'write namespaces: {crm: [user_id]} to make the type crm.user_id'),
    (EMAIL + '5', 3, 10,
     'identifiers.email is a mapping, not a number',
     'write for example email: {limit: 5}'),
    (EMAIL + '{limt: 3}', 3, 11,
     "'limt' is not known in identifiers.email",
     'did you mean limit?'),
    (EMAIL + '{max: 3}', 3, 11,
     "'max' is not known in identifiers.email",
     'did you mean limit?'),
    (EMAIL + '{limit: 0}', 3, 18,
     'identifiers.email.limit is 0',
     'write a whole number of at least 1'),
    (EMAIL + '{limit: true}', 3, 18,
     'identifiers.email.limit is a whole number or {count, within}, not true or false',
     'write for example limit: 5 or limit: {count: 3, within: 90d}'),
    (EMAIL + "{limit: '5'}", 3, 18,
     'identifiers.email.limit is a whole number or {count, within}, not a text',
     'write for example limit: 5 or limit: {count: 3, within: 90d}'),
    (EMAIL + '{limit: 2.5}', 3, 18,
     'identifiers.email.limit is a whole number or {count, within}, not a number',
     'write for example limit: 5 or limit: {count: 3, within: 90d}'),
    (EMAIL + '{limit: 99999999999}', 3, 18,
     'identifiers.email.limit is 99999999999',
     'write at most 2147483647'),
    (EMAIL + '{limit: {count: 3}}', 3, 18,
     'identifiers.email.limit has no within',
     'write for example {count: 3, within: 90d}'),
    (EMAIL + '{limit: {within: 90d}}', 3, 18,
     'identifiers.email.limit has no count',
     'write for example {count: 3, within: 90d}'),
    (EMAIL + '{limit: {count: 3, within: 90 days}}', 3, 37,
     "'90 days' is not a duration",
     'did you mean 90d?'),
    (EMAIL + '{limit: {count: 3, window: 90d}}', 3, 29,
     "'window' is not known in identifiers.email.limit",
     'did you mean within?'),
    (EMAIL + '{limit: {count: 0, within: 90d}}', 3, 26,
     'identifiers.email.limit.count is 0',
     'write a whole number of at least 1'),
    (EMAIL + '{limit: {count: three, within: 90d}}', 3, 26,
     'identifiers.email.limit.count is a whole number, not a text',
     'write for example count: 1'),
    (EMAIL + '{limit: {count: 3, within: 90}}', 3, 37,
     'identifiers.email.limit.within is a duration, not a number',
     'write for example 90s, 15m, 24h or 7d'),
    (EMAIL + '{limit: {count: 3, within: 99999d}}', 3, 37,
     'identifiers.email.limit.within is longer than a century',
     'write at most 36500d'),
    (EMAIL + '{unique: latest}', 3, 19,
     "identifiers.email.unique cannot be 'latest'",
     'did you mean newest?'),
    (EMAIL + '{unique: true}', 3, 19,
     'identifiers.email.unique is one word, not true or false',
     'write one of newest, oldest'),
    (EMAIL + '{unique: newest, on_conflict: move}', 3, 27,
     'identifiers.email is unique, so on_conflict has no effect',
     'remove on_conflict'),
    ('identifiers:\n  user_id: {unique: newest}\n', 2, 13,
     'identifiers.user_id is the strongest type, so a value has no stronger identifier to belong to',
     'write user_id below the types that it belongs to'),
    (EMAIL + '{shared_after: 0}', 3, 25,
     'identifiers.email.shared_after is 0',
     'write a whole number of at least 1'),
    (EMAIL + '{shared_after: }', 3, 24,
     'identifiers.email.shared_after is a whole number, not nothing',
     'write for example shared_after: 1'),
    (EMAIL + '{shared_after: many}', 3, 25,
     'identifiers.email.shared_after is a whole number, not a text',
     'write for example shared_after: 1'),
    (EMAIL + '{normalise: emial}', 3, 22,
     "identifiers.email.normalise cannot be 'emial'",
     'did you mean email?'),
    (EMAIL + '{normalise: 7}', 3, 22,
     'identifiers.email.normalise is one word, not a number',
     'write one of text, email, phone, cpf, nis'),
    (EMAIL + '{normalize: email}', 3, 11,
     "'normalize' is not known in identifiers.email",
     'did you mean normalise?'),
    (EMAIL + '{on_conflict: stay}', 3, 24,
     "identifiers.email.on_conflict cannot be 'stay'",
     'did you mean keep?'),
    (EMAIL + '{on_conflict: moves}', 3, 24,
     "identifiers.email.on_conflict cannot be 'moves'",
     'did you mean move?'),
    (EMAIL + '{on_conflict: [keep]}', 3, 24,
     'identifiers.email.on_conflict is one word, not a list',
     'write one of keep, move'),
    (TYPES + 'version: 0', 2, 10,
     'version is 0',
     'write a whole number of at least 1'),
    (TYPES + 'version: one', 2, 10,
     'version is a whole number, not a text',
     'write for example version: 1'),
    (TYPES + 'default_region: br', 2, 17,
     "default_region 'br' is not a two-letter country code in capitals",
     'write BR'),
    (TYPES + 'default_region: 55', 2, 17,
     'default_region is a country code, not a number',
     'write for example BR'),
    (TYPES + 'default_region: Brazil', 2, 17,
     "default_region 'Brazil' is not a two-letter country code in capitals",
     'write for example BR'),
    (TYPES + 'history: 30 days', 2, 10,
     "'30 days' is not a duration",
     'did you mean 30d?'),
    (TYPES + 'history: 0d', 2, 10,
     "'0d' is not a duration",
     'write for example 90s, 15m, 24h or 7d'),
    (TYPES + 'link_wait: 250', 2, 12,
     'link_wait is a duration, not a number',
     'write for example 90s, 15m, 24h or 7d'),
    (TYPES + 'anonymous_retention: never', 2, 22,
     "'never' is not a duration",
     'write for example 90s, 15m, 24h or 7d'),
    (TYPES + 'component_identifiers_max: 1', 2, 28,
     'component_identifiers_max is 1',
     'write a whole number of at least 2'),
    (TYPES + "blocked: ['null']", 2, 10,
     'blocked is a mapping, not a list',
     "write for example blocked: {values: ['null'], patterns: []}"),
    (TYPES + "blocked: {values: 'null'}", 2, 19,
     'blocked.values is a list, not a text',
     "write for example ['null', '0']"),
    (TYPES + 'blocked: {values: [null]}', 2, 20,
     'a blocked value is a text, not nothing',
     'put it in quotes'),
    (TYPES + 'blocked: {pattern: []}', 2, 11,
     "'pattern' is not known in blocked",
     'did you mean patterns?'),
    (TYPES + "blocked: {patterns: ['(']}", 2, 22,
     'the pattern is not a regular expression (missing ), unterminated subpattern at its character 1)',
     'put \\ before a character that stands for itself'),
    (TYPES + "blocked: {patterns: ['(a*)*b']}", 2, 22,
     'the pattern has a repeat or an alternative inside a repeat',
     'write several simpler patterns, each with ^ at its start where that is meant'),
    (TYPES + "blocked: {patterns: ['']}", 2, 22,
     'an empty pattern blocks every value',
     'remove it'),
    (TYPES + 'blocked: {patterns: [12]}', 2, 22,
     'blocked.patterns lists texts, not a number',
     "write for example patterns: ['^test-', '@example\\.com$']"),
    (TYPES + "blocked: {patterns: '^test'}", 2, 21,
     'blocked.patterns is a list, not a text',
     "write for example patterns: ['^test-', '@example\\.com$']"),
    (TYPES + 'blocked: {patterns: [a, a]}', 2, 25,
     "'a' stands twice in blocked.patterns",
     'remove one'),
    (TYPES + 'traits: {city: latest}', 2, 16,
     "traits.city cannot be 'latest'",
     'did you mean newest?'),
    (TYPES + 'traits: [city]', 2, 9,
     'traits is a mapping, not a list',
     'write for example traits: {city: newest}'),
    (TYPES + 'cannot_link: [cpf]', 2, 14,
     'cannot_link is a mapping, not a list',
     'write for example cannot_link: {traits: [cpf, birth_date]}'),
    (TYPES + 'cannot_link: {trait: [cpf]}', 2, 15,
     "'trait' is not known in cannot_link",
     'did you mean traits?'),
    (TYPES + 'cannot_link: {traits: cpf}', 2, 23,
     'cannot_link.traits is a list, not a text',
     'write for example cannot_link: {traits: [cpf, birth_date]}'),
    (TYPES + 'cannot_link: {traits: [cpf, cpf]}', 2, 29,
     "'cpf' stands twice in cannot_link.traits",
     'remove one'),
    (TYPES + 'cannot_link: {traits: [1]}', 2, 24,
     'cannot_link.traits lists texts, not a number',
     'write for example cannot_link: {traits: [cpf, birth_date]}'),
    (TYPES + "cannot_link: {traits: ['']}", 2, 24,
     'the name of a trait is empty',
     'write for example cannot_link: {traits: [cpf, birth_date]}'),
    (TYPES + 'traits: {tags: union}\ncannot_link: {traits: [tags]}', 3, 24,
     'the trait tags is a union, so one person may have several values of it',
     'remove it here, or traits.tags'),
    (TYPES + 'cannot_link:\n', 2, 13,
     'cannot_link is a mapping, not nothing',
     'write for example cannot_link: {traits: [cpf, birth_date]}'),
    (TYPES + 'namespaces: [crm]', 2, 13,
     'namespaces is a mapping, not a list',
     'write for example namespaces: {crm: [user_id]}'),
    (TYPES + 'namespaces: {CRM: [user_id]}', 2, 14,
     "the source 'CRM' is not in snake_case",
     'write it as it stands in the setting sources'),
    (TYPES + 'namespaces: {crm: user_id}', 2, 19,
     'namespaces.crm is a list, not a text',
     'write for example namespaces: {crm: [user_id]}'),
    (TYPES + 'namespaces: {crm: [user]}', 2, 20,
     "'user' is not an identifier type of this policy",
     'did you mean user_id?'),
    (TYPES + 'namespaces: {crm: [user_id, user_id]}', 2, 29,
     "'user_id' stands twice in namespaces.crm",
     'remove one'),
    (TYPES + 'namespace: {crm: [user_id]}', 2, 1,
     "'namespace' is not known in identity policy",
     'did you mean namespaces?'),
    (TYPES + 'matching: shipped', 2, 11,
     'matching is a mapping, not a text',
     'write for example matching: {model: shipped, merge_above: 10, review_above: 4}'),
    (TYPES + 'matching: {merge_above: 10}', 2, 11,
     'matching has no model',
     'write for example matching: {model: shipped, merge_above: 10, review_above: 4}'),
    (TYPES + 'matching: {model: shiped}', 2, 19,
     "matching.model cannot be 'shiped'",
     'did you mean shipped?'),
    (TYPES + 'matching: {model: shipped, merge_above: high}', 2, 41,
     'matching.merge_above is a number, not a text',
     'write for example merge_above: 10'),
    (TYPES + 'matching: {model: shipped, review_above: -1}', 2, 42,
     'matching.review_above is -1',
     'write a weight from 0 to 1000'),
    (TYPES + 'matching: {model: shipped, merge_above: 3}', 2, 11,
     'matching.review_above is 4, above merge_above 3',
     'write a smaller weight'),
    (TYPES + 'matching: {model: shipped, block_records_max: 1}', 2, 47,
     'matching.block_records_max is 1',
     'write a whole number of at least 2'),
    (TYPES + 'matching: {model: shipped, block_records_max: 5000}', 2, 47,
     'matching.block_records_max is 5000',
     'write at most 1000'),
    (TYPES + 'identifier: {}', 2, 1,
     "'identifier' is not known in identity policy",
     'did you mean identifiers?'),
    (TYPES + 'zzz: 1', 2, 1,
     "'zzz' is not known in identity policy",
     f'write one of {", ".join(SETTINGS)}'),
    (TYPES + 'retention: 90d', 2, 1,
     "'retention' is not known in identity policy",
     'did you mean history?'),
    (TYPES + 'identifiers: {}', 2, 1,
     "'identifiers' stands here twice, first in line 1",
     'remove one'),
    ('identifiers: {a: &x {limit: 1}, b: *x}', 1, 36,
     'aliases are not read',
     'write the value out'),
    ('identifiers:\n\tuser_id: {}', 2, 1,
     "not YAML (found character '\\t' that cannot start any token)",
     'check indentation, colons and quotes there'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "problem", "suggestion"),
    REFUSALS,
    ids=[f"{one[3]} ({one[0]!r})"[:90] for one in REFUSALS],
)
def test_each_mistake_is_refused_at_its_place_in_one_sentence_that_says_what_to_write(
    text: str, line: int, column: int, problem: str, suggestion: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_policy(text)
    refused = caught.value
    assert (refused.line, refused.column) == (line, column)
    assert (refused.problem, refused.suggestion) == (problem, suggestion)
    assert str(refused) == f"line {line}, column {column}: {problem}, {suggestion}"
    assert "\n" not in str(refused)
    assert isinstance(refused, ConfigError)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (None, f"identity policy: identity policy is a mapping, not nothing, write for example {EXAMPLE}"),
        ({}, f"identity policy: identifiers is missing, write {EXAMPLE}"),
        ({"identifiers": {"u": {"limit": 0}}},
         "identifiers.u.limit: identifiers.u.limit is 0, write a whole number of at least 1"),
        ({"identifiers": {"u": {}}, "tratis": {}},
         "tratis: 'tratis' is not known in identity policy, did you mean traits?"),
    ],
)  # fmt: skip
def test_a_parsed_policy_is_refused_with_a_path(document: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(document)
    assert str(caught.value) == sentence


GOOD = """\
version: 1
history: 30d
identifiers:
  user_id: {limit: 1}
  crm.user_id: {limit: {count: 3, within: 90d}, unique: newest}
  email: {limit: 5, normalise: email, on_conflict: move, shared_after: 5}
blocked: {values: ["null", 0], patterns: ["^test-"]}
traits: {city: first}
cannot_link: {traits: [birth_date]}
namespaces: {crm: [user_id, email]}
"""
PIECES = (
    *(
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        ", ",
        "\n",
        "\n  ",
        "\t",
        "#",
        "&a ",
        "*a",
        "!!str ",
        "'",
        '"',
        "~",
        ".nan",
    ),
    *("null", "1e9", "limit", "unique", "90d", "0", "-1", "crm", "(a*)*", "\x00", "\ud800", "é", "---\n"),
)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_policy_is_refused_with_its_place_or_read(seed: int) -> None:
    rng = random.Random(seed)
    assert isinstance(read_policy(GOOD), Policy)
    refusals = [one for one in (refusal(damaged(rng)) for _ in range(15)) if one is not None]
    assert refusals
    for one in refusals:
        assert min(one.line, one.column) >= 1
        assert "\n" not in str(one)


def damaged(rng: random.Random) -> str:
    text = GOOD
    for _ in range(rng.randrange(1, 4)):
        at, length = rng.randrange(len(text) + 1), rng.choice([0, 0, 1, 3, 20])
        text = text[:at] + rng.choice(PIECES) + text[at + length :]
    return text


def refusal(text: str) -> DefinitionError | None:
    try:
        read_policy(text)
    except DefinitionError as error:
        return error
    return None
