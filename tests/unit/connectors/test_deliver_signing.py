"""Signatures of delivery, against the vectors of those who wrote the specification, and their keys."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from standardwebhooks import Webhook

from connectors.deliver.signing import PairSigner, make_pair, make_shared, signer_of
from connectors.webhook import NotVerified, verify
from tests.support.deployment import Deployment

# The vectors of Svix, where Standard Webhooks comes from: of its libraries (v1) and of its server (v1a).
ID: Final = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT_S: Final = 1_614_265_330
BODY: Final = '{"test": 2432232314}'
SHARED: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SHARED_SIGNATURE: Final = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
PAIR: Final = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC: Final = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
PAIR_SIGNATURE: Final = (
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)
HEADERS: Final = {"webhook-id": ID, "webhook-timestamp": str(AT_S), "webhook-signature": PAIR_SIGNATURE}


@pytest.mark.parametrize(("key", "signature"), [(SHARED, SHARED_SIGNATURE), (PAIR, PAIR_SIGNATURE)])
def test_the_vectors_of_standard_webhooks_are_signed(key: str, signature: str) -> None:
    assert signer_of(key).sign(ID, datetime.fromtimestamp(AT_S, UTC), BODY) == signature


def test_the_public_half_of_the_vector_verifies_it_and_its_secret_half_alone_will_do() -> None:
    assert verify(BODY.encode(), HEADERS, PUBLIC, now_s=AT_S + 299) == {"test": 2432232314}
    seed = "whsk_" + base64.b64encode(base64.b64decode(PAIR.removeprefix("whsk_"))[:32]).decode()
    alone = signer_of(seed)
    assert isinstance(alone, PairSigner)
    assert alone.public == PUBLIC
    assert alone.sign(ID, datetime.fromtimestamp(AT_S, UTC), BODY) == PAIR_SIGNATURE


@pytest.mark.parametrize(
    "change",
    [
        {"raw": BODY.encode() + b" "}, {"webhook-id": "msg_other"}, {"webhook-timestamp": str(AT_S + 1)},
        {"webhook-signature": SHARED_SIGNATURE}, {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": "v1a,?"}, {"webhook-signature": ""}, {"webhook-timestamp": "soon"},
        {"webhook-signature": PAIR_SIGNATURE.replace("v1a", "v1")}, {"now_s": AT_S + 301},
        {"now_s": AT_S - 301}, {"key": "another"},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_pair_did_not_sign_now_is_refused(change: dict[str, Any]) -> None:
    other = signer_of(make_pair())
    assert isinstance(other, PairSigner)
    raw, now_s = change.pop("raw", BODY.encode()), change.pop("now_s", AT_S)
    key = other.public if change.pop("key", "") else PUBLIC
    with pytest.raises(NotVerified):
        verify(raw, {**HEADERS, **change}, key, now_s=now_s)


def test_while_keys_are_replaced_receivers_with_any_of_them_take_a_request() -> None:
    now = datetime.now(UTC)
    keys = [make_shared(), make_pair(), make_pair()]
    headers = {
        "Webhook-Id": ID,
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": " ".join(signer_of(key).sign(ID, now, BODY) for key in keys),
    }
    Webhook(keys[0]).verify(BODY, headers)
    for key in keys[1:]:
        signer = signer_of(key)
        assert isinstance(signer, PairSigner)
        assert verify(BODY.encode(), headers, PUBLIC, signer.public) == {"test": 2432232314}
    with pytest.raises(NotVerified):
        verify(BODY.encode(), headers, PUBLIC)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (PUBLIC, "is for receivers"), ("whsk_AAAA", "32 bytes"), ("whsk_" + PAIR[10:], "32 bytes"),
        (PAIR[:-4] + "AA==", "do not belong together"), ("whsec_c2hvcnQ=", "at least 24 bytes"),
        ("whsec_!", "at least 24 bytes"),
    ],
)  # fmt: skip
def test_a_key_that_is_none_is_refused_and_not_repeated(key: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        signer_of(key)
    assert key not in str(refused.value)


def test_a_key_is_made_once_for_its_owner_alone_and_only_its_public_half_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elo = Deployment("127.0.0.1:1", "", capsys).elo
    file = tmp_path / "key"
    first = elo("deliver", "key", file)
    assert first.code == 0
    assert first.out.startswith("whpk_")
    assert file.stat().st_mode & 0o777 == 0o600
    assert elo("deliver", "key", file, "--json").document == {"file": str(file), "public": first.out.strip()}
    assert file.read_text()[5:] not in first.out
    shared = elo("deliver", "key", tmp_path / "shared", "--shared")
    secret = (tmp_path / "shared").read_text().strip()
    assert secret.startswith("whsec_")
    assert secret not in shared.out
    (tmp_path / "shared").write_text("nonsense")
    broken = elo("deliver", "key", tmp_path / "shared")
    assert (broken.code, broken.err.count("\n")) == (1, 1)
    assert elo("deliver", "key", tmp_path / "no" / "key").code == 1
