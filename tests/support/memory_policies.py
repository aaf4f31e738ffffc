"""An identity policy that changes while a cluster runs: the real `Adoption` over a control in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from pydantic import SecretStr

from pipeline.core.node import Component, component_key, page_key
from pipeline.core.policy import Policy
from pipeline.core.published import POLICY_KEY, Published, decode_published
from pipeline.core.rehearsal import Rehearsal
from pipeline.core.segments.parse import definition_from_json
from pipeline.runtime.adoption import Adoption
from pipeline.runtime.changes import Changes
from pipeline.runtime.pace import Pace
from pipeline.runtime.rehearse import rehearsing
from pipeline.settings import Settings
from tests.support.memory import PROFILE_KEY, Cluster, Partition
from tests.support.memory_definitions import MemoryControl, MemoryDefinitions
from tests.support.models import model_in


def published(document: Mapping[str, Any]) -> Published:
    """A policy as it stands on its topic. JSON is YAML."""
    text = orjson.dumps(document).decode()
    record = {"document": text, "by": "ana", "reason": "a test", "published_at": 1}
    return decode_published(orjson.dumps(record | {"model": model_in(document)}))


class MemoryPolicies:
    """What `identity.policy` holds, and the file with which the workers are started.

    `view`: next offset, the newest record by key.
    """

    def __init__(self, file: Mapping[str, Any]) -> None:
        self.file = published(file)
        self.view: tuple[int, dict[str, Published]] = (0, {})

    def publish(self, document: Mapping[str, Any]) -> Policy:
        """Publish a policy."""
        record = published(document)
        self.view = self.view[0] + 1, {POLICY_KEY.decode(): record}
        return record.policy

    def changes(self, control: MemoryControl) -> Callable[[Partition], MemoryChanges]:
        """What makes the changes of a partition when its worker is started."""
        return lambda partition: MemoryChanges(self, control, partition)


class MemoryChanges(Changes):
    """The changes of one partition."""

    def __init__(self, policies: MemoryPolicies, control: MemoryControl, partition: Partition) -> None:
        store: Any = partition.store
        number, size = partition.number, partition.cluster.size
        self._partition = partition
        definitions = MemoryDefinitions(control, partition)
        control_of_policies: Any = policies
        super().__init__(
            Adoption(control_of_policies, policies.file, number, size, store, partition.resolver, Pace()),
            definitions,
        )

    def run_step(self, now_ms: int) -> None:
        """Do one step of the work."""
        if self.waiting():
            asyncio.run(self.step(now_ms, self._flush_all))

    async def _flush_all(self) -> None:
        self._partition.flush()


def rehearsed(cluster: Cluster, after: Policy, definitions: Iterable[Mapping[str, Any]]) -> Rehearsal:
    """What `elo identity rehearse` does, over the state of a cluster; partitions are added up."""
    documents = [definition_from_json(one).to_json() for one in definitions]
    settings = Settings(profile_key=SecretStr(PROFILE_KEY.decode()))
    total = Rehearsal()
    for partition in cluster.partitions:
        judge = rehearsing(settings, cluster.policy, after, documents, cluster.now_ms)
        for one in partition.components():
            value = partition.logs.values[component_key(one.root)]
            judge.see(one.root, value, lambda component, p=partition: load_pages(component, p))
        total.take(judge.result)
    total.compare(cluster.policy, after)
    return total


def load_pages(component: Component, partition: Partition) -> None:
    """Take in the pages of a component."""
    for page in range(1, len(component.pages)):
        component.load_page(page, partition.logs.values[page_key(component.root, page)])
