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
from pipeline.core.touch import Touch

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

    def __init__(self, policy: Policy, touches: Iterable[str], size: int = 3) -> None:
        """`touches`: the identifiers of each, apart by spaces, in any order."""
        self.policy = policy
        self.cluster = Cluster(policy, size=size, start_ms=START_MS)
        for number, identifiers in enumerate(touches):
            ranked = sorted(identifiers.split(), key=policy.order_of)
            self.cluster.accept(Touch(f"e{number}", "web", "page_viewed", START_MS + number * 1_000, ranked))
            self.cluster.settle()

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
