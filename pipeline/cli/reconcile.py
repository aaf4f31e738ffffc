"""`elo reconcile`: touchpoints in = applied + duplicates + rejected, by source and minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .options import EXIT_FAILURE, Common, Json, command, fail, say, say_error, say_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

    from ..core.reconcile import Fate
    from ..runtime.reconcile import Audit, Minute
    from ..settings import Settings

POLL_S: Final = 0.1
NAMED_MAX: Final = 20  # minutes with missing touchpoints that are shown to people; --json has all


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "reconcile")(reconcile)


def reconcile(
    common: Common,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="touchpoints of the last so long")
    ] = "1h",
    fast: Annotated[
        bool,
        typer.Option("--fast", help="count repetitions of events from before --since as applied ones"),
    ] = False,
    to_rejected: Annotated[
        bool,
        typer.Option("--to-rejected", help="keep what is missing as letters, for `elo rejected redrive`"),
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="look again and again, with metrics")] = False,
    web_port: Annotated[
        int | None,
        typer.Option("--web-port", help="metrics of --follow; 0 is off [ELO_WEB_PORT, default 6066]"),
    ] = None,
    json_output: Json = False,
) -> None:
    """Add up what became of every touchpoint. Exit code 1 when one is missing: source, minute and offset.

    Nothing is estimated: the touches and letters of the time are read. With --json: one object for each
    source and minute.
    """
    from ..core.duration import parse_duration_ms
    from ..runtime.reconcile import Audit
    from .kafka import connect, partitions_of

    try:
        since_ms = _now_ms() - parse_duration_ms(since)
    except ValueError as error:
        fail(f"--since: {error}")
    settings = common.settings(web_port=web_port)
    topics = settings.topics()
    partitions = partitions_of(connect(settings), (*topics.inputs, topics.touches, topics.rejected))
    audit = Audit(settings, partitions, since_ms, tells_duplicates=not follow)
    try:
        if follow:
            from ..runtime.reconcile_follow import follow as run

            run(settings, audit)
        else:
            _report(settings, audit, fast=fast, to_rejected=to_rejected, json_output=json_output)
    finally:
        audit.close()


def _report(settings: Settings, audit: Audit, *, fast: bool, to_rejected: bool, json_output: bool) -> None:
    from ..runtime.published import policy_in_force

    until_ms = _now_ms()
    lost: list[Message] = []
    committed = audit.look(to_end=True)
    if not fast:
        audit.look_back(policy_in_force(settings).policy.history_ms)
    audit.judge(committed, lost.append, look_back=True)
    minutes = list(audit.minutes(until_ms))
    if json_output:
        for minute in minutes:
            say_json(_to_json(minute))
    else:
        _print_sums(minutes)
    if to_rejected and lost:
        _keep(settings, lost)
        say_error(f"{len(lost)} kept as letters, see `elo rejected list`")
    if lost:
        _name_missing(minutes, len(lost))
        raise typer.Exit(EXIT_FAILURE)


def _to_json(minute: Minute) -> dict[str, object]:
    from ..core.reconcile import SHOWN
    from .records import instant

    where = minute.first_missing
    return {
        "source": minute.source,
        "minute": instant(minute.at_ms),
        "touchpoints": minute.touchpoints,
        **{_name(fate): minute.counts[fate] for fate in SHOWN},
        "first_missing": None
        if where is None
        else dict(zip(("topic", "partition", "offset"), where, strict=True)),
    }


def _name(fate: Fate) -> str:
    from ..core.reconcile import Fate

    return "duplicates" if fate is Fate.DUPLICATE else fate.label


def _print_sums(minutes: Sequence[Minute]) -> None:
    """One line a source."""
    from ..core.reconcile import SHOWN

    sources = list(dict.fromkeys(minute.source for minute in minutes))
    say(f"{'source':<12}{'in':>12}" + "".join(f"{_name(fate):>12}" for fate in SHOWN))
    for source in sources:
        own = [minute for minute in minutes if minute.source == source]
        sums = [sum(minute.counts[fate] for minute in own) for fate in SHOWN]
        say(f"{source:<12}{sum(sums):>12}" + "".join(f"{count:>12}" for count in sums))


def _name_missing(minutes: Sequence[Minute], count: int) -> None:
    from ..core.reconcile import Fate
    from .records import instant

    bad = [minute for minute in minutes if minute.first_missing is not None]
    for minute in bad[:NAMED_MAX]:
        topic, partition, offset = minute.first_missing or ("", 0, 0)
        say_error(
            f"{minute.source}, {instant(minute.at_ms)}: {minute.counts[Fate.MISSING]} of "
            f"{minute.touchpoints} missing, the first is {topic}[{partition}] at offset {offset}"
        )
    more = f", in {len(bad)} minutes of a source" if len(bad) > NAMED_MAX else ""
    say_error(f"{count} touchpoints are missing{more}: nothing came of them, see --to-rejected")


def _keep(settings: Settings, lost: Sequence[Message]) -> None:
    """Put missing touchpoints beside the rejected ones: with their bytes, and where they were."""
    from confluent_kafka import Producer

    from ..core.errors import Reason
    from ..topics import REJECTED_BYTES_MAX
    from .kafka import client_config

    failures: list[object] = []
    config = client_config(settings, enable_idempotence=True, message_max_bytes=REJECTED_BYTES_MAX)
    producer = Producer(config)
    for message in lost:
        told = {
            "elo.reason": Reason.INTERNAL_ERROR.value, "elo.field": "", "elo.detail": "missing",
            "elo.topic": str(message.topic()), "elo.partition": str(message.partition()),
            "elo.offset": str(message.offset()),
        }  # fmt: skip
        headers = [*(message.headers() or ()), *((name, text.encode()) for name, text in told.items())]
        while True:
            try:
                producer.produce(
                    settings.topics().rejected, message.value(), message.key(), headers=headers,
                    on_delivery=lambda error, _: failures.append(error) if error else None,
                )  # fmt: skip
                break
            except BufferError:
                producer.poll(POLL_S)
        producer.poll(0)
    if producer.flush(60) or failures:
        fail("the broker does not take all letters, run it again")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
