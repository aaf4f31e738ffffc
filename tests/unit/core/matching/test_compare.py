"""What two values have in common: words, dates, records."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.core.matching import dates, levels, text
from pipeline.core.matching.compare import Comparer, terms_of
from pipeline.core.matching.record import Record


@pytest.mark.parametrize(
    ("a", "b", "level"),
    [
        ("jose", "jose", text.EXACT),
        ("william", "bill", text.VARIANT),
        ("francisco", "chico", text.VARIANT),
        ("eduardo", "edu", text.VARIANT),
        ("paula", "paulinha", text.VARIANT),
        ("m", "maria", text.INITIAL),
        ("m", "ana", text.DIFFERENT),
        ("souza", "sousa", text.CLOSE),
        ("filipe", "philippe", text.CLOSE),
        ("marcio", "marico", text.CLOSE),
        ("elizabete", "elisabeth", text.CLOSE),
        ("leo", "oel", text.SIMILAR),
        ("ana", "rui", text.DIFFERENT),
    ],
)
def test_words_are_compared_by_level_either_way_round(a: str, b: str, level: int) -> None:
    assert text.compare_words(a, b) == level
    assert text.compare_words(b, a) == level


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("1971-03-12", (1971, 3, 12)),
        ("12/03/1971", (1971, 3, 12)),
        ("6/21/82", (1982, 6, 21)),
        ("12.03.71", (1971, 3, 12)),
        ("19710312", (1971, 3, 12)),
        ("Mar 1 1970", (1970, 3, 1)),
        ("25-Jun-08", (2008, 6, 25)),
        ("1971", (1971, 0, 0)),
        ("1971-03", (1971, 3, 0)),
        ("197103-12", (1971, 3, 12)),
        ("12/031971", (1971, 3, 12)),
        ("1971--03-12", (1971, 3, 12)),
        ("12031971", (1971, 3, 12)),
        ("19031971", (1971, 3, 19)),
        ("19711331", (1971, 13, 31)),
        ("1 de março de 1970", (1970, 3, 1)),
        ("12th March 1971", (1971, 3, 12)),
        ("12/03/1971 00:00:00", (1971, 3, 12)),
        ("1971-03-12T00:00:00Z", (1971, 3, 12)),
        ("0000-00-00", None),
        ("00/00/0000", None),
        ("1900-01-01", None),
        ("1900-01-02", (1900, 1, 2)),
        ("99999999", None),
        ("phone 11 98765 4321", None),
        ("soon", None),
        ("", None),
    ],
)
def test_dates_are_read_in_the_usual_layouts(written: str, date: dates.Date | None) -> None:
    assert dates.parse_date(written) == date


@pytest.mark.parametrize(
    ("a", "b", "level"),
    [
        ((1971, 3, 12), (1971, 3, 12), dates.EXACT),
        ((1971, 3, 12), (1971, 12, 3), dates.SWAPPED),
        ((1971, 3, 12), (1971, 3, 13), dates.SLIP),
        ((1971, 3, 12), (1917, 3, 12), dates.SLIP),
        ((1971, 3, 12), (1958, 3, 12), dates.TWO_PARTS),
        ((1971, 3, 12), (1972, 3, 13), dates.TWO_SLIPS),
        ((1971, 3, 12), (1970, 11, 27), dates.NEAR),
        ((1971, 3, 12), (1950, 11, 27), dates.DIFFERENT),
    ],
)
def test_dates_are_compared_by_level_either_way_round(a: dates.Date, b: dates.Date, level: int) -> None:
    assert dates.compare_dates(a, b) == level
    assert dates.compare_dates(b, a) == level


def found(a: dict[str, str], b: dict[str, str]) -> dict[str, int]:
    """Comparison → level of two records."""
    records = [Record("a", a), Record("b", b)]
    comparer = Comparer(Counter(term for record in records for term in terms_of(record)))
    one, other = comparer.compare(*records), comparer.compare(*reversed(records))
    assert one == other
    return {levels.NAMES[number]: level for number, level, _ in map(levels.parts_of, one)}


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (
            {"full_name": "José da Silva"},
            {"given_name": "JOSE", "surname": "Silva"},
            {"given_name": 0, "surname": 0},
        ),
        ({"full_name": "Silva, Jose"}, {"full_name": "Jose Silva"}, {"given_name": 0, "surname": 0}),
        ({"full_name": "Rui Alves Lima"}, {"full_name": "Rui Alves"}, {"surname": levels.MOVED}),
        ({"full_name": "Lima Rui"}, {"full_name": "Rui Lima"}, {"name_order": levels.TURNED}),
        ({"full_name": "R. Lima"}, {"full_name": "Rui Lima"}, {"initial": levels.SAME}),
        ({"full_name": "J. Lima"}, {"full_name": "Ze Lima"}, {"initial": levels.SAME}),
        ({"full_name": "J. Lima"}, {"full_name": "Bia Lima"}, {"initial": levels.OTHER}),
        (
            {"full_name": "Ana Ferreira Lima"},
            {"full_name": "Ana Ferrera Lima"},
            {"middle_name": levels.CLOSE_WORDS},
        ),
        ({"full_name": "Ana Reis Lima"}, {"full_name": "Ana Reis Lima"}, {"middle_name": levels.ALL_WORDS}),
        ({"full_name": "Rui Lima Jr"}, {"full_name": "Rui Lima Neto"}, {"generation": levels.OTHER}),
        ({"full_name": "Bea triz Lima"}, {"full_name": "Beatriz Lima"}, {"given_name": text.CLOSE}),
        ({"birth_date": "1971"}, {"birth_date": "1971-03-12"}, {"birth_year": levels.SAME}),
        ({"gender": "Feminino"}, {"gender": "F"}, {"gender": levels.SAME}),
        ({"phone": "+55 (11) 98765-4321"}, {"phone": "1187654321"}, {"phone": levels.SAME}),
        ({"phone": "11987654321"}, {"phone": "11987654312"}, {"phone": levels.ALMOST}),
        ({"email": "Ana@x.com"}, {"email": "ana@x.com"}, {"email": levels.SAME}),
        ({"email": "ana.lima@x.com"}, {"email": "ana.lima@y.org"}, {"email": levels.SAME_MAILBOX}),
        ({"email": "ana.lima@x.com"}, {"email": "ana.lmia@x.com"}, {"email": levels.ALMOST}),
        ({"email": "lima94@x.com"}, {"email": "lima15@x.com"}, {"email": levels.OTHER}),
        ({"national_id": "111.444.777-35"}, {"national_id": "11144477735"}, {"national_id": levels.SAME}),
        ({"national_id": "012.345.678-90"}, {"national_id": "1234567890"}, {"national_id": levels.SAME}),
        ({"org_name": "Padaria Lima Ltda - ME"}, {"org_name": "PADARIA LIMA S/A"}, {"org_name": levels.SAME}),
        ({"org_name": "The Hill and Lee Co. L.L.C."}, {"org_name": "Hill & Lee"}, {"org_name": levels.SAME}),
        ({"org_name": "S.A."}, {"org_name": "SA"}, {"org_name": levels.OTHER}),
        ({"passport": "AB1234"}, {"drivers_license": "AB1234"}, {}),
        ({"phone": "555-1234567", "phone_2": "555-7654321"}, {"phone": "5557654321"}, {"phone": levels.SAME}),
        (
            {"street": "Rua Aurora", "house_number": "12"},
            {"street": "R. Aurora", "house_number": "12"},
            {"address": levels.DWELLING},
        ),
        (
            {"street": "Rua Aurora", "house_number": "12", "unit": "apto 1"},
            {"street": "Rua Aurora", "house_number": "12", "unit": "2"},
            {"address": levels.NEXT_DOOR},
        ),
        (
            {"street": "Rua Aurora", "house_number": "S/N"},
            {"street": "R. Aurora", "house_number": "s/n"},
            {"address": levels.STREET},
        ),
        ({"postcode": "01310-100"}, {"postcode": "01310100"}, {"address": levels.POSTCODE}),
        ({"city": "São Paulo"}, {"city": "sao paulo"}, {"address": levels.CITY}),
    ],
)
def test_records_are_compared_by_level_either_way_round(
    a: dict[str, str], b: dict[str, str], expected: dict[str, int]
) -> None:
    levels_found = found(a, b)
    assert expected.items() <= levels_found.items()
    assert bool(expected) == bool(levels_found)


@pytest.mark.parametrize("value", ["", "N/A", "desconhecido", "00000000000", "-"])
def test_a_placeholder_is_no_value(value: str) -> None:
    record = Record("a", {"full_name": value, "national_id": value, "phone": value, "birth_date": value})
    assert (record.name, record.national_ids, record.phones, record.birth) == (None, (), (), None)


def test_a_street_of_another_town_is_another_street_unless_the_number_agrees() -> None:
    here = {"street": "Rua Sete de Setembro", "city": "Recife", "postcode": "50060070"}
    there = {"street": "Rua Sete de Setembro", "city": "Manaus", "postcode": "69005140"}
    assert found(here, there)["address"] == levels.ELSEWHERE
    assert found(here, {**there, "city": "Recife"})["address"] == levels.STREET
    numbered = found({**here, "house_number": "1204"}, {**there, "house_number": "1204"})
    assert numbered["address"] == levels.DWELLING
