"""How comparison records find each other: records and blocks as nodes, and the messages between them.

A record belongs to its identifier and a block to its key; neither ever moves, so what one sends to another
arrives in order. A block knows its records and tells who else is there; a record sends itself to the other,
which compares. Everything that is found is found again from what there is then: whoever changes asks all of
its blocks again, an answer to what is out of date is put right, and a block with too many records finds
nobody until it has fewer. So when nothing is on its way, exactly those match that match by what is known.
Source: docs/decisions/0026-matching-in-the-stream.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from .likeness import Judge, blocks_of, common_blocks, is_in_block, judge_of
from .messages import Compare, Compared, Describe, Enter, Found, Leave, Matches, Message
from .outbox import Nodes
from .outputs import Outputs
from .policy import Policy
from .policy_matching import records_max

RECORD_KEY: Final = b"r"
BLOCK_KEY: Final = b"b"
CROWDED: int = 4
"""A block knows its records up to so many times the number of those that find each other; above that it only
counts them, and finds nobody again until all have left. Not Final: tests make it small."""
SHORTENED_MAX: Final = 20_000
"""Names that are kept with their short form, 5 MB: a name comes in each block that two records share."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


def record_key(identifier: str) -> bytes:
    """State key of a record node."""
    return RECORD_KEY + identifier.encode()


def block_key(block: str) -> bytes:
    """State key of a block node."""
    return BLOCK_KEY + block.encode()


@lru_cache(maxsize=SHORTENED_MAX)
def short(identifier: str) -> int:
    """Eight bytes that stand for an identifier among those that were asked."""
    return int.from_bytes(blake2b(identifier.encode(), digest_size=8).digest(), "big")


class RecordNode:
    """The comparison record of an identifier, and whose records match it.

    `record`: see likeness.py, empty while there is none; `mark`: by which settings it is compared; `stamp`:
    of this record; `by`: root of the component that told it; `edition`: of what was told to the component.
    `full`: its blocks that find nobody. `asked`: who was asked to compare with this record, in short.
    `pairs`: identifier → [weight, blocks that both are in], also where all of these are full.
    """

    __slots__ = ("asked", "by", "edition", "full", "mark", "pairs", "record", "stamp")

    def __init__(self) -> None:
        self.record = ""
        self.mark = ""
        self.stamp = 0
        self.by = ""
        self.edition = 0
        self.full: list[str] = []
        self.asked: list[int] = []
        self.pairs: dict[str, tuple[float, list[str]]] = {}

    def edges(self) -> dict[str, float]:
        """Whose records match this one and are found: identifier → weight."""
        full = set(self.full)
        return {one: weight for one, (weight, blocks) in self.pairs.items() if not full.issuperset(blocks)}

    def encode(self) -> bytes:
        """The stored form."""
        return _encode([self.record, self.mark, self.stamp, self.by, self.edition, self.full, self.asked,
                        self.pairs])  # fmt: skip

    @classmethod
    def decode(cls, value: bytes) -> RecordNode:
        """Inverse of `encode`."""
        node = cls()
        stored: list[Any] = _decode(value)
        (node.record, node.mark, node.stamp, node.by, node.edition, node.full, node.asked,
         node.pairs) = stored  # fmt: skip
        return node


class BlockNode:
    """The records with one blocking key. `open`: they find each other. `closed_once`: it was not, some time.

    `known`: its identifiers; None once there were too many to know them all. `count`: how many there are.
    """

    __slots__ = ("closed_once", "count", "known", "open")

    def __init__(self) -> None:
        self.count = 0
        self.open = True
        self.closed_once = False
        self.known: list[str] | None = []

    def encode(self) -> bytes:
        """The stored form."""
        return _encode([self.count, self.open, self.closed_once, self.known])

    @classmethod
    def decode(cls, value: bytes) -> BlockNode:
        """Inverse of `encode`."""
        node = cls()
        stored: list[Any] = _decode(value)
        node.count, node.open, node.closed_once, node.known = stored
        return node


