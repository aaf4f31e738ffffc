"""After a merge the stricter answer holds until the person speaks again."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pipeline.core.node import Profile
from pipeline.core.outbox import Cause, MembershipChange
from pipeline.core.segments.parse import definition_from_json
from tests.support import oracle
from tests.support.decision_oracle import Ruled
from tests.support.evidence import START_MS, People, shipped_policy
from tests.support.memory import PROFILE_KEY

NEWS = definition_from_json({"id": "news", "purpose": "marketing", "where": {"event": "page_viewed"}})
YES, NO = {"marketing": True}, {"marketing": False}


def people() -> People:
    return People(shipped_policy(), definitions=[NEWS])


def told(people: People) -> list[tuple[str, Cause]]:
    outputs = [one.output for one in people.cluster.told]
    return [(one.change, one.cause) for one in outputs if isinstance(one, MembershipChange)]


def granted(people: People, identifier: str) -> bool:
    """The answer, as it is kept in memory and as it is computed anew; both must agree with the oracle."""
    component = people.component(identifier)
    answers = set()
    for partition in people.cluster.partitions:
        live = partition.store.components.get(component.root)
        answers |= {
            answer(one) for one in (live.profiles if live else None) or [] if identifier in one.identifiers
        }
    answers |= {answer(one) for one in people.profiles(component) if identifier in one.identifiers}
    for person in oracle.people(people.touches, people.policy, PROFILE_KEY):
        if identifier in person.identifiers:
            answers.add(person.consent.get("marketing"))
    assert len(answers) == 1, answers
    return bool(answers.pop())


def answer(profile: Profile) -> bool | None:
    word = profile.fold.consent.get("marketing")
    return None if word is None else bool(word[0])


def test_a_refusal_stands_after_a_merge_although_the_other_side_agreed_later() -> None:
    shop = people()
    shop.touch("email:a@x", consent=NO)
    shop.touch("user_id:1", consent=YES)
    assert told(shop) == [("entered", Cause.CONSENT)]
    shop.touch("user_id:1 email:a@x")
    assert not granted(shop, "user_id:1")
    assert told(shop)[1:] == [("exited", Cause.MERGE)]


def test_it_is_taken_back_when_the_person_speaks_again_by_whatever_identifier() -> None:
    shop = people()
    shop.touch("email:a@x", consent=NO)
    shop.touch("user_id:1", consent=YES)
    shop.touch("user_id:1 email:a@x")
    shop.touch("user_id:1", consent=YES)
    assert granted(shop, "user_id:1")
    assert told(shop)[-1] == ("entered", Cause.CONSENT)
    shop.touch("email:a@x", consent=NO)
    assert not granted(shop, "user_id:1")
    assert told(shop)[-1] == ("exited", Cause.CONSENT)


def test_a_word_that_is_only_repeated_causes_nothing() -> None:
    """Many senders put what was granted into every touch."""
    definition = {"id": "shy", "purpose": "marketing", "where": {"all": [
        {"event": "page_viewed"}, {"none": [{"event": "order_completed"}]},
    ]}}  # fmt: skip
    shop = People(shipped_policy(), definitions=[definition_from_json(definition)])
    shop.touch("user_id:1", "identified", consent=YES)
    shop.touch("user_id:1", consent=YES)
    shop.touch("user_id:1", "order_completed", consent=YES)
    assert told(shop) == [("entered", Cause.EVENT), ("exited", Cause.EVENT)]


def test_a_refusal_that_comes_with_a_new_identifier_causes_the_exit() -> None:
    shop = people()
    shop.touch("user_id:1", consent=YES)
    shop.touch("user_id:1 email:a@x", consent=NO)
    assert told(shop) == [("entered", Cause.CONSENT), ("exited", Cause.CONSENT)]


def test_a_word_with_which_two_identifiers_are_seen_together_speaks_for_both() -> None:
    shop = people()
    shop.touch("email:a@x", consent=NO)
    shop.touch("user_id:1 email:a@x", consent=YES)
    assert granted(shop, "email:a@x")


def test_who_speaks_again_can_be_addressed_by_every_identifier_also_by_the_one_that_had_refused() -> None:
    shop = people()
    shop.touch("email:a@x")
    shop.touch("email:a@x", consent=NO)
    shop.touch("user_id:1 email:a@x", consent=YES)
    shop.touch("email:a@x", consent=NO)
    changes = [one.output for one in shop.cluster.told if isinstance(one.output, MembershipChange)]
    assert [one.change for one in changes] == ["entered", "exited"]
    assert changes[0].identifiers == ["user_id:1", "email:a@x"]
    assert changes[1].identifiers == ["user_id:1"]


def test_a_third_identifier_that_refused_before_it_was_known_makes_the_answer_no_again() -> None:
    shop = people()
    shop.touch("device_id:d", consent=NO)
    shop.touch("email:a@x", consent=NO)
    shop.touch("user_id:1 email:a@x", consent=YES)
    assert granted(shop, "user_id:1")
    shop.touch("user_id:1 device_id:d")
    assert not granted(shop, "user_id:1")


def test_a_late_touch_that_shows_that_they_belonged_together_before_takes_the_refusal_back() -> None:
    shop = people()
    shop.touch("email:a@x", consent=NO)
    shop.touch("email:a@x")
    shop.touch("user_id:1", consent=YES)
    shop.touch("user_id:1 email:a@x")
    assert not granted(shop, "user_id:1")
    shop.touch("user_id:1 email:a@x", later_ms=-3_000)
    assert granted(shop, "user_id:1")


def test_a_late_refusal_from_before_the_merge_holds_and_a_late_one_that_was_answered_since_does_not() -> None:
    shop = people()
    shop.touch("email:a@x")
    shop.touch("user_id:1", consent=YES)
    shop.touch("user_id:1 email:a@x")
    assert granted(shop, "user_id:1")
    shop.touch("email:a@x", consent=NO, later_ms=-3_000)
    assert not granted(shop, "user_id:1")
    shop.touch("user_id:1", consent=YES)
    shop.touch("email:a@x", consent=NO, later_ms=-2_000)
    assert granted(shop, "user_id:1")


@pytest.mark.parametrize("seed", range(40))
def test_the_answer_is_that_of_the_oracle_after_every_touch(seed: int) -> None:
    rng = random.Random(seed)
    shop = people()
    names = ["user_id:1", "email:a@x", "email:b@x", "device_id:d", "anonymous_id:v"]
    for _ in range(12):
        identifiers = rng.sample(names, k=rng.choice([1, 1, 2]))
        fields: dict[str, Any] = {"later_ms": rng.choice([0, 0, -2_500, -5_000])}
        if rng.random() < 0.6:
            fields["consent"] = rng.choice([YES, NO])
        shop.touch(" ".join(identifiers), **fields)
        for touch in shop.touches:
            granted(shop, touch.identifiers[0])


def test_a_steward_who_unites_two_identifiers_links_them_from_then_on() -> None:
    shop = people()
    shop.touch("email:a@x", consent=NO)
    shop.touch("user_id:1", consent=YES)
    ruled = Ruled("m", "merge", START_MS + 2_500, ("user_id:1", "email:a@x"))
    for touch in ruled.touches():
        shop.cluster.advance(touch.occurred_at)
        shop.cluster.accept(touch)
    shop.cluster.settle()
    assert told(shop) == [("entered", Cause.CONSENT), ("exited", Cause.MERGE)]
    shop.touch("user_id:1", later_ms=1_000, consent=YES)
    assert told(shop)[2:] == [("entered", Cause.CONSENT)]
    expected = oracle.people(shop.touches, shop.policy, PROFILE_KEY, [ruled])
    assert [one.consent for one in expected] == [{"marketing": True}]
