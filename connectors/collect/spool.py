"""Records on the local disk, for the time when the broker is away: appended and synced, read in order.

A spool is a directory of files that are written one after the other and deleted when all of a file has been
delivered. A record that was half written when the process was killed was never acknowledged; it is cut off.
What is read again after a kill is at most one file, and its repetitions die by their event ids.
It must not know Kafka.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from zlib import crc32

import msgspec

from pipeline.core.errors import ConfigError

FILE_BYTES: Final = 8 * 1024 * 1024
"""A file is closed above this: so much at most is delivered again after a kill."""
HEAD: Final = struct.Struct("<II")  # length and checksum of what follows


@dataclass(frozen=True, slots=True)
class Record:
    """One record for Kafka. `headers` only where there are any."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Bytes in memory and on disk, about."""
        return len(self.value) + len(self.topic) + len(self.key or b"") + HEAD.size


class Spool:
    """The spool of one process. Its methods block; `append` and `read` may run on two threads."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError when another process has the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._lock = (directory / "lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ConfigError(
                f"{directory} is used by another collector, choose another --data-dir"
            ) from None
        self._files: deque[Path] = deque(sorted(directory.glob("*.spool")))
        self._number = int(self._files[-1].stem) if self._files else 0
        self._writer: BinaryIO | None = None
        self._reader: BinaryIO | None = None
        self._mark = self._position = 0  # in the oldest file: before the last step of reading, and after it
        self.unreadable_bytes = 0
        self._sizes = {path: path.stat().st_size for path in self._files}

    @property
    def bytes(self) -> int:
        """Bytes on the disk, delivered parts of the oldest file among them."""
        return sum(list(self._sizes.values()))  # another thread may add one

    @property
    def unread_bytes(self) -> int:
        """Bytes on the disk that `read` has not given yet."""
        return self.bytes - self._position

    def append(self, records: Iterable[Record]) -> None:
        """Write records and sync them. Raises OSError; nothing of them counts as written then."""
        if self._writer is None or self._sizes[self._files[-1]] > FILE_BYTES:
            self._begin_file()
        assert self._writer is not None
        path = self._files[-1]
        block = b"".join(_packed(record) for record in records)
        try:
            self._writer.write(block)
            self._writer.flush()
            os.fsync(self._writer.fileno())
        except OSError:
            self._abandon(path)
            raise
        self._sizes[path] += len(block)

    def read(self, count: int) -> list[Record]:
        """The next records, at most `count`; none at the end of what is written.

        The caller has delivered what it got before, or has called `again`: a file that is read is deleted.
        """
        while self._files:
            path = self._files[0]
            end = self._sizes[path]
            reader = self._reader = self._reader or path.open("rb")
            self._mark = reader.tell()
            found: list[Record] = []
            while len(found) < count and (at := reader.tell()) < end:
                record = _unpacked(reader, end)
                if record is None:  # the tail of a write that a kill has cut
                    self.unreadable_bytes += end - at
                    reader.seek(end)
                    break
                found.append(record)
            self._position = reader.tell()
            if found or len(self._files) == 1:
                return found
            self._drop()
        return []

    def again(self) -> None:
        """What `read` gave last could not be delivered: the next `read` gives it again."""
        if self._reader is not None:
            self._reader.seek(self._mark)
            self._position = self._mark

    def clear(self) -> None:
        """Everything has been delivered: delete all files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        while self._files:
            self._drop()

    def close(self) -> None:
        """Let another process have the directory."""
        for file in (self._reader, self._writer, self._lock):
            if file is not None:
                file.close()

    def _begin_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._number += 1
        path = self.directory / f"{self._number:012}.spool"
        self._writer = path.open("xb")
        self._sizes[path] = 0
        self._files.append(path)
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _abandon(self, path: Path) -> None:
        """A write failed: cut the file to what was synced, or go on in a new one."""
        assert self._writer is not None
        try:
            os.ftruncate(self._writer.fileno(), self._sizes[path])
            self._writer.close()
        except OSError:
            pass
        finally:
            self._writer = None

    def _drop(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._position = 0
        path = self._files.popleft()
        path.unlink()
        del self._sizes[path]


def _packed(record: Record) -> bytes:
    body = msgspec.msgpack.encode((record.topic, record.key, record.value, record.headers))
    return HEAD.pack(len(body), crc32(body)) + body


def _unpacked(reader: BinaryIO, end: int) -> Record | None:
    head = reader.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    length, checksum = HEAD.unpack(head)
    if length > end - reader.tell():
        return None
    body = reader.read(length)
    if crc32(body) != checksum:
        return None
    topic, key, value, headers = msgspec.msgpack.decode(body)
    return Record(topic, key, value, tuple((name, text) for name, text in headers))
