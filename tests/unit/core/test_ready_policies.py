"""The policies that are shipped ready to use: each is read through `ELO_IDENTITY`, and does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.normalise import Normaliser
from pipeline.core.policy import Policy
from pipeline.core.touch import Touch
from pipeline.settings import load_policy, load_settings
from tests.support.laws import check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import Cluster
from tests.support.touchpoints import DEFAULTS, NOW_MS

READY = sorted(DEFAULTS.parent.glob("identity*.yaml"))
DAY_MS = 86_400_000
ANA, BIA = "52998224725", "11144477735"
MOBILE = "+5511987654321"


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_policy_is_read_by_its_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELO_IDENTITY", str(path))
    policy = load_policy(load_settings())
    assert policy.strong_types
    assert {"cpf", "email", "phone", "device_id", "anonymous_id"} <= set(policy.rules)
    assert policy.is_blocked(" NULL ")


def test_there_are_a_default_and_one_for_public_services_and_one_for_retail() -> None:
    assert [path.name for path in READY] == ["identity-brazil.yaml", "identity-retail.yaml", "identity.yaml"]


def ready(name: str) -> Policy:
    return load_policy(load_settings({"identity": DEFAULTS.parent / f"identity-{name}.yaml"}))


def groups(policy: Policy, *lines: str) -> set[str]:
    """Who there is after touches `day identifiers [trait=value]`; without those that are nobody yet."""
    cluster = Cluster(policy, size=4, start_ms=NOW_MS + 5_000 * DAY_MS)
    touches = []
    for line in lines:
        day, *words = line.split()
        traits = ", ".join('"{}": "{}"'.format(*word.split("=")) for word in words if "=" in word)
        identifiers = sorted((word for word in words if ":" in word), key=policy.order_of)
        at_ms = NOW_MS + int(day) * DAY_MS
        touches.append(Touch(line, "web", "page_viewed", at_ms, identifiers, f"{{{traits}}}"))
        cluster.accept(touches[-1])
    cluster.settle()
    check_structure(cluster)
    check_profiles(cluster, touches)
    check_outputs(cluster)
    return {" ".join(one["identifiers"]) for one in profiles_of(cluster)}


@pytest.mark.parametrize(
    ("lines", "then"),
    [
        # A number that was handed on belongs to who has it now.
        ([f"1 cpf:{ANA} phone:{MOBILE}", f"400 cpf:{BIA} phone:{MOBILE}"],
         {f"cpf:{ANA}", f"cpf:{BIA} phone:{MOBILE}"}),
        # Three numbers a year, but any number over the years.
        ([f"{at * 200} cpf:{ANA} phone:+551198765000{at}" for at in range(5)],
         {" ".join([f"cpf:{ANA}", *(f"phone:+551198765000{at}" for at in range(5))])}),
        ([f"{at} cpf:{ANA} phone:+551198765000{at}" for at in range(4)],
         {" ".join([f"cpf:{ANA}", *(f"phone:+551198765000{at}" for at in range(1, 4))])}),
        # The NIS that was noted at the wrong person is corrected.
        ([f"1 cpf:{ANA} nis:12345678919", f"2 cpf:{BIA} nis:12345678919"],
         {f"cpf:{ANA}", f"cpf:{BIA} nis:12345678919"}),
        # Mother and child share an e-mail; the birth date tells them apart before any CPF does.
        (["1 email:casa@x.br birth_date=1980-01-31", "2 phone:+5511987654321 birth_date=2015-05-01",
          "3 email:casa@x.br phone:+5511987654321"], {"email:casa@x.br", "phone:+5511987654321"}),
    ],
)  # fmt: skip
def test_public_services_of_brazil(lines: list[str], then: set[str]) -> None:
    assert groups(ready("brazil"), *lines) == then


@pytest.mark.parametrize(
    ("kind", "value", "usable"),
    [
        ("email", "naotem@gmail.com", False), ("email", "nao_possui.email@x.com.br", False),
        ("email", "sememail@hotmail.com", False), ("email", "sem-e-mail@x.com", False),
        ("email", "teste1@x.com", False), ("user_id", "Não informado", False),
        ("email", "natalia.sem@x.com", True), ("email", "ana.teste@x.com", True),
        ("phone", "(11) 99999-9999", False), ("phone", "11 91234-5678", False),
        ("phone", "11 98765-4321", True),
        ("user_id", "ignorado", False), ("cpf", "111.111.111-11", False), ("cpf", "529.982.247-25", True),
    ],
)  # fmt: skip
def test_what_people_type_to_get_past_a_form_is_nobody(kind: str, value: str, usable: bool) -> None:
    assert (Normaliser(ready("brazil")).identifier(kind, value) is not None) is usable


@pytest.mark.parametrize(
    ("lines", "then"),
    [
        # The tablet of a household joins nobody.
        (["1 email:ana@x.br device_id:tablet", "2 email:bia@x.br device_id:tablet",
          "3 device_id:tablet anonymous_id:a"],
         {"email:ana@x.br", "email:bia@x.br device_id:tablet anonymous_id:a"}),
        # A card that is handed on.
        (["1 user_id:ana loyalty_card:7", "9 user_id:bia loyalty_card:7"],
         {"user_id:ana", "user_id:bia loyalty_card:7"}),
        # Five devices in 90 days; the sixth is not taken for hers, the one after that time is.
        ([f"{at} user_id:ana device_id:d{at}" for at in (1, 2, 3, 4, 5, 6)],
         {"user_id:ana device_id:d2 device_id:d3 device_id:d4 device_id:d5 device_id:d6"}),
        ([f"{at} user_id:ana device_id:d{at}" for at in (1, 2, 3, 4, 5, 91)],
         {"user_id:ana device_id:d1 device_id:d2 device_id:d3 device_id:d4 device_id:d5 device_id:d91"}),
    ],
)  # fmt: skip
def test_retail(lines: list[str], then: set[str]) -> None:
    assert groups(ready("retail"), *lines) == then
