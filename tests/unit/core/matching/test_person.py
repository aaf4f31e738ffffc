"""Which fields of a comparison record the traits and identifiers of a profile become."""

from __future__ import annotations

from pipeline.core.matching.person import FIELDS, fields_of
from pipeline.core.matching.record import Record


def test_traits_and_identifiers_become_fields() -> None:
    found = fields_of(
        {"name": "Ana Lima", "birth_date": "1971-03-12", "zip": 50060, "vip": True, "city": None, "score": 3},
        [("phone", "+5581999554444"), ("cpf", "11144477735"), ("user_id", "7"), ("nis", "12056412547")],
    )
    assert found == {
        "full_name": "Ana Lima",
        "birth_date": "1971-03-12",
        "postcode": "50060",
        "phone": "+5581999554444",
        "national_id": "11144477735",
        "social_id": "12056412547",
    }


def test_the_first_three_values_of_a_type_count_whatever_their_order() -> None:
    emails = [("email", f"{letter}@example.org") for letter in "dbca"]
    found = fields_of({"email": "trait@example.org"}, emails)
    assert [found[name] for name in ("email", "email_2", "email_3")] == [
        "a@example.org", "b@example.org", "c@example.org",
    ]  # fmt: skip
    assert found == fields_of({"email": "trait@example.org"}, emails[::-1])


def test_the_own_name_of_a_field_goes_before_another_one() -> None:
    assert fields_of({"name": "Ana", "full_name": "Ana Lima"}, ()) == {"full_name": "Ana Lima"}


def test_every_field_is_one_that_a_record_reads() -> None:
    """A record of that field alone has something that an empty one has not, or goes with another field."""
    alone = {"house_number", "unit", "complement", "middle_name", "surname_2"}
    empty = Record("a", {})
    parts = [part for part in dir(empty) if not part.startswith("_")]
    for name in FIELDS - alone:
        value = "1971-03-12" if name == "birth_date" else "male" if name == "gender" else "Recife1971"
        if name.startswith("phone"):
            value = "81999554444"
        record = Record("a", {name: value})
        assert any(getattr(record, part) != getattr(empty, part) for part in parts), name
