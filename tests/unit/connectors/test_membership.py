"""The checker for consumers: repeated, late and missing changes, and profiles that begin anew."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors import membership
from connectors.membership import Arrival, Checker, SqliteStore

ROOT = Path(__file__).resolve().parents[3]


def change(sequence: int, at: int | None = None, life: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "change_id": f"c{life}-{sequence}", "profile_id": "p", "segment_id": "s", "sequence": sequence,
        "change": "entered" if sequence % 2 else "exited", "occurred_at": 10 * sequence if at is None else at,
        **fields,
    }  # fmt: skip


def test_what_comes_in_order_is_new_and_what_comes_again_is_repeated() -> None:
    checker = Checker({})
    assert [checker.check(change(n)) for n in (4, 5, 6)] == [Arrival.NEW] * 3
    assert [checker.check(change(n)) for n in (6, 4, 5)] == [Arrival.REPEATED] * 3
    assert list(checker.missing()) == []


def test_a_gap_is_told_and_what_was_missing_is_late_and_not_current() -> None:
    checker = Checker({})
    told = [checker.check(change(n)) for n in (1, 4, 3, 3, 5)]
    assert told == [Arrival.NEW, Arrival.GAP, Arrival.LATE, Arrival.REPEATED, Arrival.NEW]
    assert [arrival.is_current for arrival in told] == [True, True, False, False, True]
    assert list(checker.missing()) == [("p", "s", (2,))]
    assert checker.check(change(2)) is Arrival.LATE
    assert list(checker.missing()) == []


def test_a_profile_that_expired_begins_at_one_again() -> None:
    checker = Checker({})
    for sequence in (1, 2, 3):
        checker.check(change(sequence))
    assert checker.check(change(1, at=500, life=2)) is Arrival.NEW
    assert checker.check(change(1, at=500, life=2)) is Arrival.REPEATED
    assert checker.check(change(2, at=600, life=2)) is Arrival.NEW


@pytest.mark.parametrize("code", ["TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"])
def test_a_grant_that_is_missing_is_raised_and_not_waited_for(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused:
        """What librdkafka gives to whoever may not read: an error in place of a record, and then nothing."""

        def __init__(self, *_: Any) -> None:
            self.left = [KafkaError._TRANSPORT, getattr(KafkaError, code)]

        def subscribe(self, _: Any) -> None:
            """Nothing."""

        def poll(self, _: float) -> Any:
            failure = KafkaError(self.left.pop(0))
            return type("Told", (), {"error": lambda _: failure})()

    monkeypatch.setattr(membership, "Consumer", Refused)
    with pytest.raises(KafkaException) as raised:
        next(iter(membership.MembershipConsumer({"group.id": "g"})))
    assert raised.value.args[0].code() == getattr(KafkaError, code)


@pytest.mark.parametrize("seed", range(60))
def test_any_order_with_repetitions_ends_at_the_newest_and_misses_nothing(seed: int) -> None:
    rng = random.Random(seed)
    sent = [change(n) for n in range(1, 30)]
    arrived = [sent[0], *rng.sample(sent, len(sent)), *rng.choices(sent, k=20)]
    checker = Checker({})
    told = [(one["sequence"], checker.check(one)) for one in arrived]
    fresh = [sequence for sequence, arrival in told if arrival is not Arrival.REPEATED]
    assert sorted(fresh) == list(range(1, 30))
    current = [sequence for sequence, arrival in told if arrival.is_current]
    assert current == sorted(current)
    assert current[-1] == 29
    assert list(checker.missing()) == []


def test_what_was_saved_in_a_file_outlives_the_process(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "seen")
    Checker(store).check(change(1))
    store.save()
    Checker(store).check(change(2))
    store.close()
    again = SqliteStore(tmp_path / "seen")
    assert [Checker(again).check(change(n)) for n in (1, 2)] == [Arrival.REPEATED, Arrival.NEW]
    assert (len(again), list(again)) == (1, ["p|s"])
    del again["p|s"]
    with pytest.raises(KeyError):
        del again["p|s"]
    again.close()


def test_the_example_of_the_page_takes_each_change_once(tmp_path: Path) -> None:
    from standardwebhooks import Webhook, WebhookVerificationError

    page = (ROOT / "docs/reference/delivery.md").read_text("utf-8")
    (block,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Webhook(" in one]
    secret = "whsec_" + "A" * 43 + "="
    places = {"/var/lib/crm/seen": str(tmp_path / "seen"), 'os.environ["HOOK_KEY"]': repr(secret)}
    for place, here in places.items():
        assert place in block
        block = block.replace(place, here)
    acted: list[str] = []
    names: dict[str, Any] = {"act": lambda one: acted.append(one["change_id"])}
    exec(block, names)

    from datetime import UTC, datetime

    for sequence in (1, 2, 2):
        raw = orjson.dumps({"type": "membership.entered", "data": change(sequence)}).decode()
        now = datetime.now(UTC)
        headers = {"webhook-id": "m", "webhook-timestamp": str(int(now.timestamp()))}
        headers["webhook-signature"] = Webhook(secret).sign("m", now, raw)
        names["receive"](headers, raw.encode())
    assert acted == ["c1-1", "c1-2"]
    with pytest.raises(WebhookVerificationError):
        names["receive"](headers, raw.encode() + b" ")
