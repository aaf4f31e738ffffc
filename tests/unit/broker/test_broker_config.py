"""The text that configures the embedded Kafka."""

from __future__ import annotations

from pathlib import Path

from pipeline.broker import config
from pipeline.topics import REJECTED_BYTES_MAX


def properties(text: str) -> dict[str, str]:
    """Parse `name=value` lines."""
    return dict(line.split("=", 1) for line in text.splitlines())


SERVER = properties(config.server_properties(9092, 19093, "kafka"))


def test_all_listeners_are_on_the_loopback_interface() -> None:
    assert SERVER["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:19093"
    assert SERVER["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092"
    assert SERVER["controller.quorum.voters"] == "1@127.0.0.1:19093"


def test_a_single_node_is_broker_and_controller_with_one_copy_of_everything() -> None:
    assert SERVER["process.roles"] == "broker,controller"
    copies = {
        name: value for name, value in SERVER.items() if name.endswith((".factor", ".isr", ".replicas"))
    }
    assert len(copies) == 7
    assert set(copies.values()) == {"1"}


def test_topics_are_never_made_by_accident() -> None:
    assert SERVER["auto.create.topics.enable"] == "false"


def test_the_largest_message_of_a_topic_fits_with_its_batch() -> None:
    assert int(SERVER["message.max.bytes"]) >= REJECTED_BYTES_MAX + 1024 * 1024


def test_all_paths_are_relative_so_that_any_directory_name_will_do() -> None:
    texts = (config.server_properties(1, 2, config.LOG_DIR), config.logging_properties(), *config.JVM_FLAGS)
    assert not any("=/" in text for text in texts)


def test_the_log_of_the_broker_is_bounded() -> None:
    logging = properties(config.logging_properties())
    assert logging["rootLogger.level"] == "warn"
    assert logging["appender.file.policies.size.size"] == "10MB"
    assert logging["appender.file.strategy.max"] == "1"


def test_the_command_line_carries_the_argument_by_which_the_jvm_is_known_again() -> None:
    command = config.java_command(
        Path("/j/java"), ("-Xshare:auto",), Path("/jars"), Path("/data/a b"), "kafka.Kafka", "x"
    )
    assert command[0] == "/j/java"
    assert "-Delo.broker=/data/a b" in command
    assert command[-4:] == ["-cp", "/jars/*", "kafka.Kafka", "x"]
