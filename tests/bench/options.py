"""What a run of the benchmarks measures: options from the environment, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

SYSTEMS: Final = ("raw", "elo", "kafka-streams")
USUAL_KINDS: Final = ("throughput", "restore", "latency")
MORE_KINDS: Final = ("policy", "timers", "backfill", "preview", "unmerge")
"""Measured when they are asked for: they take minutes."""
KINDS: Final = (*USUAL_KINDS, *MORE_KINDS)
BUILD: Final = Path("build")


@dataclass(frozen=True, slots=True)
class Options:
    """One run. `rate`: touchpoints per second; `seconds` are measured after `warm_up_s` of the same load.

    `definitions`: of `profile` only; those above the job's three concern none of the touchpoints.
    `people`: of `policy` only; so many others are known before.
    """

    n: int = 200_000
    systems: tuple[str, ...] = SYSTEMS
    kinds: tuple[str, ...] = USUAL_KINDS
    rate: int = 2_000
    seconds: int = 30
    warm_up_s: int = 15
    partitions: int = 4
    seed: int = 7
    repeats: int = 1
    definitions: int = 3
    people: int = 0
    results: Path = BUILD / "bench.jsonl"

    def without(self, system: str) -> Options:
        """The same run without one system."""
        return replace(self, systems=tuple(one for one in self.systems if one != system))


def read_options(environment: Mapping[str, str]) -> Options:
    """Return the options that `BENCH_…` variables ask for.

    Raises: SystemExit with one sentence for a value that cannot be used.
    """

    def number(name: str, default: int, least: int = 1) -> int:
        text = environment.get(name, "") or str(default)
        if not text.isdecimal() or int(text) < least:
            raise SystemExit(f"{name}: write a whole number of at least {least}, not {text!r}")
        return int(text)

    def choice(name: str, known: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
        asked = environment.get(name, "").split() or default
        for item in asked:
            if item not in known:
                raise SystemExit(f"{name}: {item!r} is not known, write some of: {' '.join(known)}")
        return tuple(item for item in known if item in asked)

    default = Options()
    return Options(
        n=number("BENCH_N", default.n),
        systems=choice("BENCH_SYSTEMS", SYSTEMS, default.systems),
        kinds=choice("BENCH_KINDS", KINDS, default.kinds),
        rate=number("BENCH_RATE", default.rate),
        seconds=number("BENCH_SECONDS", default.seconds),
        warm_up_s=number("BENCH_WARM_UP", default.warm_up_s),
        partitions=number("BENCH_PARTITIONS", default.partitions),
        seed=number("BENCH_SEED", default.seed),
        repeats=number("BENCH_REPEATS", default.repeats),
        definitions=number("BENCH_DEFINITIONS", default.definitions),
        people=number("BENCH_PEOPLE", default.people, least=0),
    )
