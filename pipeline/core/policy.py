"""The identity policy: what `identity.yaml` may say, checked when it is read. No file is opened here.

Every refusal is one sentence: the place, what is wrong there, what to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from .policy_fields import (
    WHOLE,
    Section,
    read_choice,
    read_duration,
    read_integer,
    read_words,
    refuse,
)
from .policy_matching import Matching, Models, no_models, read_matching
from .segments.document import DefinitionError, Node, Place, read_json, read_yaml, similar_to
from .segments.pattern import pattern_fault

IDENTIFIER_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,49}\Z")
SOURCE: Final = IDENTIFIER_TYPE
NORMALISERS: Final = ("text", "email", "phone", "cpf", "nis")
STRONG_LIMIT: Final = 1
"""A type with limit 1 is *strong*: its values tell people apart, so they count towards `shared_after`."""
_DAY_MS: Final = 86_400_000
_NONE: Final[frozenset[str]] = frozenset()
_TOP: Final = (
    "version", "default_region", "history", "anonymous_retention", "link_wait", "component_identifiers_max",
    "identifiers", "blocked", "traits", "cannot_link", "namespaces", "matching",
)  # fmt: skip
_RULE: Final = ("limit", "normalise", "on_conflict", "shared_after", "unique")
_EXAMPLE: Final = "identifiers: {user_id: {limit: 1}, email: {limit: 5, normalise: email}}"
_LIMITS: Final = "limit: 5 or limit: {count: 3, within: 90d}"


class OnConflict(StrEnum):
    """Where the lower-ranked identifier of a refused link goes."""

    KEEP = "keep"  # it stays with the profile that it was linked to first
    MOVE = "move"  # it goes to the profile that it was linked to last


class Unique(StrEnum):
    """Which of its links with stronger identifiers a unique value keeps."""

    NEWEST = "newest"
    OLDEST = "oldest"


class Survivorship(StrEnum):
    """Which value of a trait a profile shows when its touchpoints disagree. Decided by event time."""

    NEWEST = "newest"
    FIRST = "first"
    MOST_FREQUENT = "most_frequent"
    UNION = "union"


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """The rule of one identifier type. `rank` 0 is the strongest; `limit` counts values per profile.

    `within_ms` None: the limit counts all values; else those that are in use at one instant, where a value is
    in use from its first link until `within_ms` after its last. `shared_after` None: never shared. `unique`
    None: every link of a value with a stronger identifier counts.
    """

    type: str
    rank: int
    limit: int
    normalise: str = "text"
    on_conflict: OnConflict = OnConflict.KEEP
    shared_after: int | None = None
    within_ms: int | None = None
    unique: Unique | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked identity policy. Durations are milliseconds.

    `strong_types`, `sliding_types` (a limit with `within`), `unique_types` and `timed_types` (these two) are
    what `rules` say, looked up faster. `apart_traits`: no profile has two values of one of them.
    `namespaces`: source → identifier type as it sends it → type that it stands for. `matching` None: nobody
    is compared.
    """

    version: int
    default_region: str
    history_ms: int
    anonymous_retention_ms: int
    link_wait_ms: int
    component_identifiers_max: int
    rules: dict[str, IdentifierRule]
    blocked_values: frozenset[str]
    blocked_patterns: tuple[re.Pattern[str], ...]
    strong_types: frozenset[str]
    sliding_types: frozenset[str] = _NONE
    unique_types: frozenset[str] = _NONE
    timed_types: frozenset[str] = _NONE
    traits: dict[str, Survivorship] = field(default_factory=dict)
    apart_traits: tuple[str, ...] = ()
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    matching: Matching | None = None

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

    def is_strong(self, identifier: str) -> bool:
        """Whether the values of the identifier's type tell people apart."""
        return identifier.partition(":")[0] in self.strong_types

    def is_blocked(self, value: str) -> bool:
        """Whether a value, trimmed, stands for nobody. Compared without case."""
        folded = value.strip().casefold()
        return folded in self.blocked_values or any(p.search(folded) for p in self.blocked_patterns)


def parse_policy(document: object, models: Models = no_models) -> Policy:
    """Check the content of `identity.yaml`, already parsed, and return the policy.

    `models`: gives the trained model that it names.
    Raises: DefinitionError, a ConfigError, with one sentence for the first thing that is wrong; its place is
    a path.
    """
    return _policy(read_json(document), models)


def read_policy(text: str, models: Models = no_models) -> Policy:
    """Check the text of `identity.yaml` and return the policy.

    `models`: gives the trained model that it names.
    Raises: DefinitionError, a ConfigError, with one sentence that names line and column of the first thing
    that is wrong.
    """
    nodes = read_yaml(text)
    if not nodes:
        raise DefinitionError(Place("", 1, 1), "there is no identity policy here", f"write {_EXAMPLE}")
    if len(nodes) > 1:
        raise DefinitionError(nodes[1].place, "a second document begins here", "write one policy per file")
    return _policy(nodes[0], models)


