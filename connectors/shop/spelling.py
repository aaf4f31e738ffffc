"""How people and systems write an identifier: many spellings, all to come out as the canonical one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

UNUSABLE: Final = (
    ("email", "null"),
    ("email", "undefined"),
    ("email", "no e-mail"),
    ("user_id", "anonymous"),
    ("user_id", "[object Object]"),
    ("phone", "0"),
    ("phone", "12"),
    ("cpf", "111.111.111-11"),
    ("cpf", "123.456.789-00"),
    ("device_id", "None"),
    ("anonymous_id", "  "),
)
"""Values that stand for nobody: they are left out, and the rest of the touchpoint counts."""


def spell(rng: Random, kind: str, canonical: str, mess: float) -> str:
    """One spelling of a canonical identifier. `mess`: share of spellings that differ from it, 0 to 1."""
    if rng.random() >= mess:
        return canonical
    return SPELLERS.get(kind, _blanks)(rng, canonical)


def _blanks(rng: Random, value: str) -> str:
    return rng.choice((f" {value}", f"{value} ", f"  {value}\t", f"{value}\n"))


def _email(rng: Random, value: str) -> str:
    local, _, domain = value.partition("@")
    named = f"{local.title()}@{domain}"
    copied = f"{value}\u200b"  # with the invisible blank that a web page leaves
    return rng.choice(
        (value.upper(), named, f"{local}@{domain.upper()}", f" {value}  ", f"\u00a0{value}", copied)
    )


def _phone(rng: Random, value: str) -> str:
    """E.164 as forms have it. Without country code only where the default region (BR) says which it is."""
    if not value.startswith("+55"):
        rest = value[3:]
        spaced = f"+34 {rest[:3]} {rest[3:6]} {rest[6:]}"
        return rng.choice((spaced, f"+34-{rest[:3]}-{rest[3:]}", f"(+34) {rest}"))
    area, old = value[3:5], value[6:]
    return rng.choice(
        (
            f"+55 {area} 9{old[:4]}-{old[4:]}",
            f"+55 ({area}) {old[:4]}-{old[4:]}",  # from before the ninth digit
            f"({area}) 9{old[:4]}-{old[4:]}",
            f"({area}) {old[:4]}-{old[4:]}",
            f"{area}9{old}",
            f"0{area} 9{old[:4]} {old[4:]}",
        )
    )


def _cpf(rng: Random, value: str) -> str:
    dotted = f"{value[:3]}.{value[3:6]}.{value[6:9]}-{value[9:]}"
    number = value.lstrip("0")  # what a spreadsheet makes of it
    short = number if len(number) in (9, 10) else dotted
    return rng.choice((dotted, short, f" {dotted} ", f"{value[:9]}-{value[9:]}", f" {value}"))


def _nis(rng: Random, value: str) -> str:
    return rng.choice((f"{value[:3]}.{value[3:8]}.{value[8:10]}-{value[10:]}", f" {value} "))


SPELLERS: Final[dict[str, Callable[[Random, str], str]]] = {
    "email": _email,
    "phone": _phone,
    "cpf": _cpf,
    "nis": _nis,
}
