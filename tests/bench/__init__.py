"""Benchmarks of Elo and Kafka Streams on one reference job: `python -m tests.bench`, docs/benchmarks.md."""
