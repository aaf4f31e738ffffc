"""`elo topics`: make the topics of this deployment, or say how existing ones differ from what is needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..access import Role, acls_document, grants_of, kafka_acls
from .options import Common, Json, command, fail, group, say, say_json

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from ..topics import TopicSpec

app = group("Kafka topics of this deployment.")

CREATE_S: Final = 30.0
MAJORITY_FROM: Final = 3  # of two copies a majority is both: a lost broker would stop all writing
BROKER_DEFAULTS: Final = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
"""What a topic has when its declaration says nothing: compared as well, so that a wrong one is found."""


@command(app, "create")
def create(
    common: Common,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="partitions of each topic [ELO_PARTITIONS, default 4]")
    ] = None,
    replication_factor: Annotated[
        int | None, typer.Option(min=1, help="copies of each topic [ELO_REPLICATION_FACTOR, default 1]")
    ] = None,
    json_output: Json = False,
) -> None:
    """Create the topics that are missing; refuse, and create none, when one that exists differs."""
    from ..settings import load_policy
    from .kafka import connect

    settings = common.settings(partitions=partitions, replication_factor=replication_factor)
    topics = settings.topics(load_policy(settings).history_ms)
    specs = topics.specs()
    admin = connect(settings)
    existing = existing_topics(admin, specs)
    wanted = {spec.name: settings.partitions if spec.partitioned else 1 for spec in specs}
    for spec in specs:
        if spec.partitioned and spec.name in existing and spec.name not in topics.together:
            wanted[spec.name] = existing[spec.name][0]  # Outputs keep their count when a deployment grows.
    _refuse_differences(specs, wanted, existing)
    missing = [spec for spec in specs if spec.name not in existing]
    created = _create(admin, missing, wanted, settings.replication_factor)
    if len(created) < len(missing):
        # Somebody else was making them at the same time: see what they have made.
        existing = {n: found for n, found in existing_topics(admin, specs).items() if n not in created}
        _refuse_differences(specs, wanted, existing)
    _await_leaders(admin, wanted)
    if json_output:
        say_json({"created": created, "existing": sorted(existing), "partitions": settings.partitions})
        return
    for name in created:
        say(f"created {name} ({wanted[name]} partitions)")
    if existing:
        say(f"{len(existing)} topics were there already")


@command(app, "acls")
def acls(
    common: Common,
    roles: Annotated[
        list[Role] | None, typer.Argument(metavar="ROLE…", help="worker, collect, deliver, …; all of them")
    ] = None,
    principal: Annotated[
        str | None, typer.Option(metavar="TYPE:NAME", help="who gets it [default: User:elo-ROLE]")
    ] = None,
    json_output: Json = False,
) -> None:
    """Print the least that each role needs in Kafka, as commands of Kafka's own tool; asks no broker."""
    settings = common.settings()
    topics = settings.topics()
    wanted = roles or list(Role)
    if json_output:
        document = acls_document(topics)
        say_json({role.value: document[role.value] for role in wanted})
        return
    for role in wanted:
        say(f"# {role}")
        for line in kafka_acls(grants_of(role, topics), principal or f"User:elo-{role}", settings.bootstrap):
            say(line)


@command(app, "grow")
def grow(
    common: Common,
    partitions: Annotated[
        int, typer.Option(min=1, help="how many there shall be: a multiple of those there are")
    ],
    json_output: Json = False,
) -> None:
    """Split each partition into several. Stop all workers first; producers may go on. If it is interrupted,
    run it again: it goes on where it was.
    """
    from ..runtime.growing import Growth
    from .kafka import connect

    settings = common.settings()
    connect(settings)
    grown = Growth(settings, partitions, (lambda _: None) if json_output else say).run()
    if json_output:
        say_json({"grown": grown, "partitions": partitions})
        return
    say(f"there are {partitions} partitions now, start the workers" if grown else "nothing to do")


