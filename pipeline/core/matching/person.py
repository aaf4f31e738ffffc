"""The fields of a comparison record out of what a profile holds: its traits and identifiers.

It must not know where profiles come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from .record import SUFFIXES

_FIELDS: Final = """
given_name middle_name surname surname_2 full_name org_name birth_date gender birth_place occupation employer
race_ethnicity mother_name street house_number complement unit address_full city state postcode phone phone_2
phone_3 email email_2 email_3 national_id social_id passport drivers_license tax_id lei other_id record_type
"""
FIELDS: Final = frozenset(_FIELDS.split())
"""The names that a record is read by."""
OTHER_NAMES: Final[Mapping[str, str]] = {
    "name": "full_name",
    "first_name": "given_name",
    "last_name": "surname",
    "birthday": "birth_date",
    "postal_code": "postcode",
    "zip": "postcode",
    "company": "org_name",
    "cpf": "national_id",
    "nis": "social_id",
}
"""Names that traits and identifier types usually have → the field that is meant."""


def fields_of(traits: Mapping[str, object], identifiers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The comparable fields of a profile.

    `identifiers`: types and values; of one type the first three in the order of their values count. A trait
    under the field's own name goes before one under another name, and identifiers before traits.
    """
    found: dict[str, str] = {}
    for kind, value in sorted(identifiers):
        field = OTHER_NAMES.get(kind, kind)
        if field in FIELDS:
            free = next((field + suffix for suffix in SUFFIXES if field + suffix not in found), None)
            if free is not None:
                found[free] = value
    for name, told in sorted(traits.items(), key=lambda one: (one[0] in OTHER_NAMES, one[0])):
        field = OTHER_NAMES.get(name, name)
        if field in FIELDS and isinstance(told, str | int) and not isinstance(told, bool):
            found.setdefault(field, str(told))
    return found
