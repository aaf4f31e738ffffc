"""`elo rejected`: the workshop for touchpoints that were rejected."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ..core.errors import ConfigError
from .options import Common, Json, command, fail, group, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from confluent_kafka import Message

    from connectors.workshop.fix import Fix
    from connectors.workshop.judging import Judge, Judged
    from connectors.workshop.letters import Group, Letter

    from ..settings import Settings

app = group("Touchpoints that were rejected: look, mend, send again.")
EXAMPLES: Final = 5
GroupId = Annotated[str, typer.Argument(metavar="GROUP", help="its id in `elo rejected list`")]


@command(app, "list")
def list_groups(common: Common, json_output: Json = False) -> None:
    """List what was rejected and not sent again, in groups of one reason, field, topic and producer."""
    from .records import instant

    workshop = _Workshop(common.settings())
    for found, letters in workshop.groups():
        document = {
            "group": found.id, "letters": len(letters), "reason": found.reason, "field": found.field,
            "topic": found.topic, "producer": found.producer, "detail": letters[-1].detail,
            "first_at": letters[0].timestamp, "last_at": letters[-1].timestamp,
        }  # fmt: skip
        if json_output:
            say_json(document)
        else:
            by = f" by {found.producer}" if found.producer else ""
            said = " ".join(part for part in (found.reason, found.field, letters[-1].detail) if part)
            say(
                f"{found.id}  {len(letters)} on {found.topic}{by}: {said} "
                f"({instant(letters[0].timestamp)} to {instant(letters[-1].timestamp)})"
            )


@command(app, "show")
def show(
    common: Common,
    group_id: GroupId,
    limit: Annotated[int, typer.Option(min=1, help="at most so many, the newest")] = 20,
    json_output: Json = False,
) -> None:
    """Show the letters of a group with all that they hold, personal data too."""
    from ..core.errors import Rejection
    from .records import instant

    workshop = _Workshop(common.settings())
    for letter in workshop.letters_of(group_id)[-limit:]:
        held = workshop.judge.document_of(letter)
        document = {
            "letter": letter.position, "at": letter.timestamp, "topic": letter.topic,
            "partition": letter.partition, "offset": letter.offset, "reason": letter.reason,
            "field": letter.field, "detail": letter.detail,
            "touchpoint": None if isinstance(held, Rejection) else held,
            "raw": _text_of(letter) if isinstance(held, Rejection) else None,
        }  # fmt: skip
        if json_output:
            say_json(document)
        else:
            say(f"{letter.position}  {instant(letter.timestamp)}  {letter.detail}")
            say_json(document["touchpoint"] or document["raw"])


@command(app, "fix")
def fix(
    common: Common,
    group_id: GroupId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the fix, in YAML")],
    json_output: Json = False,
) -> None:
    """Try a fix on all letters of a group: who would be taken, who not and why. Nothing is sent."""
    workshop = _Workshop(common.settings())
    judged = workshop.judged(workshop.letters_of(group_id), workshop.read_fix(file))
    _report(workshop, judged, json_output)


@command(app, "redrive")
def redrive(
    common: Common,
    group_id: GroupId,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="who decides it")],
    reason: Annotated[str, typer.Option("--reason", metavar="WHY", help="why")],
    file: Annotated[
        Path | None, typer.Option("--fix", metavar="FILE", help="the fix, in YAML; without it as they are")
    ] = None,
    partly: Annotated[
        bool, typer.Option("--partly", help="also when some of them would be rejected again; those stay")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would happen")] = False,
    json_output: Json = False,
) -> None:
    """Send the letters of a group again, each once and for ever, at its original event time."""
    from connectors.workshop.letters import send_again

    settings = common.settings()
    workshop = _Workshop(settings)
    judged = workshop.judged(workshop.letters_of(group_id), workshop.read_fix(file) if file else None)
    if dry_run:
        _report(workshop, judged, json_output)
        return
    good = [(one.letter, one.value) for one in judged if one.rejection is None]
    bad = len(judged) - len(good)
    if bad and not partly:
        fail(f"{bad} of {len(judged)} would be rejected again, mend the fix or give --partly")
    sent = send_again(settings, workshop.read, good, by, reason, _now_ms())
    if json_output:
        say_json({"redriven": sent, "left": bad})
    else:
        say(f"{sent} sent again" + (f", {bad} stay" if bad else ""))


class _Workshop:
    """Letters and a judge of one deployment."""

    def __init__(self, settings: Settings) -> None:
        from connectors.workshop.judging import Judge

        from ..runtime.published import policy_in_force
        from .kafka import connect, partitions_of

        self.settings, self.topics = settings, settings.topics()
        self.partitions = partitions_of(connect(settings), (self.topics.rejected, self.topics.redriven))
        self.judge: Judge = Judge(policy_in_force(settings).policy, settings.sources, self.topics)

    def read(self, topic: str) -> Iterable[Message]:
        """Every committed record of a topic."""
        from .kafka import read_to_end

        return read_to_end(self.settings, topic, self.partitions[topic])

    def groups(self) -> list[tuple[Group, list[Letter]]]:
        """Groups with their letters, the largest first."""
        from connectors.workshop.letters import Group, read_letters

        found: dict[Group, list[Letter]] = {}
        for letter in read_letters(self.read, self.topics):
            place = Group(letter.reason, letter.field, letter.topic, self.judge.producer_of(letter))
            found.setdefault(place, []).append(letter)
        return sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0].id))

    def letters_of(self, group_id: str) -> list[Letter]:
        """The letters of a group. Raises CommandFailed when there is none of this id."""
        found = next((letters for one, letters in self.groups() if one.id == group_id), None)
        if found is None:
            fail(f"no letters are in a group {group_id}, see `elo rejected list`")
        return found

    def judged(self, letters: Sequence[Letter], fix: Fix | None) -> list[Judged]:
        """What the intake would say to each."""
        now_ms = _now_ms()
        return [self.judge.judge(letter, fix, now_ms) for letter in letters]

    def read_fix(self, path: Path) -> Fix:
        """A fix from a file. Raises ConfigError that names it."""
        from connectors.workshop.fix import read_fix

        from ..settings import read_yaml_file

        try:
            return read_fix(read_yaml_file(path, "fix"))
        except ConfigError as error:
            if str(path) in str(error):
                raise
            raise ConfigError(f"{path}: {error}") from None


def _report(workshop: _Workshop, judged: Sequence[Judged], json_output: bool) -> None:
    """What would happen: counts, the first of each kind with what the fix changes in it."""
    import orjson

    good = [one for one in judged if one.rejection is None]
    refused = Counter(
        (one.rejection.reason.value, one.rejection.field, one.rejection.detail)
        for one in judged
        if one.rejection is not None
    )
    examples: list[dict[str, Any]] = []
    for one in good[:EXAMPLES]:
        before = workshop.judge.document_of(one.letter)
        after = orjson.loads(one.value) if one.value and one.value[:1] == b"{" else None
        examples.append({
            "letter": one.letter.position,
            "before": before if isinstance(before, dict) else _text_of(one.letter),
            "after": after,
        })  # fmt: skip
    document = {
        "letters": len(judged),
        "accepted": len(good),
        "rejected": [
            {"reason": reason, "field": field, "detail": detail, "letters": count}
            for (reason, field, detail), count in refused.most_common()
        ],
        "examples": examples,
    }
    if json_output:
        say_json(document)
        return
    say(f"{len(good)} of {len(judged)} would be accepted")
    for (reason, field, detail), count in refused.most_common():
        say(f"  {count} rejected again: {' '.join(part for part in (reason, field, detail) if part)}")
    for example in examples:
        say(f"{example['letter']}")
        for line in _difference(example["before"], example["after"]):
            say(f"  {line}")


def _difference(before: Any, after: Any) -> list[str]:
    """The lines that differ, marked - and +."""
    import difflib
    import json

    texts = [
        json.dumps(one, indent=1, ensure_ascii=False, sort_keys=True).splitlines() for one in (before, after)
    ]
    return [line for line in difflib.ndiff(*texts) if line[:1] in "+-"] or ["as it is"]


def _text_of(letter: Letter) -> str:
    return (letter.value or b"").decode("utf-8", "backslashreplace")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
