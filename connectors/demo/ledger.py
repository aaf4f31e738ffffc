"""The stream of changes as a consumer sees it: who is inside by it, and whether it keeps its promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .check import Verdict


class Ledger:
    """Follows the changes of memberships and aliases as a consumer would, and notes what must not happen."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], tuple[int, bool]] = {}
        self.inside: Counter[str] = Counter()
        self.entered: Counter[str] = Counter()
        self.exited: Counter[str] = Counter()
        self.aliases: dict[str, int] = {}
        self.told_at: dict[str, int] = {}
        self.changes = 0
        self.differences: list[str] = []

    def change(self, record: Mapping[str, Any]) -> None:
        """Take in one membership change, in the order of its partition."""
        key = record["profile_id"], record["segment_id"]
        sequence, inside = self.last.get(key, (0, False))
        entered = record["change"] == "entered"
        self.changes += 1
        if record["sequence"] != sequence + 1:
            self.differences.append(f"profile {key[0]}, segment {key[1]}: sequence {record['sequence']} "
                                    f"came after {sequence}")  # fmt: skip
        if entered == inside:
            self.differences.append(f"profile {key[0]}, segment {key[1]}: {record['change']} twice in a row")
        else:
            self.inside[key[1]] += 1 if entered else -1
        (self.entered if entered else self.exited)[key[1]] += 1
        self.last[key] = record["sequence"], entered
        if entered:
            self.told_at[key[0]] = max(self.told_at.get(key[0], 0), record["decided_at"])

    def alias(self, record: Mapping[str, Any]) -> None:
        """Take in one profile alias."""
        self.aliases[record["old_profile_id"]] = record["decided_at"]

    def check(self, verdict: Verdict, profiles: Sequence[Mapping[str, Any]]) -> None:
        """Add what the stream says to a verdict over the state that it should have led to."""
        live = {profile["profile_id"] for profile in profiles}
        state = {
            (profile["profile_id"], segment) for profile in profiles for segment in profile["memberships"]
        }
        stream = {key for key, (_, inside) in self.last.items() if inside}
        lines = [f"segment {segment}: profile {pid} is inside in the {where} only"
                 for where, keys in (("stream", stream - state), ("state", state - stream))
                 for pid, segment in sorted(keys)]  # fmt: skip
        verdict.add("inside by the stream", len(state), len(stream), lines)
        late = sorted(
            pid for pid, at in self.aliases.items() if pid not in live and self.told_at.get(pid, 0) > at
        )
        verdict.add("gaps and repeats", 0, len(self.differences), self.differences)
        verdict.add(
            "entries under an alias",
            0,
            len(late),
            [f"profile {pid} entered after it was merged" for pid in late],
        )
