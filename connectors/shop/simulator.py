"""The shop itself: who does something next, when it is sent, and how it is written down.

Deterministic: equal seed, start and rate give equal emissions, however the caller slices time. No clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final
from zlib import crc32

from .behaviour import (
    Draft,
    Visit,
    account_visit,
    app_visit,
    crm_import,
    email_campaign,
    family_evening,
    web_visit,
)
from .malformed import make_malformed
from .people import Person, new_person
from .spelling import UNUSABLE, spell
from .truth import Truth

MALFORMED_SHARE: Final = 0.008
RESENT_SHARE: Final = 0.02
UNUSABLE_SHARE: Final = 0.02  # touchpoints that carry a worthless identifier beside the good ones
RECENT_MAX: Final = 2_000  # emissions that may be sent again
STEP_MS: Final = 1_500  # a visitor's mean pause between two touchpoints; people are quick in this shop
VISITS_MIN: Final = 8
PEOPLE_MAX: Final = 50_000  # then nobody new comes
TABLETS_MAX: Final = 3  # family tablets of one owner, far below the limit of devices


@dataclass(frozen=True, slots=True)
class Emission:
    """One value for the topic `touchpoints.<source>`: a touchpoint as a mapping, or bytes to send as is.

    `reason`: why it must be rejected, empty for a good one. `resent`: it was sent before and must count once.
    `identifier`: one that it links, in the truth's form; empty where it counts for nobody.
    """

    due_ms: int
    source: str
    value: dict[str, Any] | bytes
    reason: str = ""
    resent: bool = False
    identifier: str = ""


class Shop:
    """A shop under a seed. `truth` is up to date with what `until` has given out, never ahead of it.

    Args:
        seed: equal seeds, starts and rates play equal shops.
        start_ms: the instant of the beginning, ms since the epoch; nothing happens in its future.
        rate: touchpoints per second, on average and from the first second on.
    """

    def __init__(self, seed: int, start_ms: int, rate: float = 200.0) -> None:
        if rate <= 0:
            raise ValueError("rate: write a number of touchpoints per second above 0")
        self.truth = Truth()
        self.people: list[Person] = []
        self.now_ms = start_ms
        self._rng = Random(seed)
        self._exact_ms = float(start_ms)
        self._gap_ms = 1_000.0 / rate
        self._tag = f"{crc32(f'{seed} {start_ms}'.encode()) & 0xFFFF:04x}"
        self._number = 0
        self._recent: deque[Emission] = deque(maxlen=RECENT_MAX)
        self._visits: list[Visit] = [iter(()) for _ in range(max(VISITS_MIN, round(rate * STEP_MS / 1_000)))]

    def until(self, now_ms: int) -> Iterator[Emission]:
        """Everything that is due at `now_ms` or before and was not given out yet, in order. Take it all."""
        while self._exact_ms <= now_ms:
            self.now_ms = int(self._exact_ms)
            self._exact_ms += self._rng.expovariate(1.0) * self._gap_ms
            yield self._next()

    def _next(self) -> Emission:
        dice = self._rng.random()
        if dice < RESENT_SHARE and self._recent:
            again = self._rng.choice(self._recent)
            self.truth.resent += 1
            return Emission(self.now_ms, again.source, again.value, resent=True)
        if dice > 1.0 - MALFORMED_SHARE and self.people:
            return self._malformed()
        emission = self._write(self._draft())
        self._recent.append(emission)
        return emission

    def _draft(self) -> Draft:
        """The next step of some visit. A visit that has ended makes room for another."""
        place = self._rng.randrange(len(self._visits))
        while True:
            draft = next(self._visits[place], None)
            if draft is not None:
                return draft
            self._visits[place] = self._new_visit()

    def _new_visit(self) -> Visit:
        rng = self._rng
        kind = rng.choices(("web", "app", "crm", "email", "account", "family"), (46, 22, 12, 14, 4, 2))[0]
        if kind == "family":
            return self._family()
        if kind in ("web", "app"):
            visit = web_visit if kind == "web" else app_visit
            return visit(rng, self._somebody(0.35))
        if kind == "crm":
            return crm_import(rng, self._somebody(0.3))
        if kind == "email":
            return email_campaign(rng, self._somebody(0.0, lambda one: one.in_crm or one.has_account))
        return account_visit(rng, self._somebody(0.0, lambda one: one.has_account))

    def _family(self) -> Visit:
        owner = self._somebody(0.0, lambda one: one.has_account and one.tablets < TABLETS_MAX)
        guest = self._somebody(0.0, lambda one: one.has_account and one is not owner)
        if guest is owner or not (owner.has_account and guest.has_account and owner.tablets < TABLETS_MAX):
            return web_visit(self._rng, owner)
        owner.tablets += 1
        return family_evening(self._rng, owner, guest, lambda: self.now_ms)

    def _somebody(self, new_share: float, wanted: Callable[[Person], bool] | None = None) -> Person:
        """A person for a visit: somebody new, or one that is `wanted`. A few tries, then whoever is found."""
        if not self.people or (self._rng.random() < new_share and len(self.people) < PEOPLE_MAX):
            self.people.append(new_person(self._rng, len(self.people) + 1))
            return self.people[-1]
        person = self._rng.choice(self.people)
        for _ in range(20):
            if wanted is None or wanted(person):
                break
            person = self._rng.choice(self.people)
        return person

    def _write(self, draft: Draft) -> Emission:
        """Give a draft its instant, its id and its spelling, and tell the truth about it."""
        rng, person = self._rng, draft.person
        occurred_ms = person.instant(self.now_ms - draft.age_ms)
        sent = [*draft.identifiers, *draft.seen_only]
        spelled = [(kind, spell(rng, kind, value, draft.mess)) for kind, value in sent]
        if rng.random() < UNUSABLE_SHARE:
            spelled.insert(rng.randrange(len(spelled) + 1), rng.choice(UNUSABLE))
        touchpoint = {
            "event_id": self._event_id(draft.source),
            "source": draft.source,
            "type": draft.type,
            "occurred_at": occurred_ms,
            "identifiers": [{"type": kind, "value": value} for kind, value in spelled],
            "traits": draft.traits,
            "properties": draft.properties,
            "consent": draft.consent,
            "context": {"library": "shop-simulator"},
        }
        identifiers = [f"{kind}:{value}" for kind, value in draft.identifiers]
        self.truth.record(
            person=person.number,
            identifiers=identifiers,
            occurred_ms=occurred_ms,
            event_type=draft.type,
            category=draft.properties.get("category", ""),
            traits=draft.traits,
            consent=draft.consent,
        )
        return Emission(self.now_ms, draft.source, touchpoint, identifier=identifiers[0])

    def _malformed(self) -> Emission:
        source = self._rng.choice(("web", "app", "crm", "email"))
        one, other = self._rng.choice(self.people).user_id, self._rng.choice(self.people).user_id
        if one == other:
            other = "u-1"
        reason, value = make_malformed(self._rng, self._event_id(source), source, self.now_ms, one, other)
        self.truth.reject(reason)
        return Emission(self.now_ms, source, value, reason=reason)

    def _event_id(self, source: str) -> str:
        self._number += 1
        return f"{source}-{self._tag}-{self._number}"
