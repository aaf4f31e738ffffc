"""`elo reconcile` on a real broker: it adds up through kills and moves, and names what is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from confluent_kafka import Message, Producer
from prometheus_client import generate_latest

from pipeline.cli.app import app
from pipeline.cli.kafka import connect, partitions_of
from pipeline.cli.options import run_app
from pipeline.runtime import reconcile, reconcile_metrics
from pipeline.runtime.reconcile_follow import OUTCOMES, Follower
from tests.support.fleet import Fleet, MakeFleet, make_fleet, wait_for  # noqa: F401  a fixture

PARTS = ("touchpoints", "applied", "duplicates", "rejected", "waiting", "missing")
Reconcile = Callable[..., tuple[int, dict[str, Counter[str]], list[dict[str, Any]]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the command: exit code, sums by source, and the lines."""

    def reconciled(
        fleet: Fleet, *arguments: str
    ) -> tuple[int, dict[str, Counter[str]], list[dict[str, Any]]]:
        capsys.readouterr()
        options = ["--bootstrap", fleet.bootstrap, "--topic-prefix", fleet.prefix]
        code = run_app(app, [*options, "reconcile", "--json", *arguments])
        lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
        sums: dict[str, Counter[str]] = {}
        for line in lines:
            assert line["touchpoints"] == sum(line[part] for part in PARTS[1:])
            sums.setdefault(line["source"], Counter()).update({part: line[part] for part in PARTS})
        return code, sums, lines

    return reconciled


def touchpoint(name: str, source: str = "web", **fields: Any) -> dict[str, Any]:
    """Somebody looks at something."""
    return {
        "event_id": name, "source": source, "type": "product_viewed",
        "occurred_at": time.time_ns() // 1_000_000,
        "identifiers": [{"type": "user_id", "value": f"u-{name}"}], **fields,
    }  # fmt: skip


def sums(**parts: int) -> Counter[str]:
    """The sums of a source, with how many came in."""
    return Counter({**dict.fromkeys(PARTS, 0), **parts, "touchpoints": sum(parts.values())})


