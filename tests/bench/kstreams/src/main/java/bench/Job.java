package bench;

import bench.avro.Identifier;
import bench.avro.SegmentChange;
import bench.avro.Touchpoint;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;

/**
 * The reference job on Kafka Streams: decode, normalise, de-duplicate, fold into a profile, emit changes.
 *
 * Simpler than Elo's, so the comparison flatters Kafka Streams: no merges (a profile is what came with one
 * strongest identifier), no timers (only the next touchpoint ends a membership), windows in whole hours, no
 * limits, no validation beyond the schema, and nothing but the segment changes as output.
 */
public final class Job {
    /** Identifier types, strongest first: the order of identity.yaml. */
    static final List<String> RANKS =
        List.of("user_id", "cpf", "nis", "email", "phone", "device_id", "anonymous_id");
    static final Set<String> BLOCKED = Set.of("", "null", "anonymous", "undefined", "none");
    static final ObjectMapper JSON = new ObjectMapper();
    static final JsonFactory JSON_FACTORY = JSON.getFactory();

    static String env(String name, String dflt) {
        String v = System.getenv(name);
        return v == null || v.isEmpty() ? dflt : v;
    }

    static String digits(String s) {
        StringBuilder b = null;
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            boolean digit = c >= '0' && c <= '9';
            if (!digit && b == null) b = new StringBuilder(s.length()).append(s, 0, i);
            else if (digit && b != null) b.append(c);
        }
        return b == null ? s : b.toString();
    }

    static String normalise(String type, String raw) {
        String v = raw.strip();
        if (BLOCKED.contains(v) || BLOCKED.contains(v.toLowerCase())) return null;
        switch (type) {
            case "email": v = v.toLowerCase(); break;
            case "phone":
            case "cpf": v = digits(v); break;
            default: break;
        }
        return v.isEmpty() ? null : v;
    }

    /** Stage 1: normalise; the key becomes the strongest identifier, or null when none is left. */
    static final class Normalise extends ContextualProcessor<byte[], Touchpoint, String, Touchpoint> {
        @Override
        public void process(Record<byte[], Touchpoint> r) {
            Stats.source();
            Touchpoint t = r.value();
            List<Identifier> clean = new ArrayList<>(t.getIdentifiers().size());
            Identifier strongest = null;
            for (Identifier i : t.getIdentifiers()) {
                String n = normalise(i.getType(), i.getValue());
                if (n == null) continue;
                i.setValue(n);
                clean.add(i);
                if (strongest == null || RANKS.indexOf(i.getType()) < RANKS.indexOf(strongest.getType())) {
                    strongest = i;
                }
            }
            t.setIdentifiers(clean);
            String route = strongest == null ? null : strongest.getType() + ":" + strongest.getValue();
            if (route == null) Stats.REJ.increment();
            context().forward(r.withKey(route));
        }
    }

    /** Stage 2: drop repeated event ids, map the routing identifier to a profile id. */
    static final class Identity extends ContextualProcessor<String, Touchpoint, String, Touchpoint> {
        private KeyValueStore<String, byte[]> seen;
        private KeyValueStore<String, String> profiles;
        private static final byte[] MARK = {1};

        @Override
        public void init(ProcessorContext<String, Touchpoint> context) {
            super.init(context);
            seen = context.getStateStore("seen-events");
            profiles = context.getStateStore("identities");
        }

        @Override
        public void process(Record<String, Touchpoint> r) {
            String id = r.value().getEventId();
            if (seen.get(id) != null) {
                Stats.DUP.increment();
                return;
            }
            seen.put(id, MARK);
            String profile = profiles.get(r.key());
            if (profile == null) {
                profile = UUID.nameUUIDFromBytes(r.key().getBytes(StandardCharsets.UTF_8)).toString();
                profiles.put(r.key(), profile);
            }
            context().forward(r.withKey(profile));
        }
    }

    /** Stage 3: fold the event into the profile, evaluate the segments, emit the changes. */
    static final class Profiles extends ContextualProcessor<String, Touchpoint, String, SegmentChange> {
        private KeyValueStore<String, Profile> store;

        @Override
        public void init(ProcessorContext<String, SegmentChange> context) {
            super.init(context);
            store = context.getStateStore("profiles");
        }

        @Override
        public void process(Record<String, Touchpoint> r) {
            Touchpoint t = r.value();
            long at = t.getOccurredAt();
            Profile p = store.get(r.key());
            if (p == null) p = new Profile();
            for (Identifier i : t.getIdentifiers()) {
                p.identifiers.add(i.getType() + ":" + i.getValue());
                if (i.getType().equals("email")) p.hasEmail = true;
            }
            if (t.getTraits().length() > 2) mergeTraits(p, t.getTraits(), at);
            if (at > p.lastSeen) p.lastSeen = at;
            int hour = (int) (at / 3_600_000L), now = (int) (p.lastSeen / 3_600_000L);
            p.counter(t.getType()).add(hour, now);
            if (t.getType().equals("product_viewed") && "running shoes".equals(category(t.getProperties())))
                p.counter("product_viewed/running shoes").add(hour, now);

            int member = 0;
            if ("Madrid".equals(p.trait("city")) && p.within("product_viewed/running shoes", 168, now) > 0
                && p.within("order_completed", 168, now) == 0) member |= 1;
            if (p.within("product_viewed", 24, now) >= 3) member |= 2;
            if (p.hasEmail && p.within("order_completed", 720, now) == 0) member |= 4;
            int changed = member ^ p.memberships;
            p.memberships = member;
            store.put(r.key(), p);
            for (int s = 0; changed != 0 && s < 3; s++) {
                if ((changed & 1 << s) != 0) {
                    Stats.SEG.increment();
                    context().forward(r.withValue(new SegmentChange(r.key(), String.valueOf((char) ('A' + s)),
                        (member & 1 << s) != 0 ? "entered" : "exited", t.getEventId(), at)));
                }
            }
            Stats.PROF.increment();
        }

        private static void mergeTraits(Profile p, String json, long at) {
            try (JsonParser j = JSON_FACTORY.createParser(json)) {
                if (j.nextToken() != JsonToken.START_OBJECT) return;
                while (j.nextToken() == JsonToken.FIELD_NAME) {
                    String name = j.currentName();
                    JsonToken v = j.nextToken();
                    String value = v.isStructStart() ? JSON.readTree(j).toString() : j.getText();
                    Profile.Trait old = p.traits.get(name);
                    if (old == null) p.traits.put(name, old = new Profile.Trait());
                    if (at >= old.at) {
                        old.at = at;
                        old.value = value;
                    }
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        private static String category(String json) {
            try (JsonParser j = JSON_FACTORY.createParser(json)) {
                if (j.nextToken() != JsonToken.START_OBJECT) return null;
                while (j.nextToken() == JsonToken.FIELD_NAME) {
                    String name = j.currentName();
                    j.nextToken();
                    if (name.equals("category")) return j.getText();
                    j.skipChildren();
                }
                return null;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** Without a record cache, which makes this job slower: a profile seldom repeats within a commit. */
    static <K, V> StoreBuilder<KeyValueStore<K, V>> store(String name, Serde<K> k, Serde<V> v) {
        return Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), k, v).withCachingDisabled();
    }

    static <K, V> Repartitioned<K, V> hop(String name, Serde<K> k, Serde<V> v, int partitions) {
        return Repartitioned.with(k, v).withName(name).withNumberOfPartitions(partitions);
    }

    static <KO, VO> ProcessorSupplier<String, Touchpoint, KO, VO> supplier(
            java.util.function.Supplier<Processor<String, Touchpoint, KO, VO>> f, StoreBuilder<?>... stores) {
        return new ProcessorSupplier<>() {
            @Override
            public Processor<String, Touchpoint, KO, VO> get() {
                return f.get();
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return Set.of(stores);
            }
        };
    }

    public static void main(String[] args) throws Exception {
        String prefix = env("TOPIC_PREFIX", "");
        int partitions = Integer.parseInt(env("PARTITIONS", "4"));
        Properties c = new Properties();
        c.put(StreamsConfig.APPLICATION_ID_CONFIG, env("APP_ID", "reference-job"));
        c.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env("BOOTSTRAP", "localhost:9092"));
        c.put(StreamsConfig.STATE_DIR_CONFIG, env("STATE_DIR", "state"));
        c.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, env("GUARANTEE", StreamsConfig.EXACTLY_ONCE_V2));
        c.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, env("THREADS", "1"));
        c.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, env("COMMIT_MS", "100"));
        c.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        c.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        c.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        c.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksConfig.class);
        c.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        c.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), env("MAX_POLL", "2000"));
        c.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), env("BATCH_SIZE", "262144"));
        c.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), env("LINGER_MS", "100"));
        c.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 67108864L);

        AvroSerde<Touchpoint> touchpoint = new AvroSerde<>(Touchpoint.class, 1);
        AvroSerde<SegmentChange> segment = new AvroSerde<>(SegmentChange.class, 2);
        Serde<String> string = Serdes.String();
        List<String> sources = new ArrayList<>();
        for (String s : new String[]{"web", "app", "crm", "email"}) sources.add(prefix + "touchpoints." + s);

        StreamsBuilder b = new StreamsBuilder();
        b.stream(sources, Consumed.with(Serdes.ByteArray(), touchpoint))
            .process(Normalise::new)
            .split()
            .branch((k, v) -> k == null, Branched.withConsumer(s ->
                s.to(env("REJECTED_TOPIC", prefix + "rejected"), Produced.with(string, touchpoint))))
            .defaultBranch(Branched.withConsumer(s -> s
                .repartition(hop("by-identifier", string, touchpoint, partitions))
                .process(supplier(Identity::new,
                    store("seen-events", string, Serdes.ByteArray()), store("identities", string, string)))
                .repartition(hop("by-profile", string, touchpoint, partitions))
                .process(supplier(Profiles::new, store("profiles", string, Profile.SERDE)))
                .to(env("SEGMENTS_TOPIC", prefix + "segments"), Produced.with(string, segment))));
        Topology topology = b.build(c);
        if (args.length > 0 && args[0].equals("describe")) {
            System.out.println(topology.describe());
            return;
        }
        KafkaStreams streams = new KafkaStreams(topology, c);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        CountDownLatch stop = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            stop.countDown();
        }));
        Stats.start(System.getenv("STATS_FILE"));
        streams.start();
        stop.await();
    }
}