def _policy(node: Node, models: Models) -> Policy:
    top = Section(node, WHOLE, _TOP, _EXAMPLE)
    namespaces = _namespaces(top)
    rules = _rules(top, namespaces)
    blocked = top.entries.get("blocked")
    values, patterns = (frozenset[str](), ()) if blocked is None else _blocked(blocked)
    survivorship = _survivorship(top)
    return Policy(
        version=top.integer("version", 1, least=1),
        default_region=_region(top.entries.get("default_region")),
        history_ms=top.duration("history", 30 * _DAY_MS),
        anonymous_retention_ms=top.duration("anonymous_retention", 90 * _DAY_MS),
        link_wait_ms=top.duration("link_wait", 10_000),
        component_identifiers_max=top.integer("component_identifiers_max", 1000, least=2),
        rules=rules,
        blocked_values=values,
        blocked_patterns=patterns,
        strong_types=frozenset(
            name for name, rule in rules.items() if rule.limit == STRONG_LIMIT and rule.within_ms is None
        ),
        sliding_types=frozenset(name for name, rule in rules.items() if rule.within_ms is not None),
        unique_types=frozenset(name for name, rule in rules.items() if rule.unique is not None),
        timed_types=frozenset(name for name, rule in rules.items() if rule.within_ms or rule.unique),
        traits=survivorship,
        apart_traits=_apart_traits(top.entries.get("cannot_link"), survivorship),
        namespaces=namespaces,
        matching=read_matching(top.entries.get("matching"), models),
    )


def _rules(top: Section, namespaces: dict[str, dict[str, str]]) -> dict[str, IdentifierRule]:
    """All types, strongest first. A namespaced type that has no rule of its own follows its plain one."""
    node = top.entries.get("identifiers")
    if node is None:
        refuse(top.node, "identifiers is missing", f"write {_EXAMPLE}")
    written = node.mapping("identifiers", _EXAMPLE)
    own = {kept for types in namespaces.values() for kept in types.values()}
    _check_namespaces(top, written)
    rules: dict[str, IdentifierRule] = {}
    for name, body in written.items():
        if name not in own and not IDENTIFIER_TYPE.match(name):
            slug = "_".join(re.findall(r"[a-z0-9]+", name.lower()))
            slug = slug if IDENTIFIER_TYPE.match(slug) else "loyalty_card"
            problem = f"the identifier type {name!r} is not in snake_case"
            if "." in name:
                problem = f"{name!r} is not declared under namespaces"
                slug = "namespaces: {crm: [user_id]} to make the type crm.user_id"
            raise DefinitionError(body.key_place, problem, f"write {slug}")
        rule = _rule(name, len(rules), body)
        rules[name] = rule
        for types in namespaces.values():
            kept = types.get(name)
            if kept is not None and kept not in written:
                rules[kept] = replace(rule, type=kept, rank=len(rules))
    return rules


def _rule(name: str, rank: int, body: Node) -> IdentifierRule:
    where = f"identifiers.{name}"
    if body.value is None:
        return IdentifierRule(name, rank, STRONG_LIMIT)
    section = Section(body, where, _RULE, f"{name}: {{limit: 5}}")
    limit, within_ms = _limit(section.entries.get("limit"), f"{where}.limit")
    unique = section.entries.get("unique")
    if unique is not None and "on_conflict" in section.entries:
        place = section.entries["on_conflict"].key_place
        raise DefinitionError(place, f"{where} is unique, so on_conflict has no effect", "remove on_conflict")
    if unique is not None and rank == 0:
        problem = f"{where} is the strongest type, so a value has no stronger identifier to belong to"
        raise DefinitionError(unique.key_place, problem, f"write {name} below the types that it belongs to")
    shared = section.entries.get("shared_after")
    return IdentifierRule(
        type=name,
        rank=rank,
        limit=limit,
        normalise=_normaliser(section.entries.get("normalise"), f"{where}.normalise"),
        on_conflict=section.choice("on_conflict", OnConflict, OnConflict.KEEP),
        shared_after=None if shared is None else read_integer(shared, f"{where}.shared_after", 1),
        within_ms=within_ms,
        unique=None if unique is None else read_choice(unique, f"{where}.unique", Unique),
    )


def _limit(node: Node | None, path: str) -> tuple[int, int | None]:
    """How many values, and within which span if it is a sliding limit."""
    if node is None:
        return STRONG_LIMIT, None
    if isinstance(node.value, dict):
        section = Section(node, path, ("count", "within"), _LIMITS)
        for key in ("count", "within"):
            if key not in section.entries:
                node.refuse(f"{path} has no {key}", "write for example {count: 3, within: 90d}")
        count = read_integer(section.entries["count"], f"{path}.count", 1)
        return count, read_duration(section.entries["within"], f"{path}.within")
    if isinstance(node.value, bool) or not isinstance(node.value, int):
        problem = f"{path} is a whole number or {{count, within}}, not {node.kind()}"
        node.refuse(problem, f"write for example {_LIMITS}")
    return read_integer(node, path, 1), None


