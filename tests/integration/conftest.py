"""A deployment on the real broker, for tests that use the command line."""

from __future__ import annotations

import pytest

from tests.support.deployment import Deployment, Elo
from tests.support.kafka import Kafka
from tests.support.site import Site


@pytest.fixture
def bare(kafka: Kafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]) -> Deployment:
    """A deployment without topics."""
    return Deployment(kafka.bootstrap, topic_prefix, capsys)


@pytest.fixture
def deployment(bare: Deployment) -> Deployment:
    """A deployment with its topics, two partitions each."""
    assert bare.elo("topics", "create", "--partitions", 2).code == 0
    return bare


@pytest.fixture
def elo(site: Site, capsys: pytest.CaptureFixture[str]) -> Elo:
    """Runs a command against the `site` of a file, as a user would."""
    return Deployment(site.fleet.bootstrap, site.fleet.prefix, capsys).elo
