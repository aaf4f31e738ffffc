"""Which regular expressions a definition may use: those that cannot stall a worker on an unlucky text.

Python's `re` tries alternatives one after another and cannot be interrupted. The number of ways in which a
pattern can be tried is estimated from its parse tree; one with too many is refused when it is written.
"""

from __future__ import annotations

import re
from re import _constants, _parser  # type: ignore[attr-defined]  # no public parse tree exists
from typing import Any, Final

from .operators import MATCHED_CHARS_MAX

PATTERN_CHARS_MAX: Final = 200
WAYS_MAX: Final = 1 << 23  # the worst pattern found below it takes 50 ms on the worst text; `.*a.*b` took 4 s
_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)
_AMBIGUOUS_SET: Final = re.compile(
    r"\[\^?\]?[^\]]*?(?:\[|--|&&|~~|\|\|)"
)  # `re` warns: its meaning may change
_REPEATS: Final = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_STARTS: Final = ((_constants.AT, _constants.AT_BEGINNING), (_constants.AT, _constants.AT_BEGINNING_STRING))


def pattern_fault(pattern: str) -> tuple[str, str] | None:
    """None for an acceptable pattern, else what is wrong with it and what to do instead."""
    if len(pattern) > PATTERN_CHARS_MAX:
        return f"the pattern has more than {PATTERN_CHARS_MAX} characters", "use several conditions under any"
    if _AMBIGUOUS_SET.search(_ESCAPED.sub("", pattern)):
        return "the pattern is ambiguous", "put \\ before [ and before doubled -, &, ~ or | inside brackets"
    try:
        re.compile(pattern)
        tree = _parser.parse(pattern)
        ways = _ways(tree)
    except re.error as error:
        at = "" if error.pos is None else f" at its character {error.pos + 1}"
        problem = f"the pattern is not a regular expression ({error.msg}{at})"
        return problem, "put \\ before a character that stands for itself"
    except (OverflowError, RecursionError):
        return "the pattern repeats too often or is nested too deep", "make it simpler"
    except _Refused as refused:
        return str(refused), "write it without, or use several conditions under any"
    anchored = len(tree) > 0 and tree[0] in _STARTS and not tree.state.flags & re.MULTILINE
    if ways * (1 if anchored else MATCHED_CHARS_MAX) > WAYS_MAX:
        hint = "leave out .* at both ends, start it with ^, or use several conditions under all"
        return "the pattern has too many open repeats", hint
    return None


class _Refused(Exception):
    """A construct whose work on an unlucky text has no useful bound."""


def _ways(tree: Any) -> int:
    """Upper bound of the ways in which one text can be tried from one start."""
    ways = 1
    for kind, body in tree:
        ways *= _ways_of(kind, body)
        if ways > WAYS_MAX:
            return ways
    return ways


def _ways_of(kind: Any, body: Any) -> int:
    if kind in _REPEATS:
        least, most, inner = body
        most = min(int(most), MATCHED_CHARS_MAX)
        inner_ways = _ways(inner)
        if inner_ways > 1 and most > 1:
            raise _Refused("the pattern has a repeat or an alternative inside a repeat")
        return inner_ways * (most - min(int(least), most) + 1)
    if kind is _constants.BRANCH:
        return sum(_ways(branch) for branch in body[1])
    if kind is _constants.SUBPATTERN:
        return _ways(body[-1])
    if kind is _constants.ATOMIC_GROUP:
        return _ways(body)
    if kind in (_constants.ASSERT, _constants.ASSERT_NOT):
        return _ways(body[1])
    if kind in (_constants.GROUPREF, _constants.GROUPREF_EXISTS):
        raise _Refused("the pattern refers back to a group")
    return 1
