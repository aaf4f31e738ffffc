"""Normalisation of identifiers: from what a source wrote to the one `type:value` text that stands for it.

It decides which spellings are the same identifier and which values are unusable. It must not know what an
identifier links to. Every function here is idempotent: a normalised value normalises to itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

import idna
import phonenumbers

from .policy import IdentifierRule, Policy

VALUE_CHARS_MAX: Final = 256
"""A longer value identifies nobody; it is measured after trimming."""
RAW_CHARS_MAX: Final = 512  # above it not even trimming is tried, so that caches hold no large keys
CACHED_VALUES: Final = 16_384  # per type, 5 MB; a hit costs 0.1 µs, a miss 2 µs (email) to 17 µs (phone)
EMAIL_CHARS_MAX: Final = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets
LOCAL_CHARS_MAX: Final = 64  # RFC 5321, 4.5.3.1.1

Normalise = Callable[[str], str | None]
"""From a raw value to a normalised one, or None when it is unusable."""

_ATOM: Final = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_LOCAL_SPECIALS: Final = re.compile(r'[\s"(),:;<>@\[\\\]]')
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff"  # what copying from a web page leaves at the ends
_PUNCTUATION: Final = re.compile(r"[\s.,/_\-\u2010-\u2015\u2212]+")
_DIGITS_11: Final = re.compile(r"[0-9]{11}")
_CPF_DIGITS: Final = re.compile(r"[0-9]{9,11}")

BRAZIL: Final = 55
_BR_OLD_MOBILE_DIGITS: Final = 10  # area code and eight digits


def trim(value: str) -> str:
    """Without blanks and invisible characters at both ends."""
    value = value.strip()
    while value and (value[0] in _INVISIBLE or value[-1] in _INVISIBLE):
        value = value.strip(_INVISIBLE).strip()
    return value


def normalise_text(value: str) -> str | None:
    """Trimmed and in Unicode's composed form (NFC), case kept. Control characters make it unusable."""
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        value = trim(unicodedata.normalize("NFC", trim(value)))
        if _CONTROL.search(value):
            return None
    return value if 0 < len(value) <= VALUE_CHARS_MAX else None


def normalise_email(value: str) -> str | None:
    """The whole address casefolded, in NFC, an international domain in its ASCII form (IDNA 2008).

    No provider's tricks: dots and `+tags` tell mailboxes apart. Only the dot-atom form of RFC 5321 is an
    address, with international letters (RFC 6531); quoted local parts, address literals and display names are
    unusable.
    """
    value = value.strip()
    value = value.lower() if value.isascii() else _fold(trim(value))
    if len(value) > EMAIL_CHARS_MAX:
        return None
    local, _, domain = value.rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except UnicodeError:  # idna.IDNAError is one
            return None
        value = f"{local}@{domain}"
    if len(local) > LOCAL_CHARS_MAX or len(value) > EMAIL_CHARS_MAX or not _DOMAIN.fullmatch(domain):
        return None
    return value if _LOCAL.fullmatch(local) or _is_international_local(local) else None


