"""A real schema registry (Apicurio) and Confluent's own client on the other side of Elo.

Left out of the default run, for it fetches 142 MB once:
`python -m pytest tests/integration/test_registry.py -m soak`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.wire.registry import default_registry
from tests.support.apicurio import Apicurio
from tests.support.deployment import Deployment, touchpoint
from tests.support.fleet import MakeFleet, make_fleet  # noqa: F401  a fixture

pytestmark = pytest.mark.soak


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Apicurio]:
    found = Apicurio(tmp_path / "apicurio.log").start()
    yield found
    found.stop()


def test_schemas_are_registered_read_and_looked_up(
    registry: Apicurio,
    make_fleet: MakeFleet,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its dependencies deprecate among themselves
        from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
        from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
        from confluent_kafka.serialization import MessageField, SerializationContext

    fleet = make_fleet(schema_registry=registry.url)
    fleet.create_topics(2)
    deployment = Deployment(fleet.bootstrap, fleet.prefix, capsys)
    url = ("--registry", registry.url)
    checked = deployment.elo("schemas", "check", *url, "--json")
    assert (checked.code, {one["state"] for one in checked.documents}) == (0, {"new"})
    for _ in range(2):
        done = deployment.elo("schemas", "register", *url)
        assert done.code == 0, done.err
    checked = deployment.elo("schemas", "check", *url, "--json")
    assert (checked.code, {one["state"] for one in checked.documents}) == (0, {"registered"})

    # A producer with an evolved schema of its own, registered by Confluent's client under an id of its own.
    client = SchemaRegistryClient({"url": registry.url})
    newest = default_registry().latest("touchpoint")
    evolved = {
        **newest.raw,
        "fields": [*newest.raw["fields"], {"name": "shop", "type": "string", "default": ""}],
    }
    topic = f"{fleet.prefix}touchpoints.web"
    serialize = AvroSerializer(client, json.dumps(evolved))
    record = {**touchpoint(), "traits": '{"city": "Madrid"}', "properties": "{}", "consent": {},
              "context": {}, "shop": "7"}  # fmt: skip
    value = serialize(record, SerializationContext(topic, MessageField.VALUE))
    assert value is not None
    assert int.from_bytes(value[1:5], "big") not in default_registry().by_id
    fleet.start("w0")
    fleet.send_raw("web", value)
    fleet.send_raw("web", b"\0" + (999_999).to_bytes(4, "big") + value[5:])
    fleet.wait_idle()
    (profile,) = fleet.dump()
    assert profile["traits"] == {"city": "Madrid"}
    (rejected,) = deployment.elo("rejected", "list", "--json").documents
    assert rejected["reason"] == "unknown_schema"

    # A consumer that knows the registry only.
    read = AvroDeserializer(client)
    (message,) = fleet.read("profiles.unified")
    unified = read(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
    assert unified["profile_id"] == profile["profile_id"]

    # What is registered for a topic and does not fit is told, and nothing is registered then.
    other = deployment.prefix + "other."
    client.register_schema(f"{other}touchpoints.web-value", Schema('{"type": "string"}', "AVRO"))
    client.set_compatibility(f"{other}touchpoints.web-value", "BACKWARD")
    refused = Deployment(fleet.bootstrap, other, capsys).elo("schemas", "register", *url)
    assert refused.code == 1
    assert "is not compatible with what is registered" in refused.err
    assert f"{other}segments.membership-value" not in client.get_subjects()