def test_it_adds_up_through_kills_and_names_what_is_lost(
    make_fleet: MakeFleet,  # noqa: F811
    run: Reconcile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = make_fleet().create_topics(2)
    a, _ = fleet.start("a", "b", ELO_TEST_LOSE=1, ELO_TEST_POISON="resolver", ELO_COMPILED=0)
    for turn in range(4):
        fleet.send(touchpoint(f"{turn}-{one}") for one in range(100))
        fleet.send([touchpoint(f"{turn}-{one}", "crm") for one in range(30)])
        fleet.send([touchpoint(f"{turn}-{one}", identifiers=[]) for one in range(10)])
        if turn % 2:
            a.kill()
            a.start(ELO_TEST_LOSE=1, ELO_TEST_POISON="resolver", ELO_COMPILED=0)
    fleet.send([touchpoint("poison-1", "app")])
    fleet.elo("identity", "merge", "user_id:u-0-1", "user_id:u-0-2", "--by", "ana", "--reason", "a test")
    fleet.wait_idle()
    code, found, lines = run(fleet)
    assert code == 0
    # The same people under the same event ids: whichever of two sources came first is the one that counts.
    both = found["web"] + found["crm"]
    assert both == sums(applied=400, duplicates=120, rejected=40)
    assert found["web"]["rejected"] == 40
    assert found["app"] == sums(rejected=1)
    assert found["decisions"] == sums(applied=1)
    assert len({line["minute"] for line in lines}) == len([one for one in lines if one["source"] == "web"])
    check_lost(fleet, run)
    check_follower(fleet)
    check_transactions(fleet, run)
    check_history(fleet, run, monkeypatch)


def check_lost(fleet: Fleet, run: Reconcile) -> None:
    """A touchpoint that the intake passes over is named by its offset, kept on demand, and then adds up."""
    sent: list[Message] = []
    fleet.send_raw("email", orjson.dumps(touchpoint("good", "email")), b"one")
    fleet.send_raw("email", orjson.dumps(touchpoint("lost-1", "email")), b"one",
                   on_delivery=lambda _, record: sent.append(record))  # fmt: skip
    fleet.send_raw("email", orjson.dumps(touchpoint("better", "email")), b"one")
    assert fleet.producer.flush(30) == 0
    fleet.wait_idle()
    code, found, lines = run(fleet, "--to-rejected")
    assert code == 1
    assert found["email"] == sums(applied=2, missing=1)
    partition, offset = sent[0].partition(), sent[0].offset()
    (first,) = [line["first_missing"] for line in lines if line["first_missing"]]
    assert first == {"topic": f"{fleet.prefix}touchpoints.email", "partition": partition, "offset": offset}
    code, found, _ = run(fleet)
    assert code == 0
    assert found["email"] == sums(applied=2, rejected=1)
    (letter,) = [one for one in fleet.read("touchpoints.rejected") if b"lost-1" in (one.value() or b"")]
    headers = dict(letter.headers() or ())
    assert (headers["elo.reason"], headers["elo.detail"]) == (b"internal_error", b"missing")


def check_follower(fleet: Fleet) -> None:
    """The follower counts each touchpoint once, when the group has committed it."""
    settings = fleet.settings.model_copy(update={"web_port": 0})
    topics = settings.topics()
    wanted = (*topics.inputs, topics.touches, topics.rejected)
    partitions = partitions_of(connect(settings), wanted)
    audit = reconcile.Audit(settings, partitions, int(time.time() * 1000), tells_duplicates=False)
    try:
        follower = Follower(settings, audit)
        follower.look(look_back=True)
        assert counted() == (0, 0, 0)
        fleet.send([touchpoint(f"seen-{number}", "email") for number in range(20)])
        fleet.send([touchpoint("lost-2", "email"), touchpoint("bad", "email", identifiers=[])])
        fleet.wait_idle()
        for _ in range(2):
            follower.look(look_back=False)
            assert counted() == (20, 1, 1)
        assert b"elo_reconcile_first_missing_offset{" in generate_latest(reconcile_metrics.REGISTRY)
    finally:
        audit.close()


def counted() -> tuple[float, ...]:
    """What the follower has counted of one source: taken, rejected, missing."""
    series = (reconcile_metrics.TOUCHPOINTS.labels("email", outcome) for outcome in OUTCOMES)
    return tuple(one._value.get() for one in series)


def check_transactions(fleet: Fleet, run: Reconcile) -> None:
    """Markers of a producer's transactions, and what it took back, are no touchpoints."""
    producer = Producer({"bootstrap.servers": fleet.bootstrap, "transactional.id": f"{fleet.prefix}app"})
    producer.init_transactions(30)
    for number, end in enumerate((producer.commit_transaction, producer.abort_transaction) * 2):
        producer.begin_transaction()
        for one in range(5):
            value = orjson.dumps(touchpoint(f"tx-{number}-{one}", "app"))
            producer.produce(f"{fleet.prefix}touchpoints.app", value)
        producer.flush(30)
        end(30)
    # An aborted transaction at the very end may wait until something comes behind it.
    plain = Producer({"bootstrap.servers": fleet.bootstrap})
    for number in range(2):
        plain.produce(f"{fleet.prefix}touchpoints.app", orjson.dumps(touchpoint(f"end-{number}", "app")),
                      partition=number)  # fmt: skip
    plain.flush(30)
    fleet.wait_idle()
    _, found, _ = run(fleet)
    assert found["app"] == sums(applied=12, rejected=1)


def check_history(fleet: Fleet, run: Reconcile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What repeats an event of before is a duplicate, unless nobody looks so far back."""
    monkeypatch.setattr(reconcile, "MARGIN_MS", 0)
    time.sleep(2)
    fleet.send([touchpoint("0-1"), touchpoint("fresh")])
    fleet.wait_idle()
    _, found, _ = run(fleet, "--since", "1s")
    assert found["web"] == sums(applied=1, duplicates=1)
    _, found, _ = run(fleet, "--since", "5s", "--fast")
    assert found["web"] == sums(applied=2)
