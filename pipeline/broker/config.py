"""How the embedded Kafka is configured: its properties, its logging and its JVM. Pure text, no I/O.

All paths are relative: the JVM runs inside the data directory, so that any directory name will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

HOST: Final = "127.0.0.1"  # never reachable from outside this machine
NODE_ID: Final = 1

LOG_DIR: Final = "kafka"
FORMAT_DIR: Final = "kafka.new"  # formatted here, then renamed: a broken format leaves no half log directory
OUTPUT_DIR: Final = "logs"
SERVER_LOG: Final = "logs/server.log"
CONSOLE_LOG: Final = "logs/console.log"
SERVER_PROPERTIES: Final = "server.properties"
FORMAT_PROPERTIES: Final = "format.properties"
LOGGING_PROPERTIES: Final = "log4j2.properties"
TEMPORARY_DIR: Final = "tmp"

MESSAGE_BYTES_MAX: Final = 10 * 1024 * 1024
"""Touchpoints may have 8 MiB and go to the rejected topic with headers; the rest is room for the batch."""
SESSION_TIMEOUT_MS: Final = 3_000
HEARTBEAT_INTERVAL_MS: Final = 500
"""After a kill -9 the broker is let in again only when its old session has ended. Kafka's 9 s make such a
start take 12-14 s, 3 s make it 5-6.5 s, 2 s 5 s. Below 3 s a busy two-core machine could fence a healthy
broker."""
OFFSETS_RETENTION_MINUTES: Final = 365 * 24 * 60
"""A group that rests for longer than Kafka's 7 days must not lose its place."""
CLEANER_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""Kafka takes 128 MiB of heap for the compaction index; 16 MiB hold 600,000 keys a pass."""

HEAP_MIN: Final = "128m"
HEAP_MAX: Final = "512m"
JVM_FLAGS: Final = (
    f"-Xms{HEAP_MIN}",
    f"-Xmx{HEAP_MAX}",
    # On two cores: the same throughput and CPU as G1 and Parallel, and the least memory.
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    f"-XX:ErrorFile={OUTPUT_DIR}/hs_err.log",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    f"-Djava.io.tmpdir={TEMPORARY_DIR}",  # native compression libraries are unpacked and run from here
    f"-Dlog4j2.configurationFile={LOGGING_PROPERTIES}",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",  # or Java 24 and later print a warning about Kafka
)
OWNER_PROPERTY: Final = "elo.broker"
"""A JVM that carries `-Delo.broker=<data directory>` is the broker of that directory, no other process is."""
MAIN_CLASS: Final = "kafka.Kafka"


BEHAVIOUR: Final[Mapping[str, str | int]] = MappingProxyType(
    {
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "offsets.retention.minutes": OFFSETS_RETENTION_MINUTES,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,  # the least that `session_timeout_ms` may be
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "replica.fetch.max.bytes": MESSAGE_BYTES_MAX,
        "broker.session.timeout.ms": SESSION_TIMEOUT_MS,
        "broker.heartbeat.interval.ms": HEARTBEAT_INTERVAL_MS,
        "log.cleaner.dedupe.buffer.size": CLEANER_BUFFER_BYTES,
    }
)
"""What clients notice of the broker, apart from where it is: a broker in a container is given the same."""


def server_properties(
    port: int,
    controller_port: int,
    log_dir: str,
    *,
    node_id: int = NODE_ID,
    voters: str = "",
    behaviour: Mapping[str, str | int] = BEHAVIOUR,
) -> str:
    """`server.properties` of a node that is broker and controller, on the loopback interface only.

    Args:
        voters: `id@host:port` of the controllers of a cluster, between commas; empty: it is alone.
    """
    listener, controller = f"PLAINTEXT://{HOST}:{port}", f"CONTROLLER://{HOST}:{controller_port}"
    return _properties(
        {
            "process.roles": "broker,controller",
            "node.id": node_id,
            "controller.quorum.voters": voters or f"{node_id}@{HOST}:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": f"{listener},{controller}",
            "advertised.listeners": listener,
            "log.dirs": log_dir,
            **behaviour,
        }
    )


def logging_properties() -> str:
    """Log4j 2: warnings and errors into a file of at most 10 MB and one predecessor."""
    return _properties(
        {
            "status": "error",
            "appender.file.type": "RollingFile",
            "appender.file.name": "file",
            "appender.file.fileName": SERVER_LOG,
            "appender.file.filePattern": f"{SERVER_LOG}.%i",
            "appender.file.layout.type": "PatternLayout",
            "appender.file.layout.pattern": "%d{yyyy-MM-dd HH:mm:ss,SSS} %p %m (%c{1})%n%throwable{8}",
            "appender.file.policies.type": "Policies",
            "appender.file.policies.size.type": "SizeBasedTriggeringPolicy",
            "appender.file.policies.size.size": "10MB",
            "appender.file.strategy.type": "DefaultRolloverStrategy",
            "appender.file.strategy.max": 1,
            "rootLogger.level": "warn",
            "rootLogger.appenderRef.file.ref": "file",
        }
    )


def java_command(
    java: Path, flags: Sequence[str], jars: Path, data_dir: Path, main_class: str, *arguments: str
) -> list[str]:
    """The command line of one of Kafka's programs, to be run inside `data_dir`; `flags` besides JVM_FLAGS."""
    return [str(java), *JVM_FLAGS, *flags, owner_flag(data_dir), "-cp", f"{jars}/*", main_class, *arguments]


def owner_flag(data_dir: Path) -> str:
    """The argument by which the JVM of a data directory is known again."""
    return f"-D{OWNER_PROPERTY}={data_dir}"


def _properties(values: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())
