"""A bounded cache of decoded nodes: the least recently used go first.

They go between batches only, so a node in use never disappears within one.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Generic, TypeVar

Node = TypeVar("Node")


class Recent(Generic[Node]):
    """Cache by key. It may grow beyond `size` until `shrink` is called."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._nodes: OrderedDict[str, Node] = OrderedDict()

    def get(self, key: str) -> Node | None:
        """The node, or None if it is not cached."""
        nodes = self._nodes
        node = nodes.get(key)
        if node is not None:
            nodes.move_to_end(key)
        return node

    def put(self, key: str, node: Node) -> None:
        """Keep a node as the most recently used one."""
        nodes = self._nodes
        nodes[key] = node
        nodes.move_to_end(key)

    def put_aside(self, key: str, node: Node) -> None:
        """Keep a node as the first one to be forgotten."""
        nodes = self._nodes
        nodes[key] = node
        nodes.move_to_end(key, last=False)

    def drop(self, key: str) -> None:
        """Forget a node."""
        self._nodes.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._nodes = OrderedDict()

    def sample(self, count: int) -> list[Node]:
        """About `count` nodes that stand for all, those used lately and those not."""
        nodes = self._nodes
        return list(islice(nodes.values(), 0, None, len(nodes) // count + 1))

    def shrink(self) -> None:
        """Forget what was not used for longest, down to `size`."""
        nodes = self._nodes
        while len(nodes) > self.size:
            nodes.popitem(last=False)

    def __len__(self) -> int:
        return len(self._nodes)
