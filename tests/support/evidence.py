"""Evidence as the real resolver makes it from touches, without a broker."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.core.evidence import Evidence, evidence_of
from pipeline.core.node import Component, Profile
from pipeline.core.outbox import Outbox
from pipeline.core.outputs import Outputs
from pipeline.core.policy import Policy, parse_policy
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.definition import Definition
from pipeline.core.touch import Touch

from .decision_oracle import Ruled
from .memory import PROFILE_KEY, Cluster

ROOT: Final = Path(__file__).resolve().parents[2]
START_MS: Final = 1_760_000_000_000


def shipped_policy(**changed: dict[str, Any]) -> Policy:
    """The shipped identity policy, with further settings of some identifier types."""
    document = yaml.safe_load((ROOT / "pipeline/defaults/identity.yaml").read_text("utf-8"))
    for kind, settings in changed.items():
        document["identifiers"][kind].update(settings)
    return parse_policy(document)


class People:
    """A few partitions, and the people that touches make on them. Touch n is `en`, n s after START_MS."""

    def __init__(
        self,
        policy: Policy,
        touches: Iterable[str] = (),
        definitions: Iterable[Definition] = (),
        size: int = 3,
    ) -> None:
        """`touches`: the identifiers of each, apart by spaces, in any order."""
        self.policy = policy
        self.cluster = Cluster(policy, definitions, size=size, start_ms=START_MS)
        self.touches: list[Touch] = []
        for identifiers in touches:
            self.touch(identifiers)

    def touch(
        self, identifiers: str, kind: str = "page_viewed", *, later_ms: int = 0, **fields: Any
    ) -> Touch:
        """One more touch, absorbed at its own instant. `fields`: others of `Touch`."""
        number = len(self.touches)
        ranked = sorted(identifiers.split(), key=self.policy.order_of)
        touch = Touch(f"e{number}", "web", kind, START_MS + number * 1_000 + later_ms, ranked, **fields)
        self.touches.append(touch)
        self.cluster.advance(touch.occurred_at)
        self.cluster.accept(touch)
        self.cluster.settle()
        return touch

    def decide(self, action: str, decision_id: str, identifiers: str, *, minutes: int = 60) -> Ruled:
        """A decision of Maria, so long after START_MS, absorbed at its instant."""
        ranked = tuple(sorted(identifiers.split(), key=self.policy.order_of))
        ruled = Ruled(decision_id, action, START_MS + minutes * 60_000, ranked)
        self.cluster.advance(ruled.at_ms)
        for touch in ruled.touches(ranked):
            self.cluster.accept(touch)
        self.cluster.settle()
        return ruled

    def owned(self) -> dict[str, Component]:
        """Identifier → the live component that owns it."""
        return {
            identifier: component
            for partition in self.cluster.partitions
            for component in partition.components()
            for identifier in component.identifiers
        }

    def component(self, identifier: str) -> Component:
        """The live component that owns an identifier."""
        return self.owned()[identifier]

    def profiles(self, component: Component) -> list[Profile]:
        """Its profiles, computed as a worker does."""
        nodes: Any = None
        outputs = Outputs(self.policy, Catalogue(()), nodes, PROFILE_KEY, 0)
        outputs.outbox = Outbox()
        return outputs.profiles(component)

    def evidence(self, identifier: str) -> Evidence:
        """The evidence of the component that owns an identifier."""
        component = self.component(identifier)
        return evidence_of(component, self.profiles(component), self.policy)
