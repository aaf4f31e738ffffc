package bench;

import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.Cache;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;

import java.util.Map;

/** One block cache of 128 MB for all stores; the rest as Kafka Streams sets it (16 MB memtables, blooms). */
public final class RocksConfig implements RocksDBConfigSetter {
    private static Cache cache;

    private static synchronized Cache shared() {
        if (cache == null) cache = new LRUCache(128L * 1024 * 1024);
        return cache;
    }

    @Override
    public void setConfig(String storeName, Options options, Map<String, Object> configs) {
        BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
        table.setBlockCache(shared());
        table.setCacheIndexAndFilterBlocks(true);
        table.setPinTopLevelIndexAndFilter(true);
        options.setTableFormatConfig(table);
    }

    @Override
    public void close(String storeName, Options options) {
    }
}
