package bench;

import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.avro.specific.SpecificDatumWriter;
import org.apache.avro.specific.SpecificRecordBase;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;

/** Confluent wire format (0, 4-byte schema id, Avro binary): generated classes, reused and custom coders. */
final class AvroSerde<T extends SpecificRecordBase> implements Serde<T> {
    private final Class<T> type;
    private final int schemaId;

    AvroSerde(Class<T> type, int schemaId) {
        this.type = type;
        this.schemaId = schemaId;
    }

    private static final class Codec<T extends SpecificRecordBase> {
        final SpecificDatumReader<T> reader;
        final SpecificDatumWriter<T> writer;
        final ByteArrayOutputStream out = new ByteArrayOutputStream(1024);
        BinaryDecoder decoder;
        BinaryEncoder encoder;

        Codec(Class<T> type) {
            SpecificData data = SpecificData.getForClass(type);
            data.setCustomCoders(true);
            reader = new SpecificDatumReader<>(data.getSchema(type), data.getSchema(type), data);
            writer = new SpecificDatumWriter<>(data.getSchema(type), data);
        }
    }

    @Override
    public Serializer<T> serializer() {
        ThreadLocal<Codec<T>> codec = ThreadLocal.withInitial(() -> new Codec<>(type));
        return (topic, value) -> {
            if (value == null) return null;
            Codec<T> c = codec.get();
            c.out.reset();
            c.out.write(0);
            c.out.write(schemaId >>> 24);
            c.out.write(schemaId >>> 16);
            c.out.write(schemaId >>> 8);
            c.out.write(schemaId);
            try {
                c.encoder = EncoderFactory.get().directBinaryEncoder(c.out, c.encoder);
                c.writer.write(value, c.encoder);
                c.encoder.flush();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            return c.out.toByteArray();
        };
    }

    @Override
    public Deserializer<T> deserializer() {
        ThreadLocal<Codec<T>> codec = ThreadLocal.withInitial(() -> new Codec<>(type));
        return (topic, bytes) -> {
            if (bytes == null) return null;
            if (bytes.length < 5 || bytes[0] != 0) {
                throw new IllegalArgumentException("not the Confluent wire format");
            }
            Codec<T> c = codec.get();
            try {
                c.decoder = DecoderFactory.get().binaryDecoder(bytes, 5, bytes.length - 5, c.decoder);
                return c.reader.read(null, c.decoder);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        };
    }
}
