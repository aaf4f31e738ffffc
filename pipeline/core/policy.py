"""The identity policy: what `identity.yaml` may say, checked when it is read. No file is opened here.

Every refusal is one sentence that names the setting and says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from rapidfuzz import process

from .duration import parse_duration_ms
from .errors import ConfigError

IDENTIFIER_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,49}\Z")
NORMALISERS: Final = ("text", "email", "phone", "cpf", "nis")
Choice = TypeVar("Choice", bound=StrEnum)
STRONG_LIMIT: Final = 1
"""A type with limit 1 is *strong*: its values tell people apart, so they count towards `shared_after`."""


class OnConflict(StrEnum):
    """Where the lower-ranked identifier of a refused link goes."""

    KEEP = "keep"  # it stays with the profile that it was linked to first
    MOVE = "move"  # it goes to the profile that it was linked to last


class Survivorship(StrEnum):
    """Which value of a trait a profile shows when its touchpoints disagree. Decided by event time."""

    NEWEST = "newest"
    FIRST = "first"
    MOST_FREQUENT = "most_frequent"
    UNION = "union"


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """The rule of one identifier type. `rank` 0 is the strongest; `limit` counts values per profile.

    `shared_after` None: the type never becomes shared.
    """

    type: str
    rank: int
    limit: int
    normalise: str = "text"
    on_conflict: OnConflict = OnConflict.KEEP
    shared_after: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked identity policy. Durations are milliseconds."""

    version: int
    default_region: str
    history_ms: int
    anonymous_retention_ms: int
    link_wait_ms: int
    component_identifiers_max: int
    rules: dict[str, IdentifierRule]
    blocked_values: frozenset[str]
    blocked_patterns: tuple[re.Pattern[str], ...]
    traits: dict[str, Survivorship] = field(default_factory=dict)

    def rule_of(self, identifier: str) -> IdentifierRule:
        """The rule of an identifier in its `type:value` form.

        Raises KeyError for a type that is not configured.
        """
        return self.rules[identifier.partition(":")[0]]

    def order_of(self, identifier: str) -> tuple[int, str]:
        """Sort key of the total order of identifiers: the smallest is the strongest."""
        return self.rules[identifier.partition(":")[0]].rank, identifier

    def ordered(self, a: str, b: str) -> tuple[str, str]:
        """(stronger, weaker) of two different identifiers."""
        return (a, b) if self.order_of(a) < self.order_of(b) else (b, a)

    def is_blocked(self, value: str) -> bool:
        """Whether a value, trimmed, stands for nobody. Compared without case."""
        folded = value.strip().casefold()
        return folded in self.blocked_values or any(p.search(folded) for p in self.blocked_patterns)


def parse_policy(document: object) -> Policy:
    """Check the content of `identity.yaml` and return the policy.

    Raises: ConfigError with one sentence for the first thing that is wrong.
    """
    top = _Section("identity policy", document)
    rules_section = top.section("identifiers")
    if not rules_section.entries:
        raise ConfigError("identifiers: name at least one identifier type, strongest first")
    rules = {str(name): _parse_rule(str(name), rank, body)
             for rank, (name, body) in enumerate(rules_section.entries.items())}  # fmt: skip
    blocked = top.section("blocked", {})
    policy = Policy(
        version=top.integer("version", 1, at_least=1),
        default_region=top.text("default_region", "BR"),
        history_ms=top.duration("history", "30d"),
        anonymous_retention_ms=top.duration("anonymous_retention", "90d"),
        link_wait_ms=top.duration("link_wait", "250ms"),
        component_identifiers_max=top.integer("component_identifiers_max", 1000, at_least=2),
        rules=rules,
        blocked_values=frozenset(str(value).strip().casefold() for value in blocked.values("values")),
        blocked_patterns=tuple(_pattern(str(value)) for value in blocked.values("patterns")),
        traits={
            str(name): _choice(f"traits.{name}", value, Survivorship)
            for name, value in top.section("traits", {}).entries.items()
        },
    )
    blocked.refuse_others()
    top.refuse_others()
    if not re.fullmatch(r"[A-Z]{2}", policy.default_region):
        raise ConfigError("default_region: write a two-letter country code in capitals, for example BR")
    return policy


def _parse_rule(name: str, rank: int, body: object) -> IdentifierRule:
    where = f"identifiers.{name}"
    if not IDENTIFIER_TYPE.match(name):
        raise ConfigError(
            f"{where}: an identifier type is lower-case letters, digits and _, for example loyalty_card"
        )
    section = _Section(where, {} if body is None else body)
    limit = section.entries.get("limit", 1)
    if isinstance(limit, Mapping):
        raise ConfigError(f"{where}.limit: a sliding limit is not supported by this version, write a number")
    if "unique" in section.entries:
        raise ConfigError(f"{where}.unique is not supported by this version, remove it")
    shared = section.integer("shared_after", 0, at_least=1) if "shared_after" in section.entries else None
    rule = IdentifierRule(
        type=name,
        rank=rank,
        limit=section.integer("limit", 1, at_least=1),
        normalise=section.text("normalise", "text"),
        on_conflict=_choice(f"{where}.on_conflict", section.take("on_conflict", "keep"), OnConflict),
        shared_after=shared,
    )
    if rule.normalise not in NORMALISERS:
        raise ConfigError(f"{where}.normalise: {_instead(rule.normalise, NORMALISERS)}")
    section.refuse_others()
    return rule


class _Section:
    """One mapping of the document; remembers which keys were asked for, so that a typing error is refused."""

    def __init__(self, name: str, document: object) -> None:
        if not isinstance(document, Mapping):
            raise ConfigError(f"{name}: write a mapping of settings, not {type(document).__name__}")
        self.name = name
        self.entries: Mapping[object, object] = document
        self.known: list[str] = []

    def _path(self, key: str) -> str:
        return key if self.name == "identity policy" else f"{self.name}.{key}"

    def take(self, key: str, default: object) -> object:
        self.known.append(key)
        return self.entries.get(key, default)

    def section(self, key: str, default: object = None) -> _Section:
        return _Section(self._path(key), self.take(key, default))

    def integer(self, key: str, default: int, *, at_least: int) -> int:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise ConfigError(f"{self._path(key)}: write a whole number of at least {at_least}")
        return value

    def text(self, key: str, default: str) -> str:
        value = self.take(key, default)
        if not isinstance(value, str):
            raise ConfigError(f"{self._path(key)}: write a text")
        return value

    def duration(self, key: str, default: str) -> int:
        value = self.take(key, default)
        try:
            return parse_duration_ms(str(value))
        except ValueError as error:
            raise ConfigError(f"{self._path(key)}: {error}") from None

    def values(self, key: str) -> list[object]:
        value = self.take(key, [])
        if not isinstance(value, list):
            raise ConfigError(f"{self._path(key)}: write a list")
        return value

    def refuse_others(self) -> None:
        for key in self.entries:
            if key not in self.known:
                raise ConfigError(f"{self._path(str(key))}: {_instead(str(key), self.known)}")


def _instead(given: str, known: list[str] | tuple[str, ...]) -> str:
    best = process.extractOne(given, known, score_cutoff=60)
    hint = f"did you mean {best[0]}?" if best else f"write one of {', '.join(known)}"
    return f"{given!r} is not known, {hint}"


def _choice(where: str, value: object, options: type[Choice]) -> Choice:
    try:
        return options(str(value))
    except ValueError:
        raise ConfigError(f"{where}: {_instead(str(value), [str(option) for option in options])}") from None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"blocked.patterns: {text!r} is not a regular expression ({error})") from None
