"""An identity policy that changes while a cluster runs: the real `Adoption` over a control in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.core.policy import Policy
from pipeline.core.published import POLICY_KEY, Published, decode_published
from pipeline.runtime.adoption import Adoption
from pipeline.runtime.changes import Changes
from tests.support.memory import Partition
from tests.support.memory_definitions import MemoryControl, MemoryDefinitions


def published(document: Mapping[str, Any]) -> Published:
    """A policy as it stands on its topic. JSON is YAML."""
    text = orjson.dumps(document).decode()
    value = orjson.dumps({"document": text, "by": "ana", "reason": "a test", "published_at": 1})
    return decode_published(value)


class MemoryPolicies:
    """What `identity.policy` holds. `view`: next offset, the newest record by key."""

    def __init__(self) -> None:
        self.view: tuple[int, dict[str, Published]] = (0, {})

    def publish(self, document: Mapping[str, Any]) -> Policy:
        """Publish a policy."""
        record = published(document)
        self.view = self.view[0] + 1, {POLICY_KEY.decode(): record}
        return record.policy


class MemoryChanges(Changes):
    """The changes of one partition. `file`: the policy with which its worker was started."""

    def __init__(
        self, policies: MemoryPolicies, file: Published, control: MemoryControl, partition: Partition
    ) -> None:
        store: Any = partition.store
        number, size = partition.number, partition.cluster.size
        self._partition = partition
        definitions = MemoryDefinitions(control, partition)
        control_of_policies: Any = policies
        super().__init__(
            Adoption(control_of_policies, file, number, size, store, partition.resolver), definitions
        )

    def run_step(self, now_ms: int) -> None:
        """Do one step of the work."""
        if self.waiting():
            asyncio.run(self.step(now_ms, self._flush_all))

    async def _flush_all(self) -> None:
        self._partition.flush()
