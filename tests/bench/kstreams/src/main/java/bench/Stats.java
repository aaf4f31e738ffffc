package bench;

import java.io.FileWriter;
import java.io.IOException;
import java.util.Locale;
import java.util.concurrent.atomic.LongAdder;

/** Progress counters, appended as JSON lines to $STATS_FILE every 100 ms for the harness. */
final class Stats {
    static final LongAdder SRC = new LongAdder(), REJ = new LongAdder(), DUP = new LongAdder();
    static final LongAdder PROF = new LongAdder(), SEG = new LongAdder();
    static volatile long first;
    private static final String LINE = "{\"t\":%.3f,\"first\":%.3f,\"src\":%d,\"rej\":%d,\"dup\":%d,"
        + "\"prof\":%d,\"seg\":%d}%n";

    static void source() {
        if (first == 0) first = System.currentTimeMillis();
        SRC.increment();
    }

    static void start(String file) {
        if (file == null) return;
        Thread t = new Thread(() -> {
            try (FileWriter w = new FileWriter(file, true)) {
                while (true) {
                    w.write(String.format(Locale.ROOT, LINE, System.currentTimeMillis() / 1e3, first / 1e3,
                        SRC.sum(), REJ.sum(), DUP.sum(), PROF.sum(), SEG.sum()));
                    w.flush();
                    Thread.sleep(100);
                }
            } catch (IOException | InterruptedException e) {
                e.printStackTrace();
            }
        }, "stats");
        t.setDaemon(true);
        t.start();
    }
}
