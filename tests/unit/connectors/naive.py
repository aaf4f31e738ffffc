"""A second, even plainer account of the shop: raw touchpoints in, groups out, with a tiny normaliser.

It shares no code with the simulator's truth nor with the pipeline; the three are compared with each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

NOBODY = {"", "null", "undefined", "none", "nan", "anonymous", "unknown", "test", "0", "[object object]"}
RANK = ("user_id", "cpf", "nis", "email", "phone", "device_id", "anonymous_id")


def normalise(kind: str, value: str) -> str | None:
    """The canonical value, None when it stands for nobody. Knows only the spellings of this shop."""
    text = value.strip("\u200b").strip()
    if text.casefold() in NOBODY:
        return None
    digits = "".join(c for c in text if c.isdigit())
    if kind == "email":
        return text.lower() if "@" in text else None
    if kind == "cpf":
        digits = digits.zfill(11)  # a spreadsheet drops leading zeros
        return digits if len(digits) == 11 and _cpf_is_right(digits) else None
    if kind == "nis":
        return digits
    if kind == "phone":
        return _phone(text, digits)
    return text


def _cpf_is_right(digits: str) -> bool:
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(digits[i]) * (length + 1 - i) for i in range(length))
        if int(digits[length]) != total * 10 % 11 % 10:
            return False
    return True


def _phone(text: str, digits: str) -> str | None:
    if len(digits) < 8:
        return None
    if "+34" in text:
        return f"+{digits}"
    if digits.startswith("55") and "+55" in text:
        digits = digits[2:]
    digits = digits.removeprefix("0")
    if len(digits) == 10:  # an area code and an old mobile number: the ninth digit is missing
        digits = f"{digits[:2]}9{digits[2:]}"
    return f"+55{digits}"


class Naive:
    """Union-find over touchpoints in order of event time. A device stays with its first user id."""

    def __init__(self, touchpoints: Iterable[dict[str, Any]]) -> None:
        self.parent: dict[str, str] = {}
        self.user_of_device: dict[str, str] = {}
        once = {one["event_id"]: one for one in touchpoints}
        self.touchpoints = sorted(once.values(), key=lambda one: one["occurred_at"])
        self.homes = [self._link(self.identifiers(one)) for one in self.touchpoints]

    @staticmethod
    def identifiers(touchpoint: dict[str, Any]) -> list[str]:
        """Usable identifiers, strongest first, each once."""
        found = {
            (RANK.index(one["type"]), f"{one['type']}:{value}")
            for one in touchpoint["identifiers"]
            if (value := normalise(one["type"], one["value"])) is not None
        }
        return [identifier for _, identifier in sorted(found)]

    def root(self, identifier: str) -> str:
        """The representative of the group of an identifier."""
        while self.parent[identifier] != identifier:
            self.parent[identifier] = self.parent[self.parent[identifier]]
            identifier = self.parent[identifier]
        return identifier

    def groups(self) -> dict[str, frozenset[str]]:
        """Root → identifiers."""
        groups: dict[str, set[str]] = {}
        for identifier in self.parent:
            groups.setdefault(self.root(identifier), set()).add(identifier)
        return {root: frozenset(members) for root, members in groups.items()}

    def counters(self) -> dict[str, Counter[str]]:
        """Root → events by type."""
        counters: dict[str, Counter[str]] = {root: Counter() for root in self.groups()}
        for touchpoint, home in zip(self.touchpoints, self.homes, strict=True):
            counters[self.root(home)][touchpoint["type"]] += 1
        return counters

    def newest(self, field: str) -> dict[str, dict[str, Any]]:
        """Root → the newest value of each trait (or consent purpose)."""
        values: dict[str, dict[str, Any]] = {root: {} for root in self.groups()}
        for touchpoint, home in zip(self.touchpoints, self.homes, strict=True):
            values[self.root(home)].update(touchpoint[field])
        return values

    def _link(self, identifiers: list[str]) -> str:
        home = identifiers[0]
        for identifier in identifiers:
            self.parent.setdefault(identifier, identifier)
        for other in identifiers[1:]:
            limited = home.startswith("user_id:") and other.startswith("device_id:")
            if limited and self.user_of_device.setdefault(other, home) != home:
                continue
            self.parent[self.root(other)] = self.root(home)
        return home
