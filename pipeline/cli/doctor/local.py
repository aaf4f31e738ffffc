"""`elo doctor` on this machine: disk, local state, versions, settings."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import confluent_kafka

from ... import COMPILED, __version__
from ...core.duration import format_duration
from ...core.messages import MAIL_VERSION
from ...core.touch import TOUCH_VERSION
from ...runtime.opening import STALE_STATE_MS
from ...runtime.position import STATE_VERSION, Position
from ...runtime.store import POSITION_KEY
from ...settings import Settings
from ...settings_kafka import TLS
from .finding import Finding, failed, ok, several, warning

MB: Final = 1024 * 1024
FREE_FAILED_BYTES: Final = 256 * MB
FREE_WARNING_BYTES: Final = 1024 * MB
SHIPPED_KEY: Final = "elo"
OWN_HOSTS: Final = ("localhost", "127.", "[::1]")


def judge_disk(directory: Path, free_bytes: int, state_bytes: int) -> Finding:
    """Is there room for local state to grow, and to be compacted?"""
    what = f"{directory} holds {state_bytes // MB:,} MB of state and has {free_bytes // MB:,} MB free"
    do = "make room, or move --data-dir to a larger disk: it is a cache and may be left behind"
    if free_bytes < FREE_FAILED_BYTES:
        return failed("disk", what, do)
    # RocksDB writes merged files before it deletes those that they are made of.
    if free_bytes < max(FREE_WARNING_BYTES, state_bytes):
        return warning("disk", what, do)
    return ok("disk", what)


def look_at_disk(settings: Settings) -> Iterator[Finding]:
    """The disk of `data_dir`, and what of local state lies there."""
    directory = settings.data_dir
    there = next((one for one in (directory, *directory.parents) if one.exists()), directory)
    if not os.access(there, os.W_OK | os.X_OK):
        yield failed("disk", f"{there} cannot be written by this user",
                     "give it to the user of the worker, or set --data-dir")  # fmt: skip
        return
    state = directory / (settings.topic_prefix or "default")
    yield judge_disk(directory, shutil.disk_usage(there).free, _size(state))
    names = sorted(path.name for path in state.glob("partition-*"))
    if names:
        yield judge_positions({name: read_position(state / name) for name in names}, now_ms())


def judge_positions(found: dict[str, Position | str], at_ms: int) -> Finding:
    """Will a worker take local state over? `found`: partition → its position, or why there is none."""
    unread = [f"{name} ({why})" for name, why in found.items() if isinstance(why, str)]
    positions = {name: one for name, one in found.items() if isinstance(one, Position)}
    old = [name for name, one in positions.items() if at_ms - one.at_ms > STALE_STATE_MS]
    if unread or old:
        more = f"; older than {format_duration(STALE_STATE_MS)}: {several(old)}" if old else ""
        what = f"local state that a worker will not take over: {several(unread) or 'none'}{more}"
        return warning("state", what, "nothing: who gets these partitions rebuilds them, which takes longer")
    return ok("state", f"local state of {len(found)} partitions is of version {STATE_VERSION} and fresh")


def read_position(path: Path) -> Position | str:
    """Where the state of a partition stands; or why nobody can say. A worker may be using it."""
    from rocksdict import AccessType, Rdict

    try:
        store = Rdict(str(path), access_type=AccessType.read_only())
    except Exception as error:  # noqa: BLE001 - rocksdict has no class for it
        return str(error).split("\n")[0][:80]
    try:
        value = store.get(POSITION_KEY)
        position = Position.decode(value) if value else None
        return position or "written by another version"
    finally:
        store.close()


def look_at_versions() -> Finding:
    """What runs here."""
    what = (
        f"elo {__version__}, Python {platform.python_version()}, "
        f"confluent-kafka {confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]}); "
        f"reads touches of version {TOUCH_VERSION}, mail of {MAIL_VERSION[0]}, local state of {STATE_VERSION}"
    )
    if COMPILED:
        return ok("versions", what)
    return warning("versions", f"{what}; the core is not compiled",
                   "a worker handles more with the same CPU: `make compile`, or the image")  # fmt: skip


def look_at_settings(settings: Settings) -> Iterator[Finding]:
    """Settings that are allowed and that one should not go into production with."""
    found = list(_doubtful(settings))
    yield from found or [ok("settings", "nothing that one should not go into production with")]


def _doubtful(settings: Settings) -> Iterator[Finding]:
    if settings.profile_key.get_secret_value() == SHIPPED_KEY:
        yield warning("settings", "the profile key is the shipped one: everybody can compute profile ids",
                      "set profile_key before the first touchpoint; afterwards every id changes")  # fmt: skip
    hosts = settings.bootstrap.split(",")
    if settings.kafka_security_protocol not in TLS and not all(one.startswith(OWN_HOSTS) for one in hosts):
        what = f"what goes to Kafka can be read on the network ({settings.kafka_security_protocol})"
        yield warning("settings", what, "set kafka_security_protocol to SASL_SSL or SSL")
    if settings.session_timeout_ms > 60_000:
        timeout = format_duration(settings.session_timeout_ms)
        yield warning("settings", f"a worker that died keeps its partitions for {timeout}",
                      "set session_timeout_ms to about 10s")  # fmt: skip


def _size(directory: Path) -> int:
    """Bytes of all files below; one that goes meanwhile does not count."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
