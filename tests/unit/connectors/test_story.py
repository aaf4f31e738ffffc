"""A membership change is told as a sentence: who, known by what, and which deeds with their event ids."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.demo.diary import PHRASES, Diary
from connectors.demo.story import Storyteller
from connectors.shop import Shop, Truth

T = 1_790_000_000_000
USER = "user_id:u-1"


@pytest.fixture
def teller() -> Storyteller:
    truth, diary = Truth(), Diary()
    known = [USER, "email:ana@example.com", "anonymous_id:a-1", "anonymous_id:a-2", "cpf:12345678909"]
    truth.record(person=1, identifiers=known, occurred_ms=T, event_type="identified",
                 traits={"name": "Ana García", "city": "Madrid"})  # fmt: skip
    for event_id, event_type, at_ms in (("web-1", "product_viewed", T), ("web-2", "identified", T + 4_000)):
        touchpoint = {
            "event_id": event_id,
            "source": "web",
            "type": event_type,
            "occurred_at": at_ms,
            "traits": {},
            "properties": {"category": "running shoes"},
        }
        diary.note(touchpoint, USER, at_ms + 5)
    return Storyteller(diary, truth)


def change(**changed: Any) -> dict[str, Any]:
    record = {
        "profile_id": "p",
        "segment_id": "madrid-running-no-purchase",
        "change": "entered",
        "cause": "event",
        "occurred_at": T + 4_000,
        "event_ids": ["web-2", "web-1"],
        "identifiers": [],
    }
    return {**record, **changed}


def test_an_entry_names_the_person_the_identifiers_and_the_deeds(teller: Storyteller) -> None:
    story = teller.tell(change(), received_ms=T + 4_055)
    assert story.sentence() == (
        "Ana García of Madrid (u-1, CPF 123…, ana@example.com, 2 browsers) enters "
        "madrid-running-no-purchase: gave their login on the web [web-2]; "
        "looked at running shoes on the web 4 s before [web-1]"
    )
    assert story.latency_ms == 50


def test_the_latency_is_that_of_the_touchpoint_that_set_the_change_off(teller: Storyteller) -> None:
    assert teller.tell(change(occurred_at=T), received_ms=T + 105).latency_ms == 100
    assert teller.tell(change(occurred_at=T + 1), received_ms=T + 105).latency_ms is None


def test_each_cause_is_told_in_its_own_words(teller: Storyteller) -> None:
    timer = teller.tell(
        change(change="exited", cause="timer", occurred_at=T + 10_000, event_ids=["web-1"]), T + 10_100
    )
    assert timer.why == "time has passed since they looked at running shoes on the web 10 s before [web-1]"
    assert timer.latency_ms is None
    merge = teller.tell(change(cause="merge", event_ids=["web-2"]), T)
    assert merge.why == "two histories are one person's: gave their login on the web [web-2]"
    away = teller.tell(change(change="exited", cause="merge", event_ids=[]), T)
    assert away.why == "this profile went into another one"
    assert away.who == "Ana García of Madrid", "the profile is remembered from the change before"


def test_a_change_without_known_events_is_told_by_its_address(teller: Storyteller) -> None:
    addressed = change(event_ids=["old-1"], identifiers=[{"type": "user_id", "value": "u-1"}])
    assert teller.tell(addressed, T).who == "Ana García of Madrid"
    stranger = teller.tell(change(profile_id="q", event_ids=[]), T)
    assert (stranger.who, stranger.known_by) == ("Somebody without a name", "unknown")


def test_the_diary_has_words_for_everything_that_the_shop_does() -> None:
    shop, diary = Shop(3, T), Diary()
    for emission in shop.until(T + 60_000):
        if emission.identifier and isinstance(emission.value, dict):
            diary.note(emission.value, emission.identifier, emission.due_ms)
            assert emission.identifier in shop.truth.group_of
            assert emission.value["type"] in PHRASES
    assert len(diary.deeds) == shop.truth.accepted
    assert not any("{" in deed.phrase or "something" in deed.phrase for deed in diary.deeds.values())
