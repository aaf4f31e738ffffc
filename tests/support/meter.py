"""How much work a cluster in memory does: messages handled and sent, bytes written. Never time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.core.node import COMPONENT_KEY, IDENTIFIER_KEY, PAGE_KEY
from tests.support.memory import Cluster, Partition
from tests.support.memory_store import MemoryStore


@dataclass(slots=True)
class Work:
    """Messages handled within batches, messages sent by mail, bytes of state written."""

    messages: int = 0
    written: int = 0


class MeteredStore(MemoryStore):
    """Counts what every commit writes."""

    written = 0

    def commit(self, rng: Any, forget: float) -> None:
        for node in self.changed_identifiers.values():
            self.written += len(node.encode())
        for component in self.changed_components.values():
            self.written += len(component.encode())
            self.written += sum(len(component.encode_page(page)) for page in component.dirty_pages if page)
        super().commit(rng, forget)


class Metered(Partition):
    """A partition that counts its work."""

    def open_store(self) -> Any:
        super().open_store()
        return MeteredStore(self.logs.values, self.logs.history)

    def run_batch(self, crash: bool = False) -> None:
        super().run_batch(crash)
        self.handled = getattr(self, "handled", 0) + self.resolver.queue.taken


def work_of(cluster: Cluster) -> Work:
    """All work so far."""
    return Work(
        sum(getattr(one, "handled", 0) + len(one.logs.mail) for one in cluster.partitions),
        sum(one.store.written for one in cluster.partitions),
    )


def largest_records(cluster: Cluster) -> dict[bytes, int]:
    """Kind of node → bytes of the largest record of that kind."""
    found = dict.fromkeys((IDENTIFIER_KEY, COMPONENT_KEY, PAGE_KEY), 0)
    for partition in cluster.partitions:
        for key, value in partition.logs.values.items():
            if key[:1] in found:
                found[key[:1]] = max(found[key[:1]], len(value))
    return found
