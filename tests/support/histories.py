"""Generated histories: people with their devices and addresses, some of them shared, some in conflict."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import structs

from pipeline.core.policy import Policy, parse_policy
from pipeline.core.touch import Touch
from tests.support.decision_oracle import Ruled
from tests.support.segment_cases import CATEGORIES, CITIES, EVENTS, HOUR_MS, HOURS, PURPOSES, START_MS, Scale

IDENTIFIERS: Final[dict[str, Any]] = {
    "user_id": {"limit": 1},
    "cpf": {"limit": 1, "normalise": "cpf"},
    "email": {"limit": 2, "normalise": "email", "shared_after": 3},
    "phone": {"limit": 2, "normalise": "phone"},
    "device_id": {"limit": 3, "on_conflict": "keep", "shared_after": 4},
    "anonymous_id": {"limit": 4},
}
"""Limits so low that they are met all the time."""
SURVIVORSHIP: Final = {"plan": "first", "likes": "union", "shop": "most_frequent"}


TIMES: Final = {"anonymous_retention": "90d", "link_wait": "250ms"}
"""Some answers take longer than this `link_wait`: what is told without them is part of the test."""


def policy_of(*, moves: bool = False, **changes: Any) -> Policy:
    """A policy for histories. `moves`: devices go to whoever logged in last."""
    identifiers = {name: dict(rule) for name, rule in IDENTIFIERS.items()}
    if moves:
        identifiers["device_id"]["on_conflict"] = "move"
        identifiers["phone"]["on_conflict"] = "move"
    return parse_policy({"identifiers": identifiers, "traits": SURVIVORSHIP} | TIMES | changes)


def random_policy(rng: random.Random, **changes: Any) -> Policy:
    """A policy with some of the rules that a default policy does not have."""
    identifiers = {name: dict(rule) for name, rule in IDENTIFIERS.items()}
    for name, rule in identifiers.items():
        if name != "user_id" and rng.random() < 0.3:
            rule["unique"] = rng.choice(["newest", "oldest"])
            rule.pop("on_conflict", None)
        elif rng.random() < 0.4:
            rule["on_conflict"] = rng.choice(["keep", "move"])
        if rng.random() < 0.4:
            rule["limit"] = {"count": rng.randrange(1, 3), "within": rng.choice(["30m", "1h", "3h", "9h"])}
        if name not in ("user_id", "cpf") and rng.random() < 0.3:
            rule["shared_after"] = rng.randrange(1, 4)
    document: dict[str, Any] = {"identifiers": identifiers, "traits": SURVIVORSHIP}
    if rng.random() < 0.5:
        document["cannot_link"] = {"traits": rng.sample(["city", "shop", "plan", "address"], k=2)}
    return parse_policy(document | TIMES | changes)


def owning_policy(rng: random.Random) -> Policy:
    """A policy in which values go from one owner to the next, and nothing slides."""
    identifiers = {name: dict(rule) for name, rule in IDENTIFIERS.items()}
    for name in rng.sample(["email", "phone", "device_id", "anonymous_id"], k=rng.randrange(1, 4)):
        identifiers[name]["unique"] = "newest"
        identifiers[name].pop("on_conflict", None)
    return parse_policy({"identifiers": identifiers, "traits": SURVIVORSHIP} | TIMES)


def policy_change(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two policies, as documents, of which the second may take the place of the first while workers run."""
    first, second = ({name: dict(rule) for name, rule in IDENTIFIERS.items()} for _ in range(2))
    for identifiers in (first, second):
        for name, rule in identifiers.items():
            if name != "user_id" and rng.random() < 0.2:
                rule["unique"] = rng.choice(["newest", "oldest"])
                rule.pop("on_conflict", None)
            elif rng.random() < 0.4:
                rule["on_conflict"] = rng.choice(["keep", "move"])
            if rule["limit"] > 1 and rng.random() < 0.6:
                count = rng.randrange(2, 6)
                within = rng.choice(["30m", "3h", "9h"])
                rule["limit"] = {"count": count - 1, "within": within} if rng.random() < 0.4 else count
            if name not in ("user_id", "cpf"):
                rule.pop("shared_after", None)
                if rng.random() < 0.6:
                    rule["shared_after"] = rng.randrange(1, 5)
    documents = []
    for version, identifiers in enumerate((first, second), 1):
        document: dict[str, Any] = {"version": version, "identifiers": identifiers, "traits": SURVIVORSHIP}
        if rng.random() < 0.4:
            document["cannot_link"] = {"traits": rng.sample(["city", "shop", "plan", "address"], k=2)}
        documents.append(document)
    return documents[0], documents[1]