class Comparing:
    """Handles the messages of records and blocks of one partition."""

    def __init__(
        self, policy: Policy, nodes: Nodes, outputs: Outputs, send: Callable[[str, Message], None]
    ) -> None:
        self._nodes = nodes
        self._outputs = outputs
        self._send = send
        self._judge: Judge | None = None
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Compare by this policy from now on."""
        self._judge = judge_of(policy)

    def receive(self, to: str, message: Message, now_ms: int) -> None:
        """A message to a record or to a block."""
        if isinstance(message, Compare):
            self._compare(to, message, now_ms)
        elif isinstance(message, Found):
            self._found(to, message, now_ms)
        elif isinstance(message, Enter):
            self._enter(to, message)
        elif isinstance(message, Compared):
            self._compared(to, message, now_ms)
        elif isinstance(message, Leave):
            self._leave(to, message)
        elif isinstance(message, Describe):
            self._describe(to, message, now_ms)

    # -- records --------------------------------------------------------------------------------------------

    def _load(self, identifier: str) -> RecordNode | None:
        value = self._nodes.value(record_key(identifier))
        return None if value is None else RecordNode.decode(value)

    def _save(self, identifier: str, node: RecordNode, before: Mapping[str, float], now_ms: int) -> None:
        """Keep a record, and tell its component whom it matches if these are others than `before`."""
        if (edges := node.edges()) != before:
            self._tell(identifier, node, edges, now_ms)
        self._nodes.put(record_key(identifier), node.encode())

    def _tell(self, identifier: str, node: RecordNode, edges: dict[str, float], now_ms: int) -> None:
        owner = self._nodes.identifier(identifier)
        if owner is not None and owner.owner:
            node.edition = max(node.edition + 1, now_ms)
            self._send(owner.owner, Matches(identifier, node.edition, edges))

    def _describe(self, identifier: str, told: Describe, now_ms: int) -> None:
        judge = self._judge
        record, mark = (told.record, judge.mark) if judge is not None else ("", "")
        node = self._load(identifier)
        if node is None:
            if not record:
                return
            node = RecordNode()
        node.by = told.component
        if (node.record, node.mark) != (record, mark):
            self._change(identifier, node, record, mark, now_ms)
        else:
            self._save(identifier, node, node.edges(), now_ms)

    def _change(self, identifier: str, node: RecordNode, record: str, mark: str, now_ms: int) -> None:
        """Another record, or none: everybody who may match it now, or did, is to compare with it."""
        old, new = (dict.fromkeys(blocks_of(one)) for one in (node.record, record))
        before, judged_anew = node.edges(), mark != node.mark
        node.record, node.mark, node.stamp = record, mark, max(node.stamp + 1, now_ms)
        node.full = [block for block in node.full if block in new]
        for block in old:
            if block not in new:
                self._send(block, Leave(identifier))
        node.asked = [short(other) for other in node.pairs]
        for other in node.pairs:
            self._ask(identifier, node, other)
        for block in new:
            self._send(block, Enter(identifier, block not in old))
        if not record:
            node.pairs = {}
        elif judged_anew and before:
            self._tell(identifier, node, before, now_ms)  # What follows from them may be something else.
        self._save(identifier, node, before, now_ms)

    def _ask(self, identifier: str, node: RecordNode, other: str) -> None:
        self._send(other, Compare(identifier, node.stamp, node.record, other in node.pairs))

    def forget(self, identifier: str, component: str, *, wholly: bool) -> None:
        """A component expired. `wholly`: the identifier is forgotten; else only what this component told."""
        node = self._load(identifier)
        if node is None or not (wholly or node.by == component):
            return
        for block in blocks_of(node.record):
            self._send(block, Leave(identifier))
        for other in node.pairs:
            self._send(other, Compare(identifier, node.stamp, "", False))
        self._nodes.put(record_key(identifier), None)

    def _found(self, identifier: str, found: Found, now_ms: int) -> None:
        node = self._load(identifier)
        if node is None or not is_in_block(node.record, found.block):
            return  # It has left since.
        before, asked = node.edges(), set(node.asked)
        changes = found.open == (found.block in node.full)
        if not found.open:
            if not changes:
                return
            node.full.append(found.block)
        elif changes:
            node.full.remove(found.block)
        for other in found.identifiers:
            if (name := short(other)) not in asked:
                asked.add(name)
                node.asked.append(name)
                changes = True
            elif not found.again:
                continue
            self._ask(identifier, node, other)
        if changes:
            self._save(identifier, node, before, now_ms)

    def _compare(self, identifier: str, asked: Compare, now_ms: int) -> None:
        node, judge, other = self._load(identifier), self._judge, asked.identifier
        weight: float | None = None
        blocks: list[str] = []
        if node is not None and node.record and asked.record and judge is not None:
            self._outputs.outbox.compared += 1
            weight = judge.weigh(node.record, asked.record)
            if weight >= judge.matching.review_above:
                blocks = common_blocks(node.record, asked.record)
        if not blocks:
            weight = None
        if asked.record and (weight is not None or asked.held):
            self._send(other, Compared(identifier, asked.stamp, weight, blocks))
        if node is not None:
            self._pair(identifier, node, other, weight, blocks, now_ms)

    def _compared(self, identifier: str, answer: Compared, now_ms: int) -> None:
        node, other = self._load(identifier), answer.identifier
        if node is not None and node.record and node.stamp == answer.stamp:
            self._pair(identifier, node, other, answer.weight, answer.blocks, now_ms)
        elif answer.weight is not None:  # The other has matched a record that is not there any more.
            if node is None:
                self._send(other, Compare(identifier, 0, "", False))
            else:
                held = other in node.pairs
                self._send(other, Compare(identifier, node.stamp, node.record, held))

    def _pair(
        self,
        identifier: str,
        node: RecordNode,
        other: str,
        weight: float | None,
        blocks: list[str],
        now_ms: int,
    ) -> None:
        """Keep that two records match, or that they do not."""
        before = node.edges()
        if weight is not None:
            node.pairs[other] = (weight, blocks)
        elif node.pairs.pop(other, None) is None:
            return
        self._save(identifier, node, before, now_ms)

    # -- blocks ---------------------------------------------------------------------------------------------

    def _load_block(self, block: str) -> BlockNode:
        value = self._nodes.value(block_key(block))
        return BlockNode() if value is None else BlockNode.decode(value)

    def _records_max(self) -> int:
        return records_max(None if self._judge is None else self._judge.matching)

    def turn(self, block: str) -> None:
        """Open or close a block by the policy in force: who entered it may have come before that."""
        node = self._load_block(block)
        if self._turn(block, node):
            self._nodes.put(block_key(block), node.encode())

    def _enter(self, block: str, entering: Enter) -> None:
        node, one = self._load_block(block), entering.identifier
        if entering.fresh:
            node.count += 1
            if node.known is not None:
                node.known.append(one)
        if not self._turn(block, node) and node.known is not None:
            others = [other for other in node.known if other != one] if node.open else []
            if others or node.closed_once:
                self._send(one, Found(block, others, node.open))
        elif node.known is None:
            self._send(one, Found(block, [], False))
        if node.known is not None and node.count > self._records_max() * CROWDED:
            node.known = None
        self._nodes.put(block_key(block), node.encode())

    def _leave(self, block: str, leaving: Leave) -> None:
        node = self._load_block(block)
        node.count -= 1
        if node.known is not None:
            node.known.remove(leaving.identifier)
        elif node.count == 0:
            node.known = []
        self._turn(block, node)
        empty = node.count == 0 and not node.closed_once
        self._nodes.put(block_key(block), None if empty else node.encode())

    def _turn(self, block: str, node: BlockNode) -> bool:
        """Open or close a block by the number of its records, and tell these. Returns whether that was so."""
        is_open = node.count <= self._records_max() and node.known is not None
        if is_open == node.open:
            return False
        node.open = is_open
        known = sorted(node.known or ())
        if not is_open:
            node.closed_once = True
            self._outputs.outbox.closed_blocks += 1
        for at, one in enumerate(known, 1):
            self._send(one, Found(block, known[at:] if is_open else [], is_open, is_open))
        return True
