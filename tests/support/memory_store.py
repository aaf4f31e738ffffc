"""A partition's committed values in a dict, and the nodes of a batch above them: the resolver's `Nodes`.

Every changed node is encoded at the end of a batch. Which decoded nodes live on is the caller's choice, so
that both the stored form and the form in memory are exercised.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from pipeline.core.node import (
    COMPONENT_KEY,
    Component,
    IdentifierNode,
    component_key,
    identifier_key,
    page_key,
)

Values = dict[bytes, bytes]


class MemoryStore:
    """Values of one partition, with what `pipeline/runtime/definitions.py` asks of a store.

    `values` is the committed state and outlives this object; everything else is lost in a crash.
    """

    def __init__(self, values: Values, history: dict[bytes, bytes]) -> None:
        self.values = values
        self.history = history
        self.components: dict[str, Component] = {}
        self.identifiers: dict[str, IdentifierNode] = {}
        self._begin_batch()

    def _begin_batch(self) -> None:
        self.changed_components: dict[str, Component] = {}
        self.changed_identifiers: dict[str, IdentifierNode] = {}
        self.dropped: dict[bytes, None] = {}
        self.extra: dict[bytes, bytes | None] = {}
        self.seen: dict[bytes, bytes] = {}

    def has_components(self) -> bool:
        """Whether anybody is known here."""
        return bool(self.changed_components) or any(key.startswith(COMPONENT_KEY) for key in self.values)

    # -- nodes
    # ------------------------------------------------------------------------------------------------

    def identifier(self, identifier: str) -> IdentifierNode | None:
        """The node of an identifier, or None."""
        if identifier not in self.identifiers:
            key = identifier_key(identifier)
            if key in self.dropped or key not in self.values:
                return None
            self.identifiers[identifier] = IdentifierNode.decode(self.values[key])
        return self.identifiers[identifier]

    def component(self, root: str, passing: bytes | None = None) -> Component | None:
        """The component of a root with all its pages, or None."""
        if root not in self.components:
            key = component_key(root)
            if key in self.dropped or key not in self.values:
                return None
            component = Component.decode(root, self.values[key])
            for page in range(1, 0 if component.redirect else len(component.pages)):
                component.load_page(page, self.values[page_key(root, page)])
            self.components[root] = component
        return self.components[root]

    def save_identifier(self, identifier: str, node: IdentifierNode) -> None:
        """Keep a new or changed identifier node."""
        self.identifiers[identifier] = self.changed_identifiers[identifier] = node

    def save_component(self, component: Component) -> None:
        """Keep a new or changed component."""
        self.components[component.root] = self.changed_components[component.root] = component

    def drop_identifier(self, identifier: str) -> None:
        """Forget an identifier node."""
        self.identifiers.pop(identifier, None)
        self.changed_identifiers.pop(identifier, None)
        self.dropped[identifier_key(identifier)] = None

    def drop_component(self, component: Component) -> None:
        """Forget a component and its pages."""
        self.drop_pages(component)
        self.components.pop(component.root, None)
        self.changed_components.pop(component.root, None)
        self.dropped[component_key(component.root)] = None

    def drop_pages(self, component: Component) -> None:
        """Forget the facet pages of a component."""
        for page in range(1, 0 if component.redirect else len(component.pages)):
            self.dropped[page_key(component.root, page)] = None

    # -- values
    # ------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """The committed value of a key, of the state or of the history."""
        return self.values.get(key) or self.history.get(key)

    def value(self, key: bytes) -> bytes | None:
        """The value of a key, as the batch has left it."""
        return self.extra[key] if key in self.extra else self.values.get(key)

    def get_all(self, keys: list[bytes]) -> list[bytes | None]:
        """The committed values of many keys."""
        return [self.get(key) for key in keys]

    def newest(self, key: bytes, on_disk: bytes) -> bytes | None:
        """The committed value of a key of which the disk has this one."""
        return on_disk

    def put(self, key: bytes, value: bytes | None) -> None:
        """Change a value that is no component and no identifier, as part of the batch."""
        self.extra[key] = value

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Committed keys and values with a prefix, ascending, from `start` on."""
        for key in sorted(self.values):
            if key.startswith(prefix) and key >= (start or prefix):
                yield key, self.values[key]

    # -- life of a batch
    # ---------------------------------------------------------------------------------------

    def commit(self, rng: random.Random, forget: float) -> None:
        """Encode what has changed. Each decoded node is then forgotten with probability `forget`."""
        records: dict[bytes, bytes | None] = dict.fromkeys(self.dropped)
        for identifier, node in self.changed_identifiers.items():
            records[identifier_key(identifier)] = node.encode()
        for root, component in self.changed_components.items():
            for page in sorted(component.dirty_pages - {0}):
                records[page_key(root, page)] = component.encode_page(page)
            records[component_key(root)] = component.encode()
            component.written()
        for key, value in {**records, **self.extra}.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        self.history.update(self.seen)
        for cache in (self.components, self.identifiers) if forget else ():
            for name in [name for name in cache if rng.random() < forget]:
                del cache[name]  # type: ignore[attr-defined]
        self._begin_batch()
