"""Labelled comparison records of made-up people: families, twins, namesakes, faults of hand-typed fields.

Names are drawn with the skew of real ones. Same seed, same records.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

GIVEN: Final = """
Maria José Ana João Antônio Francisco Carlos Paulo Pedro Lucas Luiz Marcos Gabriel Rafael Daniel
Marcelo Bruno Eduardo Felipe Rodrigo Francisca Adriana Juliana Márcia Fernanda Patrícia Aline Sandra
Camila Amanda Bruna Jéssica Letícia Vanessa Mariana Gabriela Vera Beatriz Ivone Otávio Dorival
Quitéria Zilda Wagner
"""
FAMILY: Final = """
Silva Santos Oliveira Souza Rodrigues Ferreira Alves Pereira Lima Gomes Costa Ribeiro Martins
Carvalho Almeida Lopes Soares Fernandes Vieira Barbosa Rocha Dias Nascimento Andrade Moreira Nunes
Marques Machado Mendes Freitas Cardoso Ramos Teixeira Braun Weber Yamamoto Sikorski Quadros Xavier
Zanetti
"""
"""Both from the most frequent name on."""
STREETS: Final = ("Rua das Flores", "Avenida Brasil", "Rua Sete de Setembro", "Rua XV")
CITIES: Final = ("São Paulo", "Recife", "Curitiba", "Manaus", "Belém", "Niterói")
Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A record and whose it is."""

    record_id: str
    entity_id: str
    fields: Mapping[str, str]


def make_people(seed: int, families: int) -> list[Labelled]:
    """Two to four people a family, one to four records each, in random order."""
    rng = random.Random(seed)
    records: list[Labelled] = []
    for family in range(families):
        number = str(rng.randrange(1, 900))
        home = {"street": rng.choice(STREETS), "house_number": number, "city": rng.choice(CITIES)}
        phone, surname = f"119{rng.randrange(10**7, 10**8)}", _skewed(rng, FAMILY)
        middle, twins = _skewed(rng, FAMILY), _birth(rng)
        for member in range(rng.randrange(2, 5)):
            person = {
                "full_name": f"{_skewed(rng, GIVEN)} {middle} {surname}",
                "birth_date": twins if family % 5 == 0 and member < 2 else _birth(rng),
                "phone": phone if rng.random() < 0.5 else f"119{rng.randrange(10**7, 10**8)}",
                "national_id": f"{rng.randrange(10**10, 10**11)}",
                **home,
            }
            for copy in range(rng.randrange(1, 5)):
                name = f"p{family}-{member}"
                records.append(Labelled(f"{name}-{copy}", name, _seen(rng, person)))
    rng.shuffle(records)
    return records


def _skewed(rng: random.Random, text: str) -> str:
    names = text.split()
    return names[int(len(names) * rng.random() ** 2)]


def _birth(rng: random.Random) -> str:
    return f"{rng.randrange(1940, 2015)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"


def _seen(rng: random.Random, person: Fields) -> Fields:
    """What one source wrote of a person: some fields, some of them with a fault."""
    fields = {name: value for name, value in person.items() if name == "full_name" or rng.random() < 0.75}
    given, middle, last = person["full_name"].split()
    form = rng.random()
    if form < 0.2:
        fields["full_name"] = f"{given} {middle[0]}. {last}"
    elif form < 0.4:
        fields["full_name"] = f"{given} {last}".upper()
    for name in fields:
        if len(fields[name]) > 2 and rng.random() < 0.08:
            fields[name] = typed_wrongly(rng, fields[name])
    return fields


def typed_wrongly(rng: random.Random, text: str) -> str:
    """One character left out, doubled, replaced or turned round with the next."""
    at = rng.randrange(len(text) - 1)
    fault = rng.randrange(4)
    if fault == 0:
        return text[:at] + text[at + 1 :]
    if fault == 1:
        return text[:at] + text[at] + text[at:]
    if fault == 2:
        return text[:at] + rng.choice("0123456789" if text[at].isdigit() else "aeiorst") + text[at + 1 :]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
