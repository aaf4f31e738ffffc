"""How RocksDB is set up for the state of a partition."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

MEMTABLE_BYTES: Final = 16 * 1024 * 1024


class Internals(NamedTuple):
    """What RocksDB says of itself. The block cache is that of the whole worker."""

    memtable_bytes: int
    level0_files: int
    pending_compaction_bytes: int
    write_stopped: int
    block_cache_bytes: int


_PROPERTIES: Final = (
    "rocksdb.size-all-mem-tables", "rocksdb.num-files-at-level0", "rocksdb.estimate-pending-compaction-bytes",
    "rocksdb.is-write-stopped", "rocksdb.block-cache-usage",
)  # fmt: skip


def internals(db: Rdict) -> Internals:
    """Ask an open database; takes some microseconds."""
    return Internals(*(int(db.property_value(name) or 0) for name in _PROPERTIES))


def wipe(path: Path) -> None:
    """Delete local state; the next start restores it in full."""
    shutil.rmtree(path, ignore_errors=True)


def merged(a: Iterable[bytes], b: Iterable[bytes]) -> Iterator[bytes]:
    """Two ascending streams of keys as one, without repetition."""
    last = None
    for key in heapq.merge(a, b):
        if key != last:
            yield key
        last = key


def options(cache: Cache) -> Options:
    """Options of a store; `cache` is shared by all partitions of a worker."""
    made = Options(raw_mode=True)
    made.create_if_missing(True)
    table = BlockBasedOptions()
    table.set_bloom_filter(10, False)  # 1 % false positives: a new event id rarely reads a block
    table.set_block_cache(cache)
    table.set_cache_index_and_filter_blocks(True)
    # In pieces: a file's whole index or filter is larger than a shard of the cache, so each read of one key
    # would read them from the file again, five times the cost of the key.
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_pin_top_level_index_and_filter(True)
    made.set_block_based_table_factory(table)
    made.set_write_buffer_size(MEMTABLE_BYTES)
    made.set_max_write_buffer_number(3)
    made.set_memtable_whole_key_filtering(True)  # most event ids are new: no search in the memtables either
    made.set_memtable_prefix_bloom_ratio(0.1)
    made.set_compression_type(DBCompressionType.none())
    made.set_keep_log_file_num(2)
    return made


def batch_of(records: Iterable[tuple[bytes, bytes | None]]) -> WriteBatch:
    """Keys and values to be written together; None deletes."""
    batch = WriteBatch(raw_mode=True)
    for key, value in records:
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    return batch
