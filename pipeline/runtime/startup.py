"""What a worker checks and sets up before it joins the group: memory, topics, its directory and its name."""

from __future__ import annotations

import ctypes
import fcntl
import sys
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

from ..access import Kind, Role, grants_of
from ..core.errors import ConfigError
from ..settings import Settings
from ..topics import Topics
from .connect import CONNECT_S, check_access, connect, missing_topic

M_ARENA_MAX: Final = -8  # malloc.h


def use_one_arena() -> None:
    """Let glibc give all threads memory from one arena: with one for each it keeps 70 MB more that is free.

    Other C libraries have no such thing.
    """
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(M_ARENA_MAX, 1)


def give_memory_back() -> None:
    """Give the system the memory that is free between what is in use: 90 MB after a minute, in 8 ms."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def check_topics(settings: Settings, topics: Topics) -> int:
    """Return the partition count of the internal topics.

    Raises: ConfigError if one is missing or they differ, AccessDenied if Kafka does not let us use them,
        Retryable if no broker answers.
    """
    admin = connect(settings)
    found = admin.list_topics(timeout=CONNECT_S).topics
    needed = [grant.name for grant in grants_of(Role.WORKER, topics) if grant.kind is Kind.TOPIC]
    check_access(settings, admin, Role.WORKER, topics)
    for name in needed:
        if name not in found:
            raise missing_topic(admin, name)
    counts = {name: len(found[name].partitions) for name in needed}
    partitions = counts[topics.touches]
    for name in topics.together:
        if counts[name] != partitions:
            raise ConfigError(
                f"topic {name} has {counts[name]} partitions and {topics.touches} has {partitions}, "
                "give them the same number: finish a growth that was begun with `elo topics grow`"
            )
    if len(found[topics.decisions].partitions) != 1:
        raise ConfigError(
            f"topic {topics.decisions} must have one partition, make it with `elo topics create`"
        )
    return partitions


def make_data_dir(settings: Settings) -> None:
    """Make the directory of local state. Raises ConfigError if that cannot be done."""
    try:
        (settings.data_dir / "faust").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"data directory {settings.data_dir} cannot be made ({error.strerror}), set --data-dir"
        ) from error


def take_worker_id(settings: Settings) -> tuple[str, Path, IO[str]]:
    """The id of this worker, its directory of state, and the lock that keeps others off both.

    The id is its name, if it has one, else one that lasts as long as the data directory. Workers that share a
    data directory have an id and a directory of state each.
    """
    number = 0
    while True:
        file = (settings.data_dir / f"worker-{number}").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            number += 1
            continue
        file.seek(0)
        kept = file.read().strip()
        if not kept:
            kept = uuid4().hex
            file.write(kept)
            file.flush()
        directory = settings.data_dir / (settings.topic_prefix or "default")
        if number:
            directory = directory.with_name(f"{directory.name}~{number}")
        return settings.worker_name or kept, directory, file
