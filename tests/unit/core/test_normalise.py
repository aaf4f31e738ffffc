"""Normalisation as tables: what sources write, and the one identifier that it stands for (None: unusable)."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.normalise import (
    EMAIL_CHARS_MAX,
    RAW_CHARS_MAX,
    VALUE_CHARS_MAX,
    Normaliser,
    normalise_cpf,
    normalise_email,
    normalise_nis,
    normalise_phone,
    normalise_text,
)
from pipeline.core.policy import NORMALISERS, Policy, parse_policy

DEFAULTS = Path(__file__).parents[3] / "pipeline" / "defaults" / "identity.yaml"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return parse_policy(yaml.safe_load(DEFAULTS.read_text("utf-8")))


@pytest.fixture(scope="module")
def normaliser(policy: Policy) -> Normaliser:
    return Normaliser(policy)


EMAILS = [
    ("ana@example.com", "ana@example.com"),
    ("  Ana.Silva@Example.COM\t", "ana.silva@example.com"),
    ("ana+shop@gmail.com", "ana+shop@gmail.com"),  # no provider's tricks
    ("a.n.a@gmail.com", "a.n.a@gmail.com"),
    ("\u200bana@example.com\ufeff", "ana@example.com"),  # invisible, from copying
    ("\u00a0ana@example.com\u00a0", "ana@example.com"),
    ("ana@bücher.example.com", "ana@xn--bcher-kva.example.com"),
    ("ANA@BÜCHER.de", "ana@xn--bcher-kva.de"),
    ("ana@xn--bcher-kva.de", "ana@xn--bcher-kva.de"),  # the same mailbox in both spellings
    ("ana@bu\u0308cher.de", "ana@xn--bcher-kva.de"),  # decomposed
    ("joão@example.com", "joão@example.com"),
    ("joa\u0303o@example.com", "joão@example.com"),
    ("JOÃO@example.com", "joão@example.com"),
    ("用户@例子.公司", "用户@xn--fsqu00a.xn--55qx5d"),
    ("straße@example.com", "strasse@example.com"),  # casefolded
    ("o'hara@example.com", "o'hara@example.com"),
    ("x@y.co", "x@y.co"),
    (f"{'a' * 64}@example.com", f"{'a' * 64}@example.com"),
    (f"{'a' * 65}@example.com", None),
    ("a@" + "b." * 125 + "com", None),
    ("", None),
    ("   ", None),
    ("ana", None),
    ("ana@", None),
    ("@example.com", None),
    ("ana@localhost", None),
    ("ana@example", None),
    ("ana@example.c", None),
    ("ana@example.com.", None),
    ("ana@.example.com", None),
    ("ana@exa mple.com", None),
    ("ana silva@example.com", None),
    ("ana@@example.com", None),
    ("a@b@example.com", None),
    (".ana@example.com", None),
    ("ana.@example.com", None),
    ("ana..silva@example.com", None),
    ("joão.@example.com", None),
    ("jo ão@example.com", None),
    ("ana@-example.com", None),
    ("ana@example-.com", None),
    ("ana@192.168.0.1", None),
    ("ana@[192.168.0.1]", None),
    ('"ana silva"@example.com', None),
    ("Ana <ana@example.com>", None),
    ("ana@exa_mple.com", None),
    ("ana@example.com, eva@example.com", None),
    ("ana\x00@example.com", None),
    ("ana@\U0001f600.com", None),
]

PHONES = [
    ("+55 11 98765-4321", "+5511987654321"),
    ("(11) 98765-4321", "+5511987654321"),
    ("11987654321", "+5511987654321"),
    ("011 98765-4321", "+5511987654321"),
    ("0 15 11 98765-4321", "+5511987654321"),  # with the code of a carrier
    ("5511987654321", "+5511987654321"),
    ("+55 (0)11 98765-4321", "+5511987654321"),
    ("tel:+55-11-98765-4321", "+5511987654321"),
    ("\uff0b55 11 98765-4321", "+5511987654321"),
    # An old mobile number, eight digits that start with 6 to 9, gets its ninth digit after the area code.
    ("(11) 8765-4321", "+5511987654321"),
    ("11 6765-4321", "+5511967654321"),
    ("47 7944-1626", "+5547979441626"),
    ("+55 47 9944 1626", "+5547999441626"),
    ("554799441626", "+5547999441626"),
    # A land line starts with 2 to 5 and keeps its eight.
    ("(11) 3456-7890", "+551134567890"),
    ("(21) 2345-6789", "+552123456789"),
    ("(61) 5123-4567", "+556151234567"),
    ("+34 612 345 678", "+34612345678"),
    ("+1 (650) 253-0000", "+16502530000"),
    ("+39 06 698 12345", "+390669812345"),  # Italy keeps its zero
    ("98765-4321", None),  # no area code: any city
    ("8765-4321", None),
    ("(00) 00000-0000", None),
    ("(11) 0000-0000", None),
    ("+999 123456789", None),
    ("+55 11 98765-4321 ext. 12", None),  # a line behind a switchboard
    ("12345", None),
    ("not a number", None),
    ("", None),
    ("+", None),
    ("1" * 300, None),
]

CPFS = [
    ("529.982.247-25", "52998224725"),
    ("52998224725", "52998224725"),
    (" 529 982 247 25 ", "52998224725"),
    ("529982247/25", "52998224725"),
    ("529.982.247\u201325", "52998224725"),  # an en dash, from a word processor
    ("012.345.678-90", "01234567890"),
    ("01234567890", "01234567890"),
    ("1234567890", "01234567890"),  # kept as a number: the zero was lost
    ("1.234.567-97", "00123456797"),
    ("123456797", "00123456797"),
    ("12345678909", "12345678909"),
    ("529.982.247-26", None),
    ("529.982.247-35", None),
    ("92998224725", None),
    ("111.111.111-11", None),
    ("00000000000", None),
    ("99999999999", None),
    ("000000191", "00000000191"),
    ("191", None),  # too short to be one
    ("5299822472", None),
    ("529982247250", None),
    ("529.982.247-2X", None),
    ("٥٢٩٩٨٢٢٤٧٢٥", None),
    ("", None),
]

NISES = [
    ("120.56789.01-8", None),
    ("170.33259.50-4", "17033259504"),
    ("17033259504", "17033259504"),
    (" 170 33259 50 4 ", "17033259504"),
    ("17033259505", None),
    ("7033259504", None),  # a NIS never begins with 0, so none was lost
    ("000.00000.00-0", None),
    ("11111111111", None),
    ("1703325950", None),
    ("1703325950x", None),
    ("", None),
]

TEXTS = [
    ("u1", "u1"),
    ("  U1 ", "U1"),  # case is kept
    ("José", "José"),
    ("Jose\u0301", "José"),
    ("\u200bu1\u200b", "u1"),
    ("a b", "a b"),
    ("a:b", "a:b"),
    ("x" * VALUE_CHARS_MAX, "x" * VALUE_CHARS_MAX),
    ("x" * (VALUE_CHARS_MAX + 1), None),
    ("é" * (VALUE_CHARS_MAX + 1), None),
    ("a\x00b", None),
    ("a\nb", None),
    ("é\x85b", None),
    ("", None),
    (" \t\n", None),
    ("\u200b", None),
]


@pytest.mark.parametrize(("raw", "expected"), EMAILS)
def test_email(raw: str, expected: str | None) -> None:
    assert normalise_email(raw) == expected


@pytest.mark.parametrize(("raw", "expected"), PHONES)
def test_phone_in_brazil(raw: str, expected: str | None) -> None:
    assert normalise_phone(raw, "BR") == expected


def test_phone_without_country_is_of_the_default_region() -> None:
    assert normalise_phone("612 345 678", "ES") == "+34612345678"
    assert normalise_phone("34612345678", "ES") == "+34612345678"
    assert normalise_phone("612 345 678", "BR") is None


@pytest.mark.parametrize(("raw", "expected"), CPFS)
def test_cpf(raw: str, expected: str | None) -> None:
    assert normalise_cpf(raw) == expected


@pytest.mark.parametrize(("raw", "expected"), NISES)
def test_nis(raw: str, expected: str | None) -> None:
    assert normalise_nis(raw) == expected


@pytest.mark.parametrize(("raw", "expected"), TEXTS)
def test_text(raw: str, expected: str | None) -> None:
    assert normalise_text(raw) == expected


@given(st.integers(0, 999_999_999))
def test_exactly_one_pair_of_check_digits_makes_a_cpf(stem: int) -> None:
    good = [f"{stem:09d}{check:02d}" for check in range(100) if normalise_cpf(f"{stem:09d}{check:02d}")]
    repeated = [f"{digit}" * 11 for digit in range(10)]
    assert len(good) == 1 or any(number.startswith(f"{stem:09d}") for number in repeated)
    assert all(_has_cpf_check_digits(number) for number in good)


def _has_cpf_check_digits(number: str) -> bool:
    """The rule as the tax office writes it, slow and obvious."""
    digits = [int(character) for character in number]
    for length in (9, 10):
        rest = sum(digit * (length + 1 - place) for place, digit in enumerate(digits[:length])) % 11
        if digits[length] != (0 if rest < 2 else 11 - rest):
            return False
    return True


@given(st.integers(0, 9_999_999_999))
def test_exactly_one_check_digit_makes_a_nis(stem: int) -> None:
    good = [check for check in range(10) if normalise_nis(f"{stem:010d}{check}")]
    weights = (3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    rest = 11 - sum(int(digit) * weight for digit, weight in zip(f"{stem:010d}", weights, strict=True)) % 11
    check = 0 if rest > 9 else rest
    assert good == ([] if len({*f"{stem:010d}", str(check)}) == 1 else [check])


WRITTEN = st.one_of(
    st.text(max_size=40),
    st.from_regex(re.compile(r"[^\s@]{1,20}@\w{1,10}\.\w{2,8}"), fullmatch=True),
    st.from_regex(re.compile(r"\+?[0-9()./ -]{8,18}", re.ASCII), fullmatch=True),
)


@given(WRITTEN)
@settings(max_examples=500)
def test_a_normalised_value_normalises_to_itself(raw: str) -> None:
    def normalise_phone_br(value: str) -> str | None:
        return normalise_phone(value, "BR")

    for normalise in (normalise_text, normalise_email, normalise_phone_br, normalise_cpf, normalise_nis):
        once = normalise(raw)
        if once is not None:
            assert normalise(once) == once
            assert 0 < len(once) <= VALUE_CHARS_MAX


@pytest.mark.parametrize("block", range(17))
def test_every_letter_of_unicode_is_stable_in_an_email(block: int) -> None:
    for code in range(block << 16, (block + 1) << 16):
        once = normalise_email(f"a{chr(code)}b@example.com") if not 0xD800 <= code < 0xE000 else None
        if once is not None:
            assert len(once) <= EMAIL_CHARS_MAX
            assert normalise_email(once) == once


IDENTIFIERS = [
    ("user_id", " u1 ", "user_id:u1"),
    ("email", "Ana@Example.com ", "email:ana@example.com"),
    ("phone", "(11) 8765-4321", "phone:+5511987654321"),
    ("cpf", "529.982.247-25", "cpf:52998224725"),
    ("nis", "170.33259.50-4", "nis:17033259504"),
    ("device_id", "d:1", "device_id:d:1"),
    ("user_id", "null", None),
    ("user_id", " NULL ", None),
    ("user_id", "Undefined", None),
    ("user_id", "none", None),
    ("user_id", "NaN", None),
    ("user_id", "anonymous", None),
    ("user_id", "Unknown", None),
    ("user_id", "test", None),
    ("user_id", "0", None),
    ("user_id", "[object Object]", None),
    ("user_id", "\u200bnull", None),
    ("user_id", "", None),
    ("user_id", "00", "user_id:00"),
    ("user_id", "testing", "user_id:testing"),
    ("cpf", "null", None),
    ("anonymous_id", "x" * (RAW_CHARS_MAX + 1), None),
    ("anonymous_id", " " * RAW_CHARS_MAX + "x", None),
    ("loyalty_card", "1", None),
]


@pytest.mark.parametrize(("type_name", "raw", "expected"), IDENTIFIERS)
def test_identifier_under_the_shipped_policy(
    normaliser: Normaliser, type_name: str, raw: str, expected: str | None
) -> None:
    assert normaliser.identifier(type_name, raw) == expected


def test_an_identifier_as_a_person_writes_it_is_parsed(normaliser: Normaliser) -> None:
    assert normaliser.parse(" email:Ana@Example.com") == "email:ana@example.com"
    assert normaliser.parse("device_id:a:b") == "device_id:a:b"
    assert normaliser.parse("email") is None
    assert normaliser.parse("mail:ana@example.com") is None


@given(raw=st.one_of(st.sampled_from(["Null", " 0", "TEST\n", "kiosk-7"]), st.text(max_size=10)))
def test_blocked_is_what_the_policy_calls_blocked(policy: Policy, raw: str) -> None:
    with_pattern = dataclasses.replace(policy, blocked_patterns=(re.compile("^kiosk-"),))
    for rules in (policy, with_pattern):
        identifier = Normaliser(rules).identifier("user_id", raw)
        if rules.is_blocked(raw):
            assert identifier is None


def test_a_value_is_blocked_in_every_spelling(policy: Policy) -> None:
    blocking = dataclasses.replace(
        policy, blocked_values=frozenset({"+5511999999999", "(11) 98888-8888", "a@b.com"})
    )
    normaliser = Normaliser(blocking)
    assert normaliser.identifier("phone", "11 99999-9999") is None
    assert normaliser.identifier("phone", "(11) 98888-8888") is None
    assert normaliser.identifier("phone", "11 97777-7777") == "phone:+5511977777777"
    assert normaliser.identifier("email", " A@B.com") is None


def test_every_normaliser_that_a_policy_may_name_exists() -> None:
    identifiers = {f"of_{name}": {"normalise": name} for name in NORMALISERS}
    types = Normaliser(parse_policy({"identifiers": identifiers})).types
    assert [types[f"of_{name}"][1] for name in NORMALISERS] == list(range(len(NORMALISERS)))
    assert all(strong for _, _, strong in types.values())


def test_a_type_with_several_values_is_not_strong(normaliser: Normaliser) -> None:
    strong = [name for name, (_, _, is_strong) in normaliser.types.items() if is_strong]
    assert strong == ["user_id", "cpf", "nis"]
