"""Which identity policy a partition uses: the file, the published or the stored one; and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core import adopting
from pipeline.core.errors import ConfigError
from pipeline.core.facet import NEVER
from pipeline.core.links import groups_in
from pipeline.core.matching.document import encode_model
from pipeline.core.node import armed_of, component_key
from pipeline.core.published import Published, decode_published
from pipeline.core.touch import Touch
from pipeline.runtime.adoption import WORK_KEY
from tests.support.evidence import START_MS
from tests.support.memory import Chaos, Cluster, Partition, partition_of
from tests.support.memory_definitions import MemoryControl
from tests.support.memory_policies import MemoryPolicies, published
from tests.support.models import trained

IDENTIFIERS: dict[str, Any] = {"user_id": {}, "device_id": {"limit": 5}}


def document(version: int, device_limit: int = 5, **changes: Any) -> dict[str, Any]:
    identifiers = IDENTIFIERS | {"device_id": {"limit": device_limit}}
    return {"version": version, "identifiers": identifiers} | changes


class Deployment:
    """Two partitions that may be started again with another file."""

    def __init__(self, file: dict[str, Any]) -> None:
        self.policies = MemoryPolicies(file)
        self.cluster = Cluster(
            self.policies.file.policy, size=2, start_ms=START_MS,
            make_definitions=self.policies.changes(MemoryControl()),
        )  # fmt: skip

    def restart(self, file: dict[str, Any], *partitions: int) -> None:
        """Start the workers of some partitions, by default of all, with another file."""
        self.policies.file = published(file)
        for number in partitions or range(2):
            before = self.cluster.partitions[number]
            self.cluster.partitions[number] = Partition(self.cluster, number, before.logs)

    def see(self, number: int, *identifiers: str) -> None:
        touch = Touch(f"e{number}", "web", "page_viewed", START_MS, list(identifiers))
        self.cluster.accept(touch)
        self.cluster.settle()

    def work(self) -> None:
        """Let every partition run, also one that has nothing to do: a worker commits once at its start."""
        for one in self.cluster.partitions:
            one.run_batch()
        self.cluster.settle()

    def versions(self) -> list[int]:
        """Of the policy in force, partition by partition."""
        return [one.definitions.adoption.policy.version for one in self.cluster.partitions]


def test_a_file_that_is_older_than_the_policy_in_force_does_not_count() -> None:
    made = Deployment(document(1))
    made.see(1, "user_id:u", "device_id:d")
    made.policies.publish(document(3))
    made.work()
    assert made.versions() == [3, 3]
    made.restart(document(2))
    made.work()
    assert made.versions() == [3, 3]


def test_a_file_with_a_greater_version_is_taken_like_a_published_policy() -> None:
    made = Deployment(document(1))
    for number in range(3):
        made.see(number, "user_id:u", f"device_id:d{number}")
    made.work()
    made.restart(document(2, device_limit=2), 0)
    made.work()
    assert made.versions() == [2, 1]
    assert made.cluster.partitions[0].definitions.open_steps() == 1, "work waits for the other partition"
    made.restart(document(2, device_limit=2), 1)
    made.work()
    assert made.versions() == [2, 2]
    assert [one.definitions.open_steps() for one in made.cluster.partitions] == [0, 0]
    found = [one for part in made.cluster.partitions for one in part.components() if not one.redirect]
    assert [component.refused for component in found] == [1]


def test_a_file_of_the_version_in_force_with_other_rules_is_refused() -> None:
    made = Deployment(document(1))
    made.work()
    with pytest.raises(ConfigError, match=r"version 1 is in force with other rules.* write version: 2"):
        made.restart(document(1, device_limit=9))
    made.policies.publish(document(1))
    made.restart(document(1, device_limit=9))  # Of equal versions the published one counts.


def test_a_file_that_changes_what_may_not_change_ends_the_worker() -> None:
    made = Deployment(document(1))
    made.work()
    made.restart(document(2, history="60d"))
    with pytest.raises(ConfigError, match="history is 30d in force"):
        made.work()


def test_a_published_policy_that_changes_what_may_not_change_is_left_alone() -> None:
    made = Deployment(document(1))
    made.work()
    made.policies.publish(document(2, history="60d"))
    made.work()
    assert made.versions() == [1, 1]
    made.policies.publish(document(3, device_limit=3))
    made.work()
    assert made.versions() == [3, 3]


def matching(version: int, model: str) -> dict[str, Any]:
    return document(version, matching={"model": model})


def test_a_trained_model_is_kept_with_the_policy_until_another_has_taken_its_place() -> None:
    made = Deployment(document(1))
    made.see(1, "user_id:u")
    made.see(2, "user_id:v")
    made.policies.publish(matching(2, "model-1.json"))
    made.work()
    assert models_in(made) == [["model-1.json"]] * 2
    made.policies.view = (made.policies.view[0], {})  # The topic says nothing any more, nor does the file.
    made.restart(document(1))
    made.work()
    assert made.versions() == [2, 2]
    in_force = made.cluster.partitions[0].definitions.adoption.policy.matching
    assert in_force.trained == trained("model-1.json")
    made.policies.publish(matching(3, "model-2.json"))
    made.work()
    assert models_in(made) == [["model-2.json"]] * 2
    made.policies.publish(matching(4, "shipped"))
    made.work()
    assert models_in(made) == [[], []]


def models_in(made: Deployment) -> list[list[str]]:
    """The models that each partition keeps."""
    known = {encode_model(trained(name)): name for name in ("model-1.json", "model-2.json")}
    return [
        [known[value] for key, value in one.logs.values.items() if key[:1] == WORK_KEY and key != WORK_KEY]
        for one in made.cluster.partitions
    ]


def test_while_a_partition_is_down_the_model_before_is_kept_and_a_batch_that_is_void_takes_none() -> None:
    made = Deployment(matching(1, "model-1.json"))
    made.see(1, "user_id:u")
    made.see(2, "user_id:v")
    made.work()
    made.cluster.down = {1}
    made.policies.publish(matching(2, "model-2.json"))
    made.cluster.partitions[0].run_batch(crash=True)
    assert models_in(made) == [["model-1.json"]] * 2
    made.cluster.settle()
    assert models_in(made) == [["model-1.json", "model-2.json"], ["model-1.json"]]
    made.restart(matching(1, "model-1.json"), 0)
    adoption = made.cluster.partitions[0].definitions.adoption
    assert (adoption.policy.version, adoption.for_intake().version) == (2, 1)
    made.cluster.down = set()
    made.work()
    assert models_in(made) == [["model-2.json"]] * 2


def test_a_file_of_the_version_in_force_with_another_model_is_refused() -> None:
    made = Deployment(matching(1, "model-1.json"))
    made.work()
    made.restart(matching(1, "renamed-1.json"))
    with pytest.raises(ConfigError, match="version 1 is in force with other rules"):
        made.restart(matching(1, "model-2.json"))


def test_the_intake_reads_by_a_policy_that_every_partition_has_taken() -> None:
    made = Deployment(document(1))
    made.see(1, "user_id:u", "device_id:d")
    made.see(2, "user_id:v", "device_id:e")
    made.work()
    wider = document(2) | {"identifiers": IDENTIFIERS | {"ticket": {"limit": 3}}}
    made.policies.publish(wider)
    made.cluster.down = {1}
    made.cluster.settle()
    first = made.cluster.partitions[0].definitions.adoption
    assert (first.policy.version, first.for_intake().version) == (2, 1)
    made.cluster.down = set()
    made.cluster.settle()
    assert (first.policy.version, first.for_intake().version) == (2, 2)
    assert "ticket" in first.for_intake().rules
    made.see(3, "user_id:u", "ticket:t")
    assert made.versions() == [2, 2]


def test_a_shorter_retention_sets_the_timers_of_who_is_kept() -> None:
    made = Deployment(document(1, anonymous_retention="90d"))
    made.see(1, "device_id:d")
    made.policies.publish(document(2, anonymous_retention="7d"))
    made.work()
    values = next(one.logs.values for one in made.cluster.partitions if one.components())
    due_ms = armed_of(values[component_key("device_id:d")])
    assert due_ms != NEVER
    assert due_ms <= made.cluster.now_ms + 7 * 86_400_000


def test_a_component_that_is_read_again_and_again_before_its_turn_is_judged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Deployment(document(1))
    for number in range(3):
        made.see(number, "user_id:u", f"device_id:d{number}")
    made.work()
    made.cluster.chaos = Chaos(forget=1.0)
    here = partition_of("user_id:u", 2)
    made.cluster.down = {1 - here}  # So its turn does not come.
    made.policies.publish(document(2, device_limit=2))
    judged: list[Any] = []
    monkeypatch.setattr(adopting, "groups_in", lambda *given: judged.append(given) or groups_in(*given))
    for number in range(3, 6):
        made.see(number, "user_id:u")
    assert len(judged) == 1
    partition = made.cluster.partitions[here]
    assert partition.resolver.adopter is not None
    assert partition.resolver.adopter.judged == {"user_id:u"}
    partition.definitions.rollback(partition.before)
    assert not partition.resolver.adopter.judged, "what was judged in a void batch is judged again"


def test_a_record_of_the_topic_is_read_back_and_what_is_none_is_refused() -> None:
    made = published(document(4))
    record = Published(made.policy, made.text, "ana", "a test", 5)
    assert decode_published(record.encode()) == record
    for value in (b"", b"[]", b'{"document": "version: 1"}', b'{"document": 1, "by": "", "reason": ""}'):
        with pytest.raises(ConfigError):
            decode_published(value)
