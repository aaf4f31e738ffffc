"""A trained model in an identity policy: what weighs, how it travels, and what is refused in one sentence."""

from __future__ import annotations

import json
from math import log
from typing import Any, Final

import orjson
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.likeness import judge_of
from pipeline.core.matching.compare import Comparer
from pipeline.core.matching.document import (
    FREQUENCIES_BYTES_MAX,
    MODEL_BYTES_MAX,
    MalformedModel,
    decode_model,
    encode_model,
    frequent,
)
from pipeline.core.matching.model import Model
from pipeline.core.matching.record import Record
from pipeline.core.policy import read_policy
from pipeline.core.policy_change import fault_of, notes_on
from pipeline.core.published import Published, decode_published, policy_of
from tests.support.models import policy_from, trained

DOCUMENT: Final[dict[str, Any]] = {
    "version": 1, "identifiers": {"email": {}}, "matching": {"model": "model-1.json"},
}  # fmt: skip
A: Final = json.dumps({"birth_date": "1980-03-12", "full_name": "Maria Lima Silva"})
B: Final = json.dumps({"birth_date": "1980-12-03", "full_name": "Maria Silva"})


def test_a_pair_is_weighed_by_the_model_that_the_policy_names_and_by_nothing_else() -> None:
    weights = []
    for name in ("shipped", "model-1.json", "model-2.json"):
        policy = policy_from(DOCUMENT | {"matching": {"model": name}})
        judge = judge_of(policy)
        assert judge is not None
        if name != "shipped":
            model = trained(name)
            found = Comparer(model.frequencies).compare(*(Record("", json.loads(one)) for one in (A, B)))
            assert judge.weigh(A, B) == round(model.score(found) / log(2), 2)
            assert judge.version == model.document()["version"]
        weights.append(judge.weigh(A, B))
    assert len(set(weights)) == 3


def test_policies_are_the_same_if_their_models_hold_the_same_whatever_the_files_are_called() -> None:
    one = policy_from(DOCUMENT)
    also = policy_from(DOCUMENT | {"matching": {"model": "models/renamed-1.json"}})
    other = policy_from(DOCUMENT | {"matching": {"model": "model-2.json"}})
    assert one == also != other
    assert judge_of(one) is judge_of(also) is not judge_of(other)
    newer = policy_from(DOCUMENT | {"version": 2, "matching": {"model": "model-2.json"}})
    assert fault_of(one, newer) == ""
    assert any("matches that are known" in note for note in notes_on(one, newer))


def test_a_model_travels_with_its_policy() -> None:
    text, model = json.dumps(DOCUMENT), encode_model(trained("model-1.json"))
    policy = policy_of(text, model)
    record = Published(policy, text, "ana", "a test", 5, model)
    read = decode_published(record.encode())
    assert read == record
    assert read.model_version == trained("model-1.json").document()["version"] == record.to_json()["model"]
    assert policy.matching is not None
    assert decode_model(model) == policy.matching.trained == trained("model-1.json")
    shipped = json.dumps(DOCUMENT | {"matching": {"model": "shipped"}})
    plain = Published(read_policy(shipped), shipped)
    assert decode_published(plain.encode()) == plain
    assert plain.to_json()["model"] is None


def record_with(model: object, **changes: Any) -> bytes:
    record = {"document": json.dumps(DOCUMENT), "by": "", "reason": "", "published_at": 1}
    return orjson.dumps(record | {"model": model} | changes)


def edited(**changes: Any) -> dict[str, Any]:
    return trained("model-1.json").document() | changes


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (None, "none comes with this policy"),
        ([], "it is no model of the format"),
        (7, "it is no model of the format"),
        ({"format": "elo-matching-1"}, "besides its version it must hold exactly"),
        (edited(match_prior=0.5), "its version does not fit its content"),
        (edited(match_prior=True), "match_prior must be a number"),
        (edited(match_prior=-1), "match_prior must be a number"),
        (edited(records=10**13), "records must be a whole number"),
        (edited(frequencies={"f:ana": 10**9}), "none larger than records"),
        (edited(frequencies={"q:ana": 3}), "a value of an unknown kind"),
        (edited(frequencies=[]), "frequencies must be an object"),
        (edited(matches={}), "matches must hold exactly the comparisons"),
        (edited(more=1), "besides its version it must hold exactly"),
    ],
)
def test_a_record_with_a_model_that_is_none_is_refused_in_one_sentence(model: object, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        decode_published(record_with(model))
    message = refused.value.message
    assert problem in message
    assert message.startswith("line 1, column ")
    assert "the model model-1.json cannot be used: " in message
    assert "\n" not in message


def test_what_is_no_record_at_all_is_refused_too() -> None:
    for value in (b"7", b"null", b'"x"', record_with(None, document=5), record_with(None, document="")):
        with pytest.raises(ConfigError):
            decode_published(value)


@pytest.mark.parametrize("value", [b"", b"{", b"[" * 100_000, b'{"records": NaN}', b"\xff"])
def test_bytes_that_are_no_json_are_no_model(value: bytes) -> None:
    with pytest.raises(MalformedModel, match="it is no JSON"):
        decode_model(value)


def test_the_largest_model_that_is_trained_can_be_published() -> None:
    counts = {f"s:rua {number} do bairro": 10 + number % 7 for number in range(100_000)}
    kept = frequent(counts)
    assert len(orjson.dumps(kept)) <= FREQUENCIES_BYTES_MAX < 1.1 * len(orjson.dumps(kept))
    left_out = max(count for term, count in counts.items() if term not in kept)
    assert min(kept.values()) >= left_out
    assert list(kept) == sorted(kept)
    usual = trained("model-1.json")
    model = Model(10**6, 1e-6, 1e-6, 1.0, usual.chances, usual.shared, kept)
    assert len(encode_model(model)) <= MODEL_BYTES_MAX
    assert decode_model(encode_model(model)) == model
