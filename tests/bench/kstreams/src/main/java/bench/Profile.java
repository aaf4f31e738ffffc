package bench;

import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.Map;

/** Per-profile state, stored as hand-written varint binary. */
final class Profile {
    static final int WINDOW_HOURS = 30 * 24;

    static final class Trait {
        String value;
        long at;
    }

    /** Total plus hourly buckets (ascending hours, last 30 days). */
    static final class Counter {
        long total;
        int n;
        int[] hours = new int[4];
        int[] counts = new int[4];

        void add(int hour, int nowHour) {
            total++;
            int drop = 0;
            while (drop < n && hours[drop] <= nowHour - WINDOW_HOURS) drop++;
            if (drop > 0) {
                n -= drop;
                System.arraycopy(hours, drop, hours, 0, n);
                System.arraycopy(counts, drop, counts, 0, n);
            }
            if (hour <= nowHour - WINDOW_HOURS) return;
            int i = n;
            while (i > 0 && hours[i - 1] > hour) i--;
            if (i > 0 && hours[i - 1] == hour) {
                counts[i - 1]++;
                return;
            }
            if (n == hours.length) {
                hours = Arrays.copyOf(hours, n * 2);
                counts = Arrays.copyOf(counts, n * 2);
            }
            System.arraycopy(hours, i, hours, i + 1, n - i);
            System.arraycopy(counts, i, counts, i + 1, n - i);
            hours[i] = hour;
            counts[i] = 1;
            n++;
        }

        int within(int lastHours, int nowHour) {
            int sum = 0;
            for (int i = n - 1; i >= 0 && hours[i] > nowHour - lastHours; i--) sum += counts[i];
            return sum;
        }
    }

    final LinkedHashSet<String> identifiers = new LinkedHashSet<>();   // "type:value"
    final Map<String, Trait> traits = new HashMap<>();
    final Map<String, Counter> counters = new HashMap<>();
    int memberships;
    boolean hasEmail;
    long lastSeen;

    Counter counter(String name) {
        return counters.computeIfAbsent(name, k -> new Counter());
    }

    int within(String counter, int lastHours, int nowHour) {
        Counter c = counters.get(counter);
        return c == null ? 0 : c.within(lastHours, nowHour);
    }

    String trait(String name) {
        Trait t = traits.get(name);
        return t == null ? null : t.value;
    }

    // ---- serde ----
    private static final class Out {
        byte[] b = new byte[4096];
        int p;

        void need(int k) {
            if (p + k > b.length) b = Arrays.copyOf(b, Math.max(b.length * 2, p + k));
        }

        void varint(long v) {
            need(10);
            while ((v & ~0x7FL) != 0) {
                b[p++] = (byte) (v & 0x7F | 0x80);
                v >>>= 7;
            }
            b[p++] = (byte) v;
        }

        void string(String s) {
            byte[] u = s.getBytes(StandardCharsets.UTF_8);
            varint(u.length);
            need(u.length);
            System.arraycopy(u, 0, b, p, u.length);
            p += u.length;
        }
    }

    private static final class In {
        final byte[] b;
        int p;

        In(byte[] b) {
            this.b = b;
        }

        long varint() {
            long v = 0;
            for (int shift = 0; ; shift += 7) {
                byte x = b[p++];
                v |= (long) (x & 0x7F) << shift;
                if (x >= 0) return v;
            }
        }

        String string() {
            int n = (int) varint();
            String s = new String(b, p, n, StandardCharsets.UTF_8);
            p += n;
            return s;
        }
    }

    private static final ThreadLocal<Out> OUT = ThreadLocal.withInitial(Out::new);

    byte[] toBytes() {
        Out o = OUT.get();
        o.p = 0;
        o.varint(memberships << 1 | (hasEmail ? 1 : 0));
        o.varint(lastSeen);
        o.varint(identifiers.size());
        for (String s : identifiers) o.string(s);
        o.varint(traits.size());
        traits.forEach((k, t) -> {
            o.string(k);
            o.string(t.value);
            o.varint(t.at);
        });
        o.varint(counters.size());
        counters.forEach((k, c) -> {
            o.string(k);
            o.varint(c.total);
            o.varint(c.n);
            int previous = 0;
            for (int i = 0; i < c.n; i++) {
                o.varint(c.hours[i] - previous);
                o.varint(c.counts[i]);
                previous = c.hours[i];
            }
        });
        return Arrays.copyOf(o.b, o.p);
    }

    static Profile fromBytes(byte[] bytes) {
        In in = new In(bytes);
        Profile f = new Profile();
        long head = in.varint();
        f.hasEmail = (head & 1) == 1;
        f.memberships = (int) (head >>> 1);
        f.lastSeen = in.varint();
        for (int k = (int) in.varint(); k > 0; k--) f.identifiers.add(in.string());
        for (int k = (int) in.varint(); k > 0; k--) {
            String name = in.string();
            Trait t = new Trait();
            t.value = in.string();
            t.at = in.varint();
            f.traits.put(name, t);
        }
        for (int k = (int) in.varint(); k > 0; k--) {
            String name = in.string();
            Counter c = new Counter();
            c.total = in.varint();
            c.n = (int) in.varint();
            c.hours = new int[c.n + 2];
            c.counts = new int[c.n + 2];
            int previous = 0;
            for (int i = 0; i < c.n; i++) {
                previous += (int) in.varint();
                c.hours[i] = previous;
                c.counts[i] = (int) in.varint();
            }
            f.counters.put(name, c);
        }
        return f;
    }

    static final Serde<Profile> SERDE = new Serde<>() {
        @Override
        public Serializer<Profile> serializer() {
            return (topic, p) -> p == null ? null : p.toBytes();
        }

        @Override
        public Deserializer<Profile> deserializer() {
            return (topic, b) -> b == null ? null : fromBytes(b);
        }
    };
}