def keep_shared(before: dict[str, Any], after: dict[str, Any], shared: Collection[str]) -> None:
    """Share from no more people on than before where somebody is shared: who is, stays so."""
    for identifier in shared:
        name = identifier.partition(":")[0]
        least = before["identifiers"][name]["shared_after"]
        rule = after["identifiers"][name]
        rule["shared_after"] = min(rule.get("shared_after", least), least)


@dataclass(slots=True)
class World:
    """Who there is. `mixed`: how often somebody uses what belongs to another."""

    rng: random.Random
    people: int = 4
    mixed: float = 0.15
    scale: Scale = HOURS
    owned: list[dict[str, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for person in range(self.people):
            self.owned.append({
                "user_id": [f"user_id:u{person}"],
                "cpf": [f"cpf:{person:011d}"] * self.rng.randrange(2),
                "email": [f"email:p{person}.{at}@example.com" for at in range(self.rng.randrange(3))],
                "phone": [f"phone:+55119{person:04d}000{at}" for at in range(self.rng.randrange(2))],
                "device_id": [f"device_id:d{person}.{at}" for at in range(self.rng.randrange(1, 3))],
                "anonymous_id": [f"anonymous_id:a{person}.{at}" for at in range(self.rng.randrange(1, 4))],
            })  # fmt: skip
        kiosk = ["email:kiosk@example.com", "device_id:kiosk"]
        for owned in self.owned:
            for identifier in kiosk:
                if self.rng.random() < 0.5:
                    owned[identifier.partition(":")[0]].append(identifier)

    def identifiers(self) -> list[str]:
        """The identifiers of one touch, strongest first; never two values of a type with limit 1."""
        person = self.rng.randrange(self.people)
        chosen = []
        for kind in IDENTIFIERS:
            owner = self.rng.randrange(self.people) if self.rng.random() < self.mixed else person
            values = self.owned[owner][kind]
            if values and self.rng.random() < 0.4:
                most = 1 if IDENTIFIERS[kind]["limit"] == 1 or self.rng.random() < 0.9 else 2
                chosen += sorted(self.rng.sample(values, k=min(most, len(values))))
        return chosen or [self.rng.choice(self.owned[person]["anonymous_id"])]

    def touch(self, number: int) -> Touch:
        """One touch: event times on the grid of the scale, so that many of them are equal."""
        rng, scale = self.rng, self.scale
        traits = {
            name: rng.choice(values)
            for name, values in (
                ("city", [*CITIES, None]), ("plan", ["free", "pro", 1, 1.0, True]),
                ("likes", [["hats", "books"], "books", ["running shoes"]]), ("shop", ["A", "B", "C"]),
                ("born", ["1990-01-31", None, scale.day(rng), scale.day(rng), scale.day(rng)]),
                ("address", [[1], [1.0], {"a": 1, "b": [2]}, {"b": [2], "a": 1}]),
            )
            if rng.random() < 0.15
        }  # fmt: skip
        properties = (
            {}
            if rng.random() < 0.3
            else {"category": rng.choice(CATEGORIES), "price": rng.choice([0, 1, 2, 3, 4, 0.1, 2.5, -1])}
        )
        return Touch(
            event_id=f"e{number}",
            source=rng.choice(["web", "app", "crm"]),
            type=rng.choice(EVENTS),
            occurred_at=scale.start_ms + rng.randrange(20) * scale.step_ms + rng.choice([0, 0, 1]),
            identifiers=self.identifiers(),
            traits=json.dumps(traits) if traits else "{}",
            properties=json.dumps(properties) if properties else "{}",
            consent={one: rng.random() < 0.7 for one in PURPOSES if rng.random() < 0.15},
        )


def random_touches(rng: random.Random, count: int, people: int = 4, mixed: float = 0.15) -> list[Touch]:
    """`count` different touches in the order of generation, which is no order of time."""
    world = World(rng, people, mixed)
    return [world.touch(number) for number in range(count)]


def random_decisions(rng: random.Random, touches: list[Touch], count: int) -> list[Ruled]:
    """`count` different decisions about identifiers of these touches and some others, on the same grid of
    instants; some of them are undone.
    """
    order = list(IDENTIFIERS)
    known = sorted({one for touch in touches for one in touch.identifiers} | {"email:new@example.com"})

    def some(most: int) -> tuple[str, ...]:
        chosen = rng.sample(known, k=min(len(known), rng.randrange(1, most + 1)))
        if rng.random() < 0.3:  # What may be shared: decisions have it all the same.
            chosen = list({*chosen, *(one for one in known if one.endswith(("kiosk", "kiosk@example.com")))})
        return tuple(sorted(chosen, key=lambda one: (order.index(one.partition(":")[0]), one)))

    decisions = []
    for number in range(count):
        at_ms = START_MS + rng.randrange(24) * HOUR_MS // 2
        kind = rng.random()
        if kind < 0.35:
            made = Ruled(f"d{number}", "merge", at_ms, some(3))
        elif kind < 0.7:
            made = Ruled(f"d{number}", "split", at_ms, some(3))
        elif kind < 0.85 or not decisions:
            made = Ruled(f"crm:d{number}", "merge", at_ms, some(3), "crm")
        else:
            merges = [one for one in decisions if one.source == "crm" and len(one.identifiers) > 1]
            near = rng.choice(merges).identifiers if merges else some(2)
            made = Ruled(f"crm:d{number}", "part", at_ms, near[1:] or some(1), "crm", near[:1])
        decisions.append(made)
    undone = [one for one in decisions if rng.random() < 0.25]
    return decisions + [Ruled(one.id, "undo", START_MS, one.kept or one.identifiers) for one in undone]


NAMES: Final = (
    ("Ana Beatriz Sikorski", "Ana B. Sikorsky", "Beatriz Sikorski", "Anna Beatriz Sikorski"),
    ("João Prado Quintela", "Joao Prado", "Quintela, João", "Joao P Quintela"),
    ("Ana Clara Sikorski", "Ana C. Sikorski"),  # a sister of the first
    ("Maria da Silva", "Maria Silva"),
)
BORN: Final = (
    ("1980-03-12", "12/03/1980", "1980-12-03", "1980-03-13"), ("1955-07-01", "1955"), ("1980-03-12",),
    ("1990-11-30", "30/11/1990"),
)  # fmt: skip
DWELLINGS: Final = ("Rua das Acácias 12", "Rua Tapajós 9", "Rua das Acacias, 12", "Avenida Boa Viagem 100")


def described(rng: random.Random, touches: Iterable[Touch]) -> list[Touch]:
    """The same touches, of which many tell names, birth dates and more, some of them somebody else's, and
    some take back what was told.
    """
    whose: dict[str, int] = {}
    found = []
    for touch in touches:
        if rng.random() < 0.3:
            found.append(touch)
            continue
        usual = whose.setdefault(touch.identifiers[0], rng.randrange(len(NAMES)))
        who = usual if rng.random() < 0.8 else rng.randrange(len(NAMES))
        told: dict[str, Any] = {"name": rng.choice(NAMES[who]), "birth_date": rng.choice(BORN[who])}
        if rng.random() < 0.4:
            told["street"] = DWELLINGS[who if rng.random() < 0.8 else rng.randrange(len(DWELLINGS))]
        if rng.random() < 0.4:
            told["phone"] = f"+55119{who:04d}0000"
        for name in ("name", "birth_date"):
            if rng.random() < 0.1:
                told[name] = None
            elif rng.random() < 0.1:
                del told[name]
        traits = json.loads(touch.traits) | told
        found.append(structs.replace(touch, traits=json.dumps(traits)))
    return found


def matching_section(rng: random.Random, models: Sequence[str] = ("shipped",)) -> dict[str, Any]:
    """How records are compared: by one of these models, with blocks so small that they are full all the time,
    and weights between which many pairs lie.
    """
    review_above = rng.choice([0, 4])
    merge_above = review_above + rng.choice([0, 3, 8])
    model = models[0] if len(models) == 1 else rng.choice(models)
    return {"model": model, "merge_above": merge_above, "review_above": review_above,
            "block_records_max": rng.choice([2, 3, 5, 60])}  # fmt: skip


def shuffled_with_repetitions(rng: random.Random, touches: list[Touch], repeated: float = 0.2) -> list[Touch]:
    """Another order of arrival, in which some touches come more than once."""
    again = [touch for touch in touches if rng.random() < repeated]
    return rng.sample(touches + again, k=len(touches) + len(again))
