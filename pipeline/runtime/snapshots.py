"""From decided outputs to the values on the output topics."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import orjson

from ..core.outbox import Review, Snapshot
from ..wire.avro import encode_record
from ..wire.records import Profile, encode_profile


def profile_value(snapshot: Snapshot) -> bytes | None:
    """The value for `profiles.unified`; None is a tombstone."""
    profile = snapshot.profile
    if profile is None or profile.entry is None:
        return None
    fold = profile.fold
    return encode_profile(
        Profile(
            profile_id=snapshot.profile_id,
            identifiers=profile.identifiers,
            traits=orjson.dumps(snapshot.traits()).decode() if fold.traits or snapshot.computed else "{}",
            counters=fold.counters,
            consent={purpose: word[0] for purpose, word in fold.consent.items()},
            memberships={
                segment: (membership[1], membership[2])
                for segment, membership in profile.entry.memberships.items()
                if membership[0]
            },
            aliases=snapshot.aliases,
            first_seen=profile.anchor[0],
            last_seen=fold.last_seen,
            updated_at=snapshot.updated_at,
            policy_version=snapshot.policy_version,
        )
    )


PAIR: Final = "pair"
"""Of a review: two identifiers whose records match, not well enough; whatever component they are in."""


def review_value(review: Review) -> bytes:
    """The value for `identity.review`."""
    what = review.identifiers if review.kind == PAIR else [review.component]
    name = " ".join((review.kind, *what)).encode()
    record: dict[str, Any] = {
        "review_id": blake2b(name, digest_size=16).hexdigest(),
        "kind": review.kind,
        "component": review.component,
        "profile_ids": [],
        "identifiers": [
            dict(zip(("type", "value"), one.split(":", 1), strict=True)) for one in review.identifiers
        ],
        "score": review.score,
        "evidence": orjson.dumps({"detail": review.detail}).decode(),
        "decided_at": review.decided_at,
        "policy_version": review.policy_version,
    }
    return encode_record("review", record)
