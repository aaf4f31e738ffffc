"""The oracle's word on matching, as documented:

- The comparison record of an identifier is what survives of the comparison traits of its own touches, and its
  own value if that is an e-mail address, a phone number or a CPF. Without a name, a birth date or an
  organisation there is none.
- Two records that share a blocking key which no more than `block_records_max` records have are compared. They
  match if their weight is at least `review_above`.
- Matches of at least `merge_above` between identifiers that are not shared unite people after all links,
  those that go together best first: people are weighed with all of their records, and what keeps people apart
  keeps them apart. A match is known since the first touch of the one that was seen last.

What a weight is, is not said a second time: it is that of `pipeline.core.likeness`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import combinations
from typing import Any

from pipeline.core.likeness import Judge, blocks_of, judge_of
from pipeline.core.matching.person import FIELDS, OTHER_NAMES
from pipeline.core.policy import Policy
from pipeline.core.touch import Touch

OWN = {"email": "email", "phone": "phone", "cpf": "national_id"}
NEEDED = ("full_name", "given_name", "surname", "birth_date", "org_name")
Pairs = dict[tuple[str, str], tuple[float, int]]
"""Two identifiers → the weight of their records, and since when both are known."""


def records_of(
    touches: Sequence[Touch], policy: Policy, surviving: Callable[[Any, str], Any]
) -> dict[str, str]:
    """The comparison record of each identifier that has one."""
    said: dict[str, dict[str, list[tuple[int, Any]]]] = {}
    for touch in touches:
        for name, value in json.loads(touch.traits).items():
            if name in FIELDS or name in OTHER_NAMES:
                own = said.setdefault(touch.identifiers[0], {})
                own.setdefault(name, []).append((touch.occurred_at, value))
    found = {}
    for identifier, traits in said.items():
        values = {
            name: surviving(pairs, str(policy.traits.get(name, "newest"))) for name, pairs in traits.items()
        }
        fields = {
            OTHER_NAMES.get(name, name): str(value) for name, value in values.items()
            if isinstance(value, str | int) and not isinstance(value, bool)
        }  # fmt: skip
        if any(name in fields for name in NEEDED):
            kind, _, value = identifier.partition(":")
            own_field = OWN.get(policy.rules[kind].normalise)
            if own_field:
                fields[own_field] = value
            found[identifier] = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return found


def matches_of(touches: Sequence[Touch], records: Mapping[str, str], policy: Policy) -> Pairs:
    """All pairs that match, in the order of their texts."""
    judge = judge_of(policy)
    if judge is None:
        return {}
    first_ms: dict[str, int] = {}
    for touch in touches:
        name = touch.identifiers[0]
        first_ms[name] = min(touch.occurred_at, first_ms.get(name, touch.occurred_at))
    blocks: dict[str, list[str]] = {}
    for identifier in sorted(records):
        for block in blocks_of(records[identifier]):
            blocks.setdefault(block, []).append(identifier)
    found: Pairs = {}
    for members in blocks.values():
        if len(members) <= judge.matching.block_records_max:
            for a, b in combinations(members, 2):
                weight = judge.weigh(records[a], records[b])
                if weight >= judge.matching.review_above:
                    found[a, b] = weight, max(first_ms[a], first_ms[b])
    return found


def evident(
    touches: Sequence[Touch], shared: Set[str], policy: Policy, surviving: Callable[[Any, str], Any]
) -> Pairs:
    """The matches that may unite people."""
    if policy.matching is None:
        return {}
    records = records_of(touches, policy, surviving)
    return {
        pair: known
        for pair, known in matches_of(touches, records, policy).items()
        if known[0] >= policy.matching.merge_above and shared.isdisjoint(pair)
    }


def unite(
    group_of: dict[str, list[str]],
    pairs: Pairs,
    records: Mapping[str, str],
    may_unite: Callable[[list[str], list[str]], bool],
    policy: Policy,
) -> None:
    """Make people of those whose records match, in `group_of`."""
    judge = judge_of(policy)
    while judge is not None:
        possible = []
        for (a, b), (weight, _) in pairs.items():
            some, others = group_of[a], group_of[b]
            if weight >= judge.matching.merge_above and some is not others and may_unite(some, others):
                whole = _weight(judge, some, others, records)
                if whole >= judge.matching.merge_above:
                    names = sorted(min(map(policy.order_of, group)) for group in (some, others))
                    possible.append((-whole, names, a, b))
        if not possible:
            return
        *_, a, b = min(possible)
        both = group_of[a] + group_of[b]
        for identifier in both:
            group_of[identifier] = both


def _weight(judge: Judge, some: list[str], others: list[str], records: Mapping[str, str]) -> float:
    sides = ([records[one] for one in side if one in records] for side in (some, others))
    return judge.weigh_groups(*sides)
