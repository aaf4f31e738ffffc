"""What `elo state dump` would print if Elo were right: made from the simulator's truth."""

from __future__ import annotations

from typing import Any

from connectors.shop import SEGMENTS, Shop


def perfect_state(shop: Shop, at_ms: int) -> list[dict[str, Any]]:
    """One mapping a profile, in the contract's form."""
    profiles = []
    for number, group in enumerate(shop.truth.groups()):
        identifiers = [
            dict(zip(("type", "value"), one.split(":", 1), strict=True)) for one in group.identifiers
        ]
        profiles.append({
            "profile_id": f"{number:032x}",
            "identifiers": identifiers,
            "traits": {name: value for name, (_, value) in group.traits.items()},
            "consent": {purpose: group.granted(purpose) for purpose in group.words},
            "counters": group.counters(),
            "memberships": {name: {"sequence": 1, "since": at_ms}
                            for name, inside in SEGMENTS.items() if inside(group, at_ms)},
            "aliases": [],
        })  # fmt: skip
    return profiles
