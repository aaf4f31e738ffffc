"""What a check of `elo doctor` finds: a verdict, a sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is. Only FAILED makes the command end with 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the check could not be made


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `do` is empty when nothing is to be done."""

    check: str
    verdict: Verdict
    what: str
    do: str = ""

    def to_json(self) -> dict[str, str]:
        """The shape of `elo doctor --json`."""
        return {"check": self.check, "verdict": self.verdict.value, "what": self.what, "do": self.do}


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, what)


def warning(check: str, what: str, do: str) -> Finding:
    """It works, and will hurt one day."""
    return Finding(check, Verdict.WARNING, what, do)


def failed(check: str, what: str, do: str) -> Finding:
    """It does not work, or is wrong."""
    return Finding(check, Verdict.FAILED, what, do)


def unknown(check: str, what: str, do: str = "") -> Finding:
    """Could not be looked at."""
    return Finding(check, Verdict.UNKNOWN, what, do)


def several(names: list[str], most: int = 4) -> str:
    """Some of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