def _refuse_differences(
    specs: tuple[TopicSpec, ...], wanted: dict[str, int], existing: dict[str, tuple[int, dict[str, str]]]
) -> None:
    differences = [
        difference
        for spec in specs
        if spec.name in existing
        for difference in differences_of(spec, wanted[spec.name], *existing[spec.name])
    ]
    if differences:
        more = f" (and {len(differences) - 1} more differences)" if len(differences) > 1 else ""
        fail(
            f"{differences[0]}{more}: "
            "give the --partitions they were made with, mend the topic, or take another --topic-prefix"
        )


def existing_topics(
    admin: AdminClient, specs: tuple[TopicSpec, ...]
) -> dict[str, tuple[int, dict[str, str]]]:
    """Topic → (partition count, its configuration), for those of the declared topics that exist."""
    from confluent_kafka.admin import ConfigResource, ResourceType

    from .kafka import CONNECT_S

    found = admin.list_topics(timeout=CONNECT_S).topics
    names = [spec.name for spec in specs if spec.name in found]
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    described = admin.describe_configs(resources, request_timeout=CREATE_S)
    return {
        resource.name: (
            len(found[resource.name].partitions),
            {name: entry.value for name, entry in future.result().items()},
        )
        for resource, future in described.items()
    }


def differences_of(
    spec: TopicSpec, partitions: int, found_partitions: int, found: dict[str, str]
) -> list[str]:
    """What about an existing topic would make Elo wrong. Retention is the operator's own business."""
    differences = []
    if found_partitions != partitions:
        differences.append(f"topic {spec.name}: expected {partitions} partitions, found {found_partitions}")
    for name, default in BROKER_DEFAULTS.items():
        expected, value = spec.config.get(name, default), found.get(name, default)
        if value != expected:
            differences.append(f"topic {spec.name}: expected {name}={expected}, found {value}")
    name = "max.message.bytes"
    if name in spec.config and int(found.get(name, spec.config[name])) < int(spec.config[name]):
        differences.append(
            f"topic {spec.name}: expected {name} of at least {spec.config[name]}, found {found[name]}"
        )
    return differences


def _create(admin: AdminClient, specs: list[TopicSpec], wanted: dict[str, int], copies: int) -> list[str]:
    """Create the topics and return the names of those that were new."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic

    if not specs:
        return []
    # Of three copies two must have a record before it counts: any one broker may be lost with its disk.
    safe = {"min.insync.replicas": str(copies // 2 + 1)} if copies >= MAJORITY_FROM else {}
    requests = [
        NewTopic(spec.name, wanted[spec.name], copies, config={**spec.config, **safe}) for spec in specs
    ]
    created = []
    for name, future in admin.create_topics(requests, operation_timeout=CREATE_S).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                fail(f"topic {name} cannot be created, {error.args[0].str()}")
    return created


def _await_leaders(admin: AdminClient, wanted: dict[str, int]) -> None:
    """Return when every partition answers, so that the next command finds topics that work."""
    deadline = time.monotonic() + CREATE_S
    while not _answer(admin, wanted):
        if time.monotonic() > deadline:
            fail(f"topics have no leader after {CREATE_S:.0f} s, see `elo broker status`")
        time.sleep(0.05)


def _answer(admin: AdminClient, wanted: dict[str, int]) -> bool:
    from confluent_kafka import KafkaException, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    asked = {
        TopicPartition(name, number): OffsetSpec.earliest()
        for name, count in wanted.items()
        for number in range(count)
    }
    try:
        found = admin.list_topics(timeout=CREATE_S).topics
        if any(name not in found or len(found[name].partitions) != wanted[name] for name in wanted):
            return False
        # A broker may be named as leader a moment before it knows it: only an answer tells.
        for future in admin.list_offsets(asked, request_timeout=CREATE_S).values():
            future.result()
    except KafkaException:
        return False
    return True
