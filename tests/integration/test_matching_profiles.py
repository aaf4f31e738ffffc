"""Matching models and the published profiles of a deployment: learned from them, and compared on them."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.wire.avro import encode_record
from tests.support.deployment import Deployment


def profile(profile_id: str, name: str, birth: str, *identifiers: tuple[str, str]) -> bytes:
    return encode_record("profile", {
        "profile_id": profile_id, "traits": json.dumps({"name": name, "birth_date": birth}),
        "identifiers": [{"type": kind, "value": value} for kind, value in identifiers],
        "counters": {}, "consent": {}, "aliases": [], "memberships": {}, "first_seen": 1, "last_seen": 2,
        "updated_at": 3, "policy_version": 1,
    })  # fmt: skip


def test_a_model_is_learned_from_the_profiles_and_compared_on_them(
    deployment: Deployment, tmp_path: Path
) -> None:
    nobody = deployment.elo("identity", "train", "-o", tmp_path / "model.json")
    assert (nobody.code, "holds no profile" in nobody.err) == (1, True)
    for profile_id, name, birth, phone in (
        ("p1", "Genoveva Sampaio", "1950-01-07", "+5511955554444"),
        ("p2", "Genoveva Sanpaio", "07/01/1950", "+5511955554444"),
        ("p3", "Maria da Silva", "1980-05-06", "+5511911112222"),
        ("p4", "Gone Away", "1980-05-06", "+5511911113333"),
        ("p4", "", "", ""),
    ):
        value = profile(profile_id, name, birth, ("phone", phone), ("user_id", profile_id)) if name else None
        deployment.send("profiles.unified", value, profile_id, 1)
    trained = deployment.elo("identity", "train", "-o", tmp_path / "model.json", "--json").document
    assert trained["records"] == 3
    assert json.loads((tmp_path / "model.json").read_bytes())["version"] == trained["version"]
    found = deployment.elo("identity", "compare", "--after", tmp_path / "model.json", "--json").document
    assert found["records"] == 3
    assert found["version"]["after"] == trained["version"]
    assert found["people"] == {"before": 2, "after": 2}
    assert found["gained"]["count"] == found["lost"]["count"] == 0
