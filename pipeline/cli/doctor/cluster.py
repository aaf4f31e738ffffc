"""`elo doctor` on brokers, topics and grants: judged from what Kafka says of itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ...access import Role, grants_of
from ...core.duration import format_duration
from ...runtime.connect import CONNECT_S, GRANTS, missing_grants, who
from ...runtime.opening import STALE_STATE_MS
from ...settings import Settings
from ...topics import Topics, TopicSpec
from ..topics import differences_of, existing_topics
from .finding import Finding, failed, ok, several, unknown, warning

COPIES: Final = 3  # of each topic, where there are brokers for it
IN_SYNC: Final = 2
FOR_EVER: Final = -1


@dataclass(frozen=True, slots=True)
class Copies:
    """A partition: where its copies are, and which of them are up to date. `leader` -1: nobody has it."""

    name: str
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


def judge_brokers(brokers: int, partitions: list[Copies]) -> Iterator[Finding]:
    """Are all partitions served, copied and up to date? `partitions`: those of our topics."""
    leaderless = [one.name for one in partitions if one.leader < 0]
    behind = [one.name for one in partitions if len(one.in_sync) < len(one.replicas)]
    copies = min((len(one.replicas) for one in partitions), default=0)
    if leaderless:
        yield failed("brokers", f"{several(leaderless)} have no leader", "start the brokers that hold them")
    if behind:
        yield warning("brokers", f"{several(behind)} have copies that are behind",
                      "look for a broker that is away or slow; one more and they may stop")  # fmt: skip
    if brokers < COPIES:
        yield warning("brokers", f"{brokers} of at least {COPIES} brokers: a disk that is lost is lost data",
                      "good for trying out; run three brokers in production")  # fmt: skip
    elif partitions and copies < COPIES:
        few = sorted({one.name.partition("[")[0] for one in partitions if len(one.replicas) < COPIES})
        yield warning("brokers", f"{several(few)} have {copies} of {COPIES} copies",
                      "reassign them with more replicas (kafka-reassign-partitions.sh)")  # fmt: skip
    if not (leaderless or behind):
        yield ok("brokers", f"{brokers} brokers answer, every partition has a leader and all of its copies")


def judge_topics(
    specs: tuple[TopicSpec, ...],
    found: Mapping[str, tuple[int, Mapping[str, str]]],
    partitions: int,
    copies: Mapping[str, int],
    together: Collection[str],
) -> Iterator[Finding]:
    """Are the topics there, with the settings that they need?

    Args:
        found: topic → partition count and configuration.
        partitions: of every topic of `together`; that of `elo.touches`.
        copies: topic → copies of each of its partitions.
        together: topics whose partitions must be equal. Outputs keep theirs when a deployment grows.
    """
    missing = [spec.name for spec in specs if spec.name not in found]
    if missing:
        yield failed("topics", f"{several(missing)} do not exist", "run `elo topics create`")
    wrong = False
    for spec in specs:
        if spec.name not in found:
            continue
        count, config = found[spec.name]
        free = count if spec.partitioned else 1
        wanted = partitions if spec.name in together else free
        for difference in differences_of(spec, wanted, count, dict(config)):
            wrong = True
            yield failed("topics", difference, _mend(spec, difference))
        for finding in (*_judge_retention(spec, config), *_judge_in_sync(spec, config, copies)):
            wrong = True
            yield finding
    if not (missing or wrong):
        yield ok("topics", f"{len(specs)} topics with {partitions} partitions are as they must be")


def _mend(spec: TopicSpec, difference: str) -> str:
    if "partitions" in difference:
        return "all partitioned topics need the same number: make the wrong one anew while it is empty"
    settings = ",".join(f"{name}={value}" for name, value in sorted(spec.config.items()))
    return f"kafka-configs.sh --alter --topic {spec.name} --add-config '{settings}'"


def _judge_retention(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[Finding]:
    """Kept for too short a time: what depends on it is named."""
    history = spec.name.endswith("elo.touches")
    if "retention.ms" in spec.config:
        wanted, kept = int(spec.config["retention.ms"]), int(config.get("retention.ms", FOR_EVER))
        if kept != FOR_EVER and (wanted == FOR_EVER or kept < wanted):
            long = "for ever" if wanted == FOR_EVER else format_duration(wanted)
            said = f"{spec.name} is kept for {format_duration(kept)}, and not {long}"
            do = f"kafka-configs.sh --alter --topic {spec.name} --add-config retention.ms={wanted}"
            if history:
                yield failed("topics", f"{said}: older touches would count again", do)
            else:
                yield warning("topics", said, do)
    if "delete.retention.ms" in spec.config:
        kept = int(config.get("delete.retention.ms", spec.config["delete.retention.ms"]))
        if kept <= STALE_STATE_MS:
            yield failed(
                "topics",
                f"{spec.name} keeps tombstones for {format_duration(kept)}: a disk that was away for "
                f"{format_duration(STALE_STATE_MS)} could bring deleted people back",
                f"kafka-configs.sh --alter --topic {spec.name} --add-config "
                f"delete.retention.ms={spec.config['delete.retention.ms']}",
            )


def _judge_in_sync(
    spec: TopicSpec, config: Mapping[str, str], copies: Mapping[str, int]
) -> Iterator[Finding]:
    least, count = int(config.get("min.insync.replicas", "1")), copies.get(spec.name, 1)
    alter = f"kafka-configs.sh --alter --topic {spec.name} --add-config min.insync.replicas={IN_SYNC}"
    if count >= COPIES and least < IN_SYNC:
        yield warning("topics", f"{spec.name} has {count} copies, and a write is acknowledged with {least}: "
                      "what one broker alone has can be lost", alter)  # fmt: skip
    elif count > 1 and least >= count:
        yield warning("topics", f"{spec.name} needs all of its {count} copies for a write: "
                      "one broker that restarts stops it", alter)  # fmt: skip


def look_at_cluster(admin: AdminClient, topics: Topics) -> Iterator[Finding]:
    """Ask Kafka, and judge brokers and topics."""
    specs = topics.specs()
    metadata = admin.list_topics(timeout=CONNECT_S)
    ours = [metadata.topics[spec.name] for spec in specs if spec.name in metadata.topics]
    partitions = [
        Copies(f"{topic.topic}[{number}]", one.leader, tuple(one.replicas), tuple(one.isrs))
        for topic in ours
        for number, one in sorted(topic.partitions.items())
    ]
    yield from judge_brokers(len(metadata.brokers), partitions)
    try:
        existing = existing_topics(admin, specs)
    except KafkaException as error:
        if error.args[0].code() not in GRANTS:
            raise
        yield unknown("topics", "their settings may not be read by this login",
                      "run it as the admin, see `elo topics acls admin`")  # fmt: skip
        return
    touches = existing.get(topics.touches)
    copies = {
        topic.topic: min((len(one.replicas) for one in topic.partitions.values()), default=0)
        for topic in ours
    }
    yield from judge_topics(specs, existing, touches[0] if touches else 1, copies, topics.together)


def look_at_access(settings: Settings, admin: AdminClient, role: Role, topics: Topics) -> Iterator[Finding]:
    """May this login do what a role needs?"""
    missing = missing_grants(admin, grants_of(role, topics), _groups(settings, role))
    me = who(settings)
    for grant in missing:
        yield failed("access", f"{me} may not {', '.join(grant.operations)} {grant.kind} {grant.name}",
                     f"grant what `elo topics acls {role}` prints")  # fmt: skip
    if not missing:
        yield ok("access", f"{me} may do what the role {role} needs")


def _groups(settings: Settings, role: Role) -> list[str]:
    """A name below each prefix of groups that a role is given."""
    found: dict[Role, Any] = {
        Role.DELIVER: [settings.deliver_group("doctor"), f"{settings.group}-doctor"],
        Role.FEED: [f"{settings.group}.cdc.doctor"],
    }
    others = [f"{settings.group}.doctor", f"{settings.group}-doctor"]
    return found.get(role, others)