def _normaliser(node: Node | None, path: str) -> str:
    if node is None:
        return "text"
    if not isinstance(node.value, str) or node.value not in NORMALISERS:
        given = node.value if isinstance(node.value, str) else ""
        node.refuse(
            f"{path} cannot be {node.value!r}" if given else f"{path} is one word, not {node.kind()}",
            similar_to(given, NORMALISERS),
        )
    return node.value


def _region(node: Node | None) -> str:
    if node is None:
        return "BR"
    if not isinstance(node.value, str):
        node.refuse(f"default_region is a country code, not {node.kind()}", "write for example BR")
    if not re.fullmatch(r"[A-Z]{2}", node.value):
        known = re.fullmatch(r"[A-Za-z]{2}", node.value)
        hint = f"write {node.value.upper()}" if known else "write for example BR"
        node.refuse(f"default_region {node.value!r} is not a two-letter country code in capitals", hint)
    return node.value


def _blocked(node: Node) -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    section = Section(node, "blocked", ("values", "patterns"), "blocked: {values: ['null'], patterns: []}")
    values: list[str] = []
    listed = section.entries.get("values")
    if listed is not None:
        if not isinstance(listed.value, list):
            listed.refuse(f"blocked.values is a list, not {listed.kind()}", "write for example ['null', '0']")
        for item in listed.value:
            if isinstance(item.value, bool) or not isinstance(item.value, str | int):
                item.refuse(f"a blocked value is a text, not {item.kind()}", "put it in quotes")
            values.append(str(item.value).strip().casefold())
    return frozenset(values), tuple(
        _pattern(item) for item in section.words("patterns", "patterns: ['^test-', '@example\\.com$']")
    )


def _pattern(node: Node) -> re.Pattern[str]:
    """A regular expression that cannot stall the intake on an unlucky value."""
    text = str(node.value)
    if not text:
        node.refuse("an empty pattern blocks every value", "remove it")
    fault = pattern_fault(text)
    if fault is not None:
        problem, hint = fault
        if "conditions" in hint:  # It speaks of segments.
            hint = "write several simpler patterns, each with ^ at its start where that is meant"
        node.refuse(problem, hint)
    return re.compile(text, re.IGNORECASE)


def _survivorship(top: Section) -> dict[str, Survivorship]:
    node = top.entries.get("traits")
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        node.refuse(f"traits is a mapping, not {node.kind()}", "write for example traits: {city: newest}")
    return {name: read_choice(value, f"traits.{name}", Survivorship) for name, value in node.value.items()}


def _apart_traits(node: Node | None, survivorship: dict[str, Survivorship]) -> tuple[str, ...]:
    if node is None:
        return ()
    example = "cannot_link: {traits: [cpf, birth_date]}"
    section = Section(node, "cannot_link", ("traits",), example)
    names = section.words("traits", example)
    for name in names:
        if not str(name.value).strip():
            name.refuse("the name of a trait is empty", f"write for example {example}")
        if survivorship.get(str(name.value)) is Survivorship.UNION:
            problem = f"the trait {name.value} is a union, so one person may have several values of it"
            name.refuse(problem, f"remove it here, or traits.{name.value}")
    return tuple(str(name.value) for name in names)


def _namespaces(top: Section) -> dict[str, dict[str, str]]:
    node = top.entries.get("namespaces")
    if node is None:
        return {}
    example = "namespaces: {crm: [user_id]}"
    if not isinstance(node.value, dict):
        node.refuse(f"namespaces is a mapping, not {node.kind()}", f"write for example {example}")
    found: dict[str, dict[str, str]] = {}
    for source, types in node.value.items():
        if not SOURCE.match(source):
            problem = f"the source {source!r} is not in snake_case"
            raise DefinitionError(types.key_place, problem, "write it as it stands in the setting sources")
        names = read_words(types, f"namespaces.{source}", example)
        found[source] = {str(name.value): f"{source}.{name.value}" for name in names}
    return found


def _check_namespaces(top: Section, written: dict[str, Node]) -> None:
    """Only types that are configured can be kept apart."""
    node = top.entries.get("namespaces")
    sources = node.value if node is not None and isinstance(node.value, dict) else {}
    for types in sources.values():
        for name in types.value if isinstance(types.value, list) else []:
            if name.value not in written:
                hint = similar_to(str(name.value), tuple(written))
                name.refuse(f"{name.value!r} is not an identifier type of this policy", hint)
