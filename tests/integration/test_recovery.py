"""The procedures of docs/recovery.md, as they are written there.

Left out of the default run: `python -m pytest tests/integration/test_recovery.py -m soak`, about a minute.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, settle
from tests.support.fleet import Fleet, MakeFleet, make_fleet, wait_for  # noqa: F401  a fixture

pytestmark = pytest.mark.soak
KAFKA_S: Final = 30
COPIED: Final = (
    "touchpoints.web", "touchpoints.app", "touchpoints.crm", "touchpoints.email", "identity.decisions",
    "identity.policy", "segments.definitions",
)  # fmt: skip
CONSTANT: Final = tuple(one for one in DEFINITIONS if one["id"] != "here-now")
"""Segments that time does not change within the test: two moments of it can be compared."""


@cache
def admin_of(fleet: Fleet) -> AdminClient:
    """Kept: who is gone is never answered."""
    return AdminClient({"bootstrap.servers": fleet.bootstrap, "log_level": 0})


def delete_topics(fleet: Fleet, *topics: str) -> None:
    names = [fleet.prefix + topic for topic in topics]
    for future in admin_of(fleet).delete_topics(names).values():
        future.result(KAFKA_S)
    wait_for(lambda: not set(names) & set(admin_of(fleet).list_topics(timeout=KAFKA_S).topics), "deleted")


def set_offsets(fleet: Fleet, topic: str, offset: int, partitions: int) -> None:
    """What `kafka-consumer-groups.sh` does to a group in which nobody is."""
    group = f"{fleet.prefix}elo"
    wanted = [TopicPartition(fleet.prefix + topic, number, offset) for number in range(partitions)]
    asked = admin_of(fleet).alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])
    for future in asked.values():
        future.result(KAFKA_S)


def members(fleet: Fleet) -> dict[str, list[str]]:
    """Profile id → the segments that it is in, as consumers of `segments.current` know it."""
    found: dict[str, list[str]] = {}
    for key in sorted(fleet.compacted("segments.current")):
        profile, _, segment = key.partition("|")
        found.setdefault(profile, []).append(segment)
    return found


def profiles(fleet: Fleet) -> dict[str, Any]:
    """Profile id → who that is, by its last snapshot."""
    kept = ("identifiers", "traits", "counters", "consent", "first_seen", "last_seen")
    return {
        key: {name: one[name] for name in kept} for key, one in fleet.compacted("profiles.unified").items()
    }


def peopled(fleet: Fleet, seed: int) -> Crowd:
    """A deployment with people and segments, idle."""
    fleet.create_topics(2)
    fleet.apply(*CONSTANT)
    crowd = Crowd(seed=seed, people=120)
    fleet.start("a")
    for _ in range(6):
        fleet.send(crowd.take(200))
    settle(fleet)
    return crowd


def test_lost_state_is_computed_again_from_the_history(make_fleet: MakeFleet) -> None:  # noqa: F811
    fleet = make_fleet()
    crowd = peopled(fleet, 91)
    before = fleet.hash(), members(fleet), profiles(fleet)
    assert fleet.worker("a").terminate() == 0

    delete_topics(fleet, "elo.state", "elo.mail")
    fleet.create_topics(2)
    set_offsets(fleet, "elo.touches", 0, 2)
    set_offsets(fleet, "elo.mail", 0, 2)
    fleet.start("a")
    settle(fleet)
    assert (fleet.hash(), members(fleet), profiles(fleet)) == before
    assert_equal_to_oracle_but_for_repetitions(fleet, crowd)


def assert_equal_to_oracle_but_for_repetitions(fleet: Fleet, crowd: Crowd) -> None:
    """People and memberships are right; the changes were told twice, so their sequences repeat."""
    fleet.send(crowd.take(200))
    settle(fleet)
    from tests.support import comparison

    touches = [comparison.touch_of(touchpoint) for touchpoint in crowd.sent]
    now_ms = time.time_ns() // 1_000_000
    people = comparison.everybody(touches, fleet)
    assert not comparison.state_differences(people, fleet.dump(), CONSTANT, now_ms - 3_000, now_ms)


def copy(messages: Iterable[Message], to: Fleet, topic: str) -> None:
    """As something that mirrors topics does it: key, value, headers, partition and time stay."""
    producer = Producer({"bootstrap.servers": to.bootstrap, "message.max.bytes": 9_000_000})
    for message in messages:
        producer.produce(
            to.prefix + topic, message.value(), message.key(), message.partition(),
            timestamp=message.timestamp()[1], headers=message.headers() or [],
        )  # fmt: skip
    assert producer.flush(KAFKA_S) == 0


def test_a_second_cluster_computes_the_same_people_from_a_copy_of_the_input(
    make_fleet: MakeFleet,  # noqa: F811
) -> None:
    first = make_fleet()
    crowd = peopled(first, 92)
    large = max(first.dump(), key=lambda line: len(line["identifiers"]))
    apart = "{type}:{value}".format(**large["identifiers"][0])
    first.elo("identity", "split", apart, "--by", "ana", "--reason", "a test")
    settle(first)
    second = make_fleet().create_topics(4)  # other partitions: they are nobody's business but its own
    for topic in COPIED:
        numbers = {message.partition() for message in first.read(topic)}
        assert max(numbers, default=0) < 4
        copy(first.read(topic), second, topic)
    second.start("b")
    settle(second)
    assert second.hash() == first.hash()
    assert members(second) == members(first)
    assert profiles(second) == profiles(first)
    assert len(profiles(first)) > 50
    assert crowd.sent


def test_a_lost_output_topic_is_written_again_as_people_change(make_fleet: MakeFleet) -> None:  # noqa: F811
    fleet = make_fleet()
    crowd = peopled(fleet, 93)
    assert fleet.worker("a").terminate() == 0
    delete_topics(fleet, "profiles.unified")
    refused = fleet.worker("a").start()
    assert refused.wait_end() == 1
    assert "profiles.unified does not exist, run `elo topics create`" in refused.tail()
    fleet.create_topics(2)
    fleet.start("a")
    fleet.send(crowd.take(300))
    settle(fleet)
    written = profiles(fleet)
    known = {line["profile_id"]: line for line in fleet.dump()}
    assert 0 < len(written) <= len(known)
    assert all(known[one]["counters"] == snapshot["counters"] for one, snapshot in written.items())


def test_mail_of_a_newer_version_ends_a_worker_before_anything_is_committed(
    make_fleet: MakeFleet,  # noqa: F811
) -> None:
    fleet = make_fleet()
    crowd = peopled(fleet, 94)
    before = fleet.hash()
    fleet.producer.produce(f"{fleet.prefix}elo.mail", b"\x02from the future", b"user_id:u94-1", 0)
    assert fleet.producer.flush(KAFKA_S) == 0
    assert fleet.worker("a").wait_end() == 3
    said = fleet.worker("a").tail()
    assert "elo: " in said
    assert fleet.hash() == before
    assert fleet.worker("a").start().wait_end() == 3
    assert crowd.sent
    assert_equal_to_oracle(fleet, crowd.sent, CONSTANT)
