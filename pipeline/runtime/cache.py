"""A bounded cache of decoded nodes that costs one dictionary look-up per hit.

Two generations: what is used moves to the young one; when that is full it becomes the old one and the old one
is dropped. It holds between one and two times `size` of the most recently used entries, without a linked
list.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Node = TypeVar("Node")


class Generations(Generic[Node]):
    """Cache by key. `age` is called between batches only, so a node in use never disappears within one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.young: dict[str, Node] = {}
        self.old: dict[str, Node] = {}

    def get(self, key: str) -> Node | None:
        """The node, or None if it is not cached."""
        node = self.young.get(key)
        if node is None and (node := self.old.pop(key, None)) is not None:
            self.young[key] = node
        return node

    def put(self, key: str, node: Node) -> None:
        """Keep a node as the most recently used one."""
        self.young[key] = node

    def drop(self, key: str) -> None:
        """Forget a node."""
        self.young.pop(key, None)
        self.old.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self.young, self.old = {}, {}

    def is_full(self) -> bool:
        """Whether `age` would drop a generation."""
        return len(self.young) > self.size

    def age(self) -> None:
        """Drop the least recently used generation if the young one is full."""
        if self.is_full():
            self.old, self.young = self.young, {}

    def __len__(self) -> int:
        return len(self.young) + len(self.old)
