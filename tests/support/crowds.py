"""Labelled comparison records of made-up people by other rules than `people.py`: languages, faults, sizes.

Given names and surnames are drawn with the skew of real ones and a long tail of rare ones. Families share
surname, dwelling and often the phone; some have twins, and children named after a parent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from .faults_of_writing import FAULTS, Fields
from .people import Labelled

GIVEN: Final = {
    "pt": """
    Maria Jose Ana Joao Antonio Francisco Carlos Paulo Pedro Lucas Luiz Marcos Gabriel Rafael Daniel
    Marcelo Bruno Eduardo Felipe Rodrigo Francisca Adriana Juliana Marcia Fernanda Patricia Aline
    Sandra Camila Amanda Bruna Jessica Leticia Vanessa Mariana Gabriela Vera Beatriz Ivone Otavio
    Dorival Zilda Wagner Helena Cicero Rute
    """,
    "en": """
    James Mary John Patricia Robert Jennifer Michael Linda William Elizabeth David Barbara Richard Susan
    Joseph Jessica Thomas Sarah Charles Karen Daniel Nancy Matthew Lisa Anthony Margaret Mark Betty
    Donald Sandra Steven Ashley Paul Kimberly Andrew Emily Joshua Donna Kenneth Michelle Katherine
    Harvey Edith Clive Olive
    """,
    "es": """
    Maria Jose Antonio Carmen Manuel Ana Francisco Isabel Juan Dolores David Pilar Javier Teresa Daniel
    Rosa Carlos Cristina Jesus Laura Alejandro Elena Miguel Lucia Rafael Marta Pedro Sara Pablo
    Paula Angel Raquel Sergio Guadalupe Ignacio Rosario Mercedes Nuria Ximena Itziar
    """,
}
FAMILY: Final = {
    "pt": """
    Silva Santos Oliveira Souza Rodrigues Ferreira Alves Pereira Lima Gomes Costa Ribeiro Martins
    Carvalho Almeida Lopes Soares Fernandes Vieira Barbosa Rocha Dias Nascimento Andrade Moreira
    Nunes Marques Machado Mendes Freitas Cardoso Ramos Teixeira
    """,
    "en": """
    Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Taylor Moore Jackson Martin Lee
    Thompson White Harris Clark Lewis Robinson Walker Young Allen King Wright Scott Hill Green Adams
    Nelson Baker Hall
    """,
    "es": """
    Garcia Rodriguez Gonzalez Fernandez Lopez Martinez Sanchez Perez Gomez Martin Jimenez Ruiz Hernandez
    Diaz Moreno Munoz Alvarez Romero Alonso Gutierrez Navarro Torres Dominguez Vazquez Ramos Gil
    Ramirez Serrano
    """,
}
CITIES: Final = {
    "pt": ("São Paulo", "Recife", "Curitiba", "Manaus", "Belém", "Niterói", "Olinda", "Sobral"),
    "en": ("London", "Leeds", "York", "Bath", "Derby", "Truro", "Ely", "Wells"),
    "es": ("Madrid", "Sevilla", "Bilbao", "Toledo", "Gijón", "Murcia", "Soria", "Cuenca"),
}
STREETS: Final = {"pt": "Rua {} {}", "en": "{1} Street", "es": "Calle {} {}"}
SYLLABLES: Final = """
ba be bi bo ca co da de do fa fe ga go ja la le li lo ma me mi mo na ne ni no pa pe ra re ri ro sa so ta
te to va ve vi za
"""
RARE_NAMES: Final = 2_000
ALL_FIELDS: Final = (
    "given_name", "middle_name", "surname", "birth_date", "gender", "phone", "email", "street",
    "house_number", "city", "postcode", "national_id", "mother_name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Crowd:
    """How a set is made.

    `faults`: kinds of `FAULTS`; each record has one of them with chance `fault_rate`.
    """

    people: int
    faults: tuple[str, ...] = ("keyboard",)
    fault_rate: float = 0.5
    fields: tuple[str, ...] = ALL_FIELDS
    language: str = "pt"
    copies: tuple[int, ...] = (1, 1, 2, 2, 3)
    """Numbers of records of a person, each as likely."""
    filled: float = 0.85
    """The chance that a record has a field."""
    family: int = 4
    """The size of the largest family."""
    twins: float = 0.03
    full_name: bool = False


@dataclass(slots=True)
class _Names:
    rng: random.Random
    language: str
    tail: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = SYLLABLES.split()
        for _ in range(RARE_NAMES):
            self.tail.append("".join(self.rng.choices(parts, k=self.rng.randrange(2, 5))).capitalize())

    def draw(self, table: dict[str, str], rare: float) -> str:
        names = table[self.language].split()
        if self.rng.random() < rare:
            return self.tail[int(len(self.tail) * self.rng.random() ** 2)]
        return names[int(len(names) * self.rng.random() ** 2)]


def make_crowd(seed: int, crowd: Crowd) -> list[Labelled]:
    """The records in random order; same arguments, same records."""
    rng = random.Random(seed)
    names = _Names(rng, crowd.language)
    records: list[Labelled] = []
    made = 0
    while made < crowd.people:
        for person in _family(rng, names, crowd)[: crowd.people - made]:
            name = f"p{made}"
            made += 1
            for copy in range(rng.choice(crowd.copies)):
                records.append(Labelled(f"{name}-{copy}", name, _written(rng, crowd, person)))
    rng.shuffle(records)
    return records


def _family(rng: random.Random, names: _Names, crowd: Crowd) -> list[Fields]:
    """People of one dwelling: the first two are the parents."""
    surname, city = names.draw(FAMILY, 0.35), rng.choice(CITIES[crowd.language])
    home = {
        "street": STREETS[crowd.language].format(names.draw(GIVEN, 0.3), names.draw(FAMILY, 0.5)),
        "house_number": str(rng.randrange(1, 1500)),
        "city": city,
        "postcode": f"{rng.randrange(10**5, 10**6)}00",
    }
    phone = f"11{rng.randrange(10**8, 10**9)}"
    mother, family, twins = "", [], rng.random() < crowd.twins
    births = f"{rng.randrange(1975, 2012)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
    for member in range(rng.randrange(1, crowd.family + 1)):
        child = member >= 2
        given = names.draw(GIVEN, 0.15)
        if child and rng.random() < 0.1:
            given = family[0]["given_name"]
        year = rng.randrange(1975, 2012) if child else rng.randrange(1935, 1975)
        birth = f"{year}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
        middle = names.draw(GIVEN, 0.1) if rng.random() < 0.4 else names.draw(FAMILY, 0.3)
        someone = f"{names.draw(GIVEN, 0.15)} {names.draw(FAMILY, 0.35)}"
        person = {
            "given_name": given,
            "middle_name": middle,
            "surname": surname,
            "birth_date": births if twins and child else birth,
            "gender": rng.choice("MF"),
            "phone": phone if rng.random() < 0.5 else f"11{rng.randrange(10**8, 10**9)}",
            "email": f"{given}.{surname}{rng.randrange(99)}@mail{rng.randrange(4)}.example".lower(),
            "national_id": f"{rng.randrange(10**10, 10**11)}",
            "mother_name": mother if child and mother else someone,
            **home,
        }
        if member == 1:
            mother = f"{given} {middle} {surname}"
        family.append(person)
    return family


def _written(rng: random.Random, crowd: Crowd, person: Fields) -> Fields:
    kept = {
        name: value
        for name, value in person.items()
        if name in crowd.fields and (name in ("given_name", "surname") or rng.random() < crowd.filled)
    }
    if crowd.faults and rng.random() < crowd.fault_rate:
        FAULTS[rng.choice(crowd.faults)](rng, kept)
    if crowd.full_name:
        parts = [kept.pop(name, "") for name in ("given_name", "middle_name", "surname")]
        kept["full_name"] = " ".join(part for part in parts if part)
    return {name: value for name, value in kept.items() if value}