def _fold(value: str) -> str:
    """Without case, composed. Folding decomposed text first makes the result stable (Unicode 3.13, D146)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", value).casefold())


def _is_international_local(local: str) -> bool:
    return (
        not local.isascii()
        and local.isprintable()
        and not _LOCAL_SPECIALS.search(local)
        and not (local[0] == "." or local[-1] == "." or ".." in local)
    )


def normalise_phone(value: str, region: str) -> str | None:
    """E.164. `region`: two-letter code of the country meant when the number does not name one.

    A Brazilian mobile number of the old form (area code and eight digits that start with 6 to 9) gets its
    ninth digit. A number with an extension is unusable: E.164 cannot hold it, and without it colleagues
    would be one person.
    """
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if number.extension is not None:
        return None
    if number.country_code == BRAZIL and number.national_number is not None:
        national = str(number.national_number)
        if len(national) == _BR_OLD_MOBILE_DIGITS and national[2] in "6789":
            number.national_number = int(f"{national[:2]}9{national[2:]}")
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def normalise_cpf(value: str) -> str | None:
    """The eleven digits of a CPF whose check digits are right; all digits equal is refused.

    Systems that keep it as a number lose its leading zeros; one or two are put back (4 % of the CPFs of a
    messy Brazilian set). The check digits stop 99 of 100 other numbers of nine or ten digits.
    """
    digits = _PUNCTUATION.sub("", value)
    if not _CPF_DIGITS.fullmatch(digits):
        return None
    digits = digits.zfill(11)
    if digits == digits[0] * 11:
        return None
    a, b, c, d, e, f, g, h, i, j, k = digits.encode()  # character codes: 48 more than the digit, each
    first = (10 * a + 9 * b + 8 * c + 7 * d + 6 * e + 5 * f + 4 * g + 3 * h + 2 * i - 48 * 54) * 10 % 11 % 10
    second = 11 * a + 10 * b + 9 * c + 8 * d + 7 * e + 6 * f + 5 * g + 4 * h + 3 * i - 48 * 63 + 2 * first
    return digits if first == j - 48 and second * 10 % 11 % 10 == k - 48 else None


def normalise_nis(value: str) -> str | None:
    """The eleven digits of a NIS (PIS, PASEP, NIT) whose check digit is right; all equal is refused."""
    digits = _PUNCTUATION.sub("", value)
    if not _DIGITS_11.fullmatch(digits) or digits == digits[0] * 11:
        return None
    a, b, c, d, e, f, g, h, i, j, k = digits.encode()
    total = 3 * a + 2 * b + 9 * c + 8 * d + 7 * e + 6 * f + 5 * g + 4 * h + 3 * i + 2 * j - 48 * 49
    return digits if -total % 11 % 10 == k - 48 else None


class Normaliser:
    """The normalisation that a policy asks for, compiled: one callable for each identifier type.

    `types` maps an identifier type to (identify, rank, strong). `identify` turns a raw value of at most
    RAW_CHARS_MAX characters into the identifier `type:value`, or None when it is unusable. A strong type has
    one value per profile. `by_source` holds the same for each source with a namespace, where a type that is
    kept apart leads to its own. The intake takes them from there; `identifier` is for everybody else.
    """

    def __init__(self, policy: Policy) -> None:
        self.types: dict[str, tuple[Normalise, int, bool]] = {
            name: (compile_rule(rule, policy), rule.rank, name in policy.strong_types)
            for name, rule in policy.rules.items()
        }
        self.by_source: dict[str, dict[str, tuple[Normalise, int, bool]]] = {
            source: self.types | {name: self.types[kept] for name, kept in names.items()}
            for source, names in policy.namespaces.items()
        }

    def identifier(self, type_name: str, value: str) -> str | None:
        """The identifier that a raw value stands for; None for an unknown type or an unusable value."""
        entry = self.types.get(type_name)
        return entry[0](value) if entry is not None and len(value) <= RAW_CHARS_MAX else None

    def parse(self, text: str) -> str | None:
        """The identifier that `type:value`, as a person writes it, stands for; None when there is none."""
        type_name, _, value = text.strip().partition(":")
        return self.identifier(type_name, value)


def compile_rule(rule: IdentifierRule, policy: Policy) -> Normalise:
    """One callable that normalises and refuses blocked values. Plain text is not cached: a miss is cheap."""
    prefix = rule.type + ":"
    if rule.normalise == "text":
        blocked_values = policy.blocked_values
        has_patterns = bool(policy.blocked_patterns)

        def identify_text(value: str) -> str | None:
            normal = normalise_text(value)
            if normal is None or normal.casefold() in blocked_values:
                return None
            return None if has_patterns and policy.is_blocked(normal) else prefix + normal

        return identify_text
    normalise = partial(_NORMALISERS[rule.normalise], region=policy.default_region)

    @lru_cache(maxsize=CACHED_VALUES)
    def identify(value: str) -> str | None:
        normal = normalise(value)
        # Blocked in either spelling: an operator lists what the logs show, or what a profile shows.
        if normal is None or policy.is_blocked(value) or policy.is_blocked(normal):
            return None
        return prefix + normal

    return identify


_NORMALISERS: Final[dict[str, Callable[..., str | None]]] = {
    "email": lambda value, region: normalise_email(value),
    "phone": normalise_phone,
    "cpf": lambda value, region: normalise_cpf(value),
    "nis": lambda value, region: normalise_nis(value),
}
