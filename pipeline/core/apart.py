"""What keeps people apart: traits of which no profile has two values (`cannot_link`), in comparable form.

Decides which spellings are the same value. What follows from two values is for identity.py to say.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import orjson

from .normalise import RAW_CHARS_MAX, Normalise, compile_rule
from .policy import NORMALISERS, STRONG_LIMIT, IdentifierRule, Policy


class Apart:
    """The traits of `cannot_link` under one policy.

    A trait with the name of an identifier type, or of a normaliser, is compared as such an identifier, and a
    value that would be unusable as one is no value. Of others a text is compared without case and without
    spaces around it, a blocked one is no value, and anything else is compared as JSON.
    """

    def __init__(self, policy: Policy) -> None:
        self.names = frozenset(policy.apart_traits)
        self._policy = policy
        self._identify: dict[str, Normalise] = {}
        for name in policy.apart_traits:
            rule = policy.rules.get(name)
            if rule is None and name in NORMALISERS:
                rule = IdentifierRule(name, 0, STRONG_LIMIT, normalise=name)
            if rule is not None:
                self._identify[name] = compile_rule(rule, policy)

    def told(self, traits: dict[str, list[Any]]) -> dict[str, str]:
        """What a facet's traits say, name by name; `traits` are its cells."""
        found: dict[str, str] = {}
        for name in self.names:
            cell = traits.get(name)
            if cell is not None:
                value = self._comparable(name, cell[0])
                if value:
                    found[name] = value
        return found

    def _comparable(self, name: str, value: Any) -> str:
        """Equal texts for equal values; empty for what is no value."""
        if value is None:
            return ""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        identify = self._identify.get(name)
        if identify is not None:
            text = value if isinstance(value, str) else str(value)
            return (identify(text) if len(text) <= RAW_CHARS_MAX else None) or ""
        if not isinstance(value, str):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        text = unicodedata.normalize("NFC", value.strip().casefold())
        return "" if self._policy.is_blocked(text) else text
