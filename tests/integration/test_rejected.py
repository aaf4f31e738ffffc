"""`elo rejected`: mend what was rejected and send it again, once, also when the command is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.deployment import ROOT, Deployment, touchpoint
from tests.support.fleet import MakeFleet, make_fleet  # noqa: F401  a fixture

HEADERS = {"elo.reason": "invalid_field", "elo.field": "source", "elo.detail": "unknown source"}
KILLED_REDRIVE = """
import os, signal, sys
from connectors.workshop import letters
from pipeline.__main__ import main
real = letters.Producer

class Killed(real):
    commits = 0
    def commit_transaction(self, *arguments):
        Killed.commits += 1
        if Killed.commits == {at} and {before}:
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit_transaction(*arguments)
        if Killed.commits == {at}:
            os.kill(os.getpid(), signal.SIGKILL)

letters.Producer, letters.BATCH_RECORDS = Killed, 10
main()
"""


def reject(deployment: Deployment, count: int, **fields: Any) -> None:
    """Put letters on the topic, as the intake does."""
    for number in range(count):
        value = orjson.dumps(touchpoint(number, source="shop", context={"library": "shop-sdk/2"}, **fields))
        place = {
            "elo.topic": f"{deployment.prefix}touchpoints.web",
            "elo.partition": "0",
            "elo.offset": str(number),
        }
        deployment.producer.produce(
            f"{deployment.prefix}touchpoints.rejected", value, b"k", number % 2,
            headers={**HEADERS, **place, "mine": "kept"},
        )  # fmt: skip
    assert deployment.producer.flush(10) == 0


@pytest.mark.parametrize(
    "before",
    [pytest.param(True, id="before the commit"),
     pytest.param(False, id="after the commit", marks=pytest.mark.soak)],
)  # fmt: skip
def test_a_killed_redrive_is_finished_by_the_next_and_nothing_is_sent_twice(
    deployment: Deployment, tmp_path: Path, before: bool
) -> None:
    reject(deployment, 35)
    fix = tmp_path / "fix.yaml"
    fix.write_text("steps: [{set: source, value: web}]")
    (group,) = deployment.elo("rejected", "list", "--json").documents
    assert (group["letters"], group["producer"], group["reason"]) == (35, "shop-sdk/2", "invalid_field")
    redrive = ("rejected", "redrive", group["group"], "--fix", str(fix), "--by", "ana", "--reason", "a test")
    assert deployment.elo(*redrive[:3], *redrive[5:]).code == 1, "without a fix they would be rejected again"
    assert deployment.read("touchpoints.web") == []

    program = KILLED_REDRIVE.format(at=2, before=before)
    killed = subprocess.run(
        [sys.executable, "-c", program, *deployment.options, *redrive],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    done = deployment.elo(*redrive, "--json")
    assert done.document == {"redriven": 25 if before else 15, "left": 0}
    assert deployment.elo("rejected", "list", "--json").out == ""
    assert deployment.elo(*redrive).code == 1, "the group is empty"

    sent = deployment.read("touchpoints.web")
    documents = [json.loads(message.value() or b"") for message in sent]
    assert sorted(one["event_id"] for one in documents) == sorted(f"e{number}" for number in range(35))
    assert {one["source"] for one in documents} == {"web"}
    assert {one["occurred_at"] for one in documents} == {touchpoint()["occurred_at"]}
    names = {name for message in sent for name, _ in message.headers() or ()}
    assert names == {"mine", "elo.redriven"}


def test_what_was_mended_reaches_the_profile_at_its_event_time(
    make_fleet: MakeFleet,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = make_fleet().create_topics(2)
    fleet.start("w0")
    deployment = Deployment(fleet.bootstrap, fleet.prefix, capsys)
    wrong = [touchpoint(n, type="Product Viewed", properties={"n": n}) for n in range(6)]
    for one in wrong[:5]:
        fleet.send_raw("web", orjson.dumps(one))
    fleet.send_raw("web", orjson.dumps({**wrong[5], "identifiers": [{"type": "email", "value": "none"}]}))
    fleet.send([touchpoint(99)])
    fleet.wait_idle()
    (group,) = deployment.elo("rejected", "list", "--json").documents
    assert (group["letters"], group["field"]) == (6, "type")
    shown = deployment.elo("rejected", "show", group["group"], "--json", "--limit", 2).documents
    assert len(shown) == 2
    assert shown[0]["touchpoint"]["type"] == "Product Viewed"
    fix = tmp_path / "fix.yaml"
    fix.write_text("steps: [{convert: type, as: snake_case}]")
    tried = deployment.elo("rejected", "fix", group["group"], fix, "--json").document
    assert (tried["letters"], tried["accepted"]) == (6, 5)
    assert [one["reason"] for one in tried["rejected"]] == ["no_usable_identifier"]
    text = deployment.elo("rejected", "fix", group["group"], fix).out
    assert '+  "type": "product_viewed"' in text
    redrive = ("rejected", "redrive", group["group"], "--fix", fix, "--by", "ana", "--reason", "a test")
    assert "1 of 6" in deployment.elo(*redrive).err
    assert deployment.elo(*redrive, "--partly", "--json").document == {"redriven": 5, "left": 1}
    fleet.wait_idle()
    (profile,) = fleet.dump()
    assert profile["counters"] == {"page_viewed": 1, "product_viewed": 5}
    assert profile["last_seen"] == touchpoint()["occurred_at"]
    assert [one["letters"] for one in deployment.elo("rejected", "list", "--json").documents] == [1]
