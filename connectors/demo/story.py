"""A membership change as a story: who it is, what they did, and why that put them in or out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.shop import Group, Truth

from .diary import Deed, Diary

DEEDS_TOLD: Final = 3
PROFILES_MAX: Final = 100_000  # profile ids whose person is remembered for changes that name no event
KINDS: Final = {
    "anonymous_id": ("browser", "browsers"),
    "device_id": ("device", "devices"),
    "phone": ("phone", "phones"),
}


@dataclass(frozen=True, slots=True)
class Story:
    """One entry or exit, in words. `latency_ms`: touchpoint sent → committed change read, None by timer."""

    at_ms: int
    segment_id: str
    entered: bool
    who: str
    known_by: str
    why: str
    latency_ms: int | None

    def sentence(self) -> str:
        """The whole story in one line."""
        verb = "enters" if self.entered else "leaves"
        return f"{self.who} ({self.known_by}) {verb} {self.segment_id}: {self.why}"


class Storyteller:
    """Turns membership changes into stories, with the shop's diary and truth for the words."""

    def __init__(self, diary: Diary, truth: Truth) -> None:
        self.diary = diary
        self.truth = truth
        self.identifier_of: dict[str, str] = {}

    def tell(self, change: Mapping[str, Any], received_ms: int) -> Story:
        """The story of one change, a mapping with the field names of the contract."""
        deeds = [
            (one, deed) for one in change["event_ids"] if (deed := self.diary.deeds.get(one)) is not None
        ]
        group = self._group(change, deeds)
        return Story(
            at_ms=received_ms,
            segment_id=change["segment_id"],
            entered=change["change"] == "entered",
            who=_who(group),
            known_by=_known_by(group),
            why=_why(change, deeds),
            latency_ms=_latency(change, deeds, received_ms),
        )

    def _group(self, change: Mapping[str, Any], deeds: list[tuple[str, Deed]]) -> Group | None:
        """Whom the change is about: by a deed, by an address in the change, or as remembered."""
        pid = change["profile_id"]
        named = change["identifiers"]
        if deeds:
            found = deeds[0][1].identifier
        elif named:
            found = f"{named[0]['type']}:{named[0]['value']}"
        else:
            found = self.identifier_of.get(pid, "")
        if found and len(self.identifier_of) < PROFILES_MAX:
            self.identifier_of[pid] = found
        return self.truth.group_of.get(found)


def _who(group: Group | None) -> str:
    if group is None or group.trait("name") is None:
        return "Somebody without a name"
    city = group.trait("city")
    return f"{group.trait('name')} of {city}" if city else str(group.trait("name"))


def _known_by(group: Group | None) -> str:
    """User id and e-mails as they are, the rest counted: `u-100017, ana@example.com, 2 browsers`."""
    if group is None:
        return "unknown"
    shown, counts = [], Counter[str]()
    for identifier in sorted(group.identifiers, key=lambda one: (not one.startswith("user_id"), one)):
        kind, _, value = identifier.partition(":")
        if kind in KINDS:
            counts[kind] += 1
        else:
            shown.append(
                f"CPF {value[:3]}…" if kind == "cpf" else f"NIS {value[:3]}…" if kind == "nis" else value
            )
    shown += [f"{count} {KINDS[kind][count > 1]}" for kind, count in sorted(counts.items())]
    return ", ".join(shown)


def _why(change: Mapping[str, Any], deeds: list[tuple[str, Deed]]) -> str:
    """The deciding events in words, with their ids; for a timer what is too long ago."""
    at_ms = change["occurred_at"]
    told = "; ".join(
        f"{deed.phrase}{_ago(at_ms - deed.occurred_ms)} [{event_id}]" for event_id, deed in deeds[:DEEDS_TOLD]
    )
    more = f" and {len(deeds) - DEEDS_TOLD} more" if len(deeds) > DEEDS_TOLD else ""
    match change["cause"]:
        case "timer":
            return f"time has passed since they {told}{more}" if told else "time has passed"
        case "merge" if change["change"] == "exited" and not deeds:
            return "this profile went into another one"
        case "merge":
            return (
                f"two histories are one person's: {told}{more}" if told else "two histories are one person's"
            )
        case cause:
            return f"{told}{more}" if told else str(cause)


def _ago(duration_ms: int) -> str:
    for unit_ms, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if duration_ms >= unit_ms:
            return f" {duration_ms // unit_ms} {name} before"
    return ""


def _latency(change: Mapping[str, Any], deeds: list[tuple[str, Deed]], received_ms: int) -> int | None:
    """From sending the touchpoint that set the change off: the one that happened when the change did."""
    if change["cause"] == "timer":
        return None
    sent = [deed.sent_ms for _, deed in deeds if deed.occurred_ms == change["occurred_at"]]
    return received_ms - max(sent) if sent else None
