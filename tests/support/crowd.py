"""People who do things now: touchpoints for load under faults, repeatable by seed but for the clock.

Each person browses anonymously, logs in at times, buys, opens e-mails and stands in the CRM. Some touchpoints
are sent twice. Identifiers are clean, so that a touchpoint says what the oracle must be told.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from pipeline.core.touch import Touch

from .fleet import Fleet
from .touchpoints import shipped_policy

Touchpoint = dict[str, Any]
CATEGORIES: Final = ("running shoes", "trail shoes", "jackets", "socks")
CITIES: Final = ("Madrid", "Lisboa", "Sevilla")
REPEAT_SHARE: Final = 0.03
REPEATABLE_MAX: Final = 500
JITTER_MS: Final = 300  # touchpoints arrive up to this long after they happened
NOW_WINDOW_MS: Final = 1_000
LOAD_STEP_S: Final = 0.01

DEFINITIONS: Final[tuple[dict[str, Any], ...]] = (
    {
        "id": "madrid-running-no-purchase",
        "where": {
            "all": [
                {"trait": "city", "is": "Madrid"},
                {"event": "product_viewed", "where": {"category": "running shoes"}, "within": "1h"},
                {"none": [{"event": "order_completed", "within": "1h"}]},
            ]
        },
    },
    {"id": "busy", "where": {"event": "product_viewed", "within": "1h", "at_least": 3}},
    {"id": "here-now", "where": {"event": "product_viewed", "within": f"{NOW_WINDOW_MS // 1_000}s"}},
    {
        "id": "reachable-buyer",
        "purpose": "marketing",
        "where": {"all": [{"event": "order_completed"}, {"has": "email"}]},
    },
)
"""Windows that outlast a test, one that ends again and again within it, and a counter behind a consent."""


@dataclass(slots=True)
class Human:
    """What a person can be known by. `phone` may be shared with a neighbour."""

    anonymous: list[str]
    devices: list[str]
    user: str
    email: str
    city: str


@dataclass
class Crowd:
    """Yields touchpoints. `households`: so many in a hundred people use a neighbour's device as well."""

    seed: int
    people: int
    households: int = 4
    sent: list[Touchpoint] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the people."""
        self._rng = rng = random.Random(self.seed)
        self._humans = [
            Human(
                anonymous=[f"a{self.seed}-{number}-{one}" for one in range(rng.randint(1, 3))],
                devices=[f"d{self.seed}-{number}-{one}" for one in range(rng.randint(1, 2))],
                user=f"u{self.seed}-{number}",
                email=f"p{self.seed}.{number}@example.com",
                city=rng.choice(CITIES),
            )
            for number in range(self.people)
        ]
        for number in range(1, self.people):
            if rng.randrange(100) < self.households:
                self._humans[number].devices.append(self._humans[number - 1].devices[0])

    def next(self, now_ms: int) -> Touchpoint:
        """One touchpoint, or a repetition of one that was sent before."""
        rng = self._rng
        if self.sent and rng.random() < REPEAT_SHARE:
            return self.sent[-rng.randint(1, min(len(self.sent), REPEATABLE_MAX))]
        human = self._humans[int(self.people * rng.random() ** 1.5)]
        identifiers, touchpoint = self._deed(human)
        touchpoint["event_id"] = f"e{self.seed}-{len(self.sent)}"
        touchpoint["occurred_at"] = now_ms - rng.randrange(JITTER_MS)
        touchpoint["identifiers"] = [{"type": name, "value": value} for name, value in identifiers]
        self.sent.append(touchpoint)
        return touchpoint

    def take(self, count: int) -> list[Touchpoint]:
        """So many touchpoints that happen now."""
        now_ms = time.time_ns() // 1_000_000
        return [self.next(now_ms) for _ in range(count)]

    def _deed(self, human: Human) -> tuple[list[tuple[str, str]], Touchpoint]:
        rng = self._rng
        dice = rng.random()
        if dice < 0.08:
            traits = {"city": rng.choice((human.city, human.city, "Madrid")), "name": human.user}
            known = [("user_id", human.user), ("email", human.email)]
            granted = {"marketing": rng.random() < 0.8}
            return known, {"source": "crm", "type": "crm_updated", "traits": traits, "consent": granted}
        if dice < 0.16:
            return [("email", human.email)], {"source": "email", "type": "email_opened"}
        source = "web" if dice < 0.65 else "app"
        name, values = ("anonymous_id", human.anonymous) if source == "web" else ("device_id", human.devices)
        identifiers = [(name, rng.choice(values))]
        if rng.random() < 0.12:
            identifiers.append(("user_id", human.user))
        kind = rng.choices(("product_viewed", "page_viewed", "order_completed"), (6, 3, 1))[0]
        properties: dict[str, Any] = {}
        if kind == "product_viewed":
            properties["category"] = rng.choice(CATEGORIES)
        elif kind == "order_completed":
            properties["total"] = 10 + len(self.sent) % 40
        return identifiers, {"source": source, "type": kind, "properties": properties}


_ORDER: Final = shipped_policy().order_of


def touch_of(touchpoint: Mapping[str, Any]) -> Touch:
    """What becomes of a clean touchpoint."""
    texts = {f"{one['type']}:{one['value']}" for one in touchpoint["identifiers"]}
    return Touch(
        event_id=touchpoint["event_id"],
        source=touchpoint["source"],
        type=touchpoint["type"],
        occurred_at=touchpoint["occurred_at"],
        identifiers=sorted(texts, key=_ORDER),
        traits=orjson.dumps(touchpoint.get("traits", {})).decode(),
        properties=orjson.dumps(touchpoint.get("properties", {})).decode(),
        consent=dict(touchpoint.get("consent", {})),
    )


def settle(fleet: Fleet) -> None:
    """Wait until everything has had its effect, the ends of the short windows included."""
    fleet.wait_idle()
    time.sleep(NOW_WINDOW_MS / 1_000 + 0.1)
    fleet.wait_idle()


class Load:
    """A thread that sends at a steady rate until it is told to stop, or has sent `most`."""

    def __init__(
        self, fleet: Fleet, source: Callable[[int], list[Touchpoint]], rate: int, most: int = 1 << 60
    ):
        """`source`: gives so many touchpoints. `rate`: a second."""
        self._fleet, self._source, self._rate, self._most = fleet, source, rate, most
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self.count = 0
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Load:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait until the broker has everything."""
        self.stop()

    def stop(self) -> None:
        """Stop, and wait until the broker has everything."""
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Wait until all was sent."""
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        try:
            while not self._stopping.is_set() and self.count < self._most:
                due = min(int((time.monotonic() - started) * self._rate), self._most)
                if due > self.count:
                    self._fleet.send(self._source(due - self.count), flush=False)
                    self.count = due
                time.sleep(LOAD_STEP_S)
            assert self._fleet.producer.flush(120) == 0
        except BaseException as failure:  # noqa: BLE001  told to whoever stops the load
            self._failure = failure
