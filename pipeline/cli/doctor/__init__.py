"""`elo doctor`: looks at everything that a deployment rests on, and says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ...access import Role
from ..options import EXIT_FAILURE, Common, Json, command, say, say_json

if TYPE_CHECKING:
    from ...settings import Settings
    from .finding import Finding


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "doctor")(doctor)


def doctor(
    common: Common,
    role: Annotated[
        Role, typer.Option("--role", help="what this login must be allowed to do: worker, collect, …")
    ] = Role.ADMIN,
    json_output: Json = False,
) -> None:
    """Look at brokers, topics, grants, clock, lag, stored versions, disk and settings; say what to do.

    Changes nothing. Exit code 1 when something failed; warnings do not count.
    """
    from .finding import Verdict

    settings = common.settings()
    findings = []
    for finding in examine(settings, role):
        findings.append(finding)
        if not json_output:
            say(f"{finding.verdict.upper() if finding.verdict is Verdict.FAILED else finding.verdict:8}"
                f" {finding.check:12} {finding.what}")  # fmt: skip
            if finding.do:
                say(f"{'':21} → {finding.do}")
    healthy = all(finding.verdict is not Verdict.FAILED for finding in findings)
    if json_output:
        say_json({"healthy": healthy, "findings": [finding.to_json() for finding in findings]})
    if not healthy:
        raise typer.Exit(EXIT_FAILURE)


def examine(settings: Settings, role: Role) -> Iterator[Finding]:
    """Everything that is found, one after the other. What Kafka refuses or does not answer is a finding."""
    from ...core.errors import PipelineError
    from ...runtime.connect import connect
    from .cluster import look_at_access, look_at_cluster
    from .finding import failed
    from .local import look_at_disk, look_at_settings, look_at_versions
    from .progress import look_at_clock, look_at_work
    from .stored import look_at_stored

    yield look_at_versions()
    yield from look_at_settings(settings)
    yield from look_at_disk(settings)
    try:
        admin = connect(settings)
    except PipelineError as error:
        yield failed("brokers", error.message, "nothing else of Kafka was looked at")
        return
    topics = settings.topics(_history_ms(settings))
    looks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
        ("topics", lambda: look_at_cluster(admin, topics)),
        ("access", lambda: look_at_access(settings, admin, role, topics)),
        ("clock", lambda: [look_at_clock(settings)]),
        ("lag", lambda: look_at_work(settings, admin)),
        ("stored", lambda: look_at_stored(settings, admin)),
    )
    for check, look in looks:
        yield from _guarded(check, look)


def _guarded(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds, or that it could not be made."""
    from confluent_kafka import KafkaException

    from ...core.errors import PipelineError
    from .finding import unknown

    try:
        yield from look()
    except PipelineError as error:
        yield unknown(check, error.message, "mend what is named above first")
    except KafkaException as error:
        yield unknown(check, f"Kafka refused: {error.args[0].str()}", "see `elo topics acls admin`")


def _history_ms(settings: Settings) -> int:
    """How long touches must be kept, by the identity policy of the file."""
    from ...settings import load_policy

    return load_policy(settings).history_ms
