"""Roles in Kafka: what is declared is complete, least, and said in every form alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.collect.webhooks import webhooks_of
from pipeline.access import (
    MEANING,
    Kind,
    Operation,
    Role,
    acls_document,
    grants_of,
    kafka_acls,
    render_roles_table,
)
from pipeline.cli.app import app
from pipeline.cli.options import run_app
from pipeline.core.policy import parse_policy
from pipeline.settings import Settings
from pipeline.topics import Topics

EU = Topics("eu.")
NAMES = {spec.name for spec in EU.specs()}


@pytest.mark.parametrize("role", list(Role))
def test_grants_name_topics_of_the_deployment_and_carry_its_prefix(role: Role) -> None:
    grants = grants_of(role, EU)
    assert MEANING[role]
    assert grants
    for grant in grants:
        assert grant.name.startswith("eu.")
        assert grant.operations
        if grant.kind is Kind.TOPIC:
            assert grant.name in NAMES
            assert not grant.prefixed
        else:
            assert grant.name.startswith("eu.elo")
    assert len({(one.kind, one.name, one.prefixed) for one in grants}) == len(grants)


def test_only_the_admin_may_create_only_growing_alters_and_nobody_may_delete() -> None:
    for role in Role:
        operations = {one for grant in grants_of(role, EU) for one in grant.operations}
        assert (Operation.CREATE in operations) == (role is Role.ADMIN)
        assert bool({Operation.ALTER, Operation.ALTER_CONFIGS} & operations) == (role is Role.GROW)
    assert "DELETE" not in set(Operation)


def test_the_collector_may_write_wherever_its_webhooks_do_and_nobody_reads_requests_without_need() -> None:
    def allowed(role: Role, topic: str) -> set[Operation]:
        return {one for grant in grants_of(role, EU) if grant.name == topic for one in grant.operations}

    policy = parse_policy({"version": 1, "identifiers": {"hubspot_id": {"limit": 1}}})
    settings = Settings(topic_prefix="eu.", hubspot_secret=SecretStr("s"))
    (hook,) = webhooks_of(settings, policy, EU).values()
    event = {"subscriptionType": "contact.privacyDeletion", "objectId": 7, "occurredAt": 1}
    erasure: Any = hook._read_event(event)  # type: ignore[attr-defined]
    assert Operation.WRITE in allowed(Role.COLLECT, erasure.topic)
    for role in (Role.VIEW, Role.OPERATE, Role.ADMIN):
        assert Operation.READ not in allowed(role, EU.privacy_requests)
    assert Operation.READ not in allowed(Role.ADMIN, EU.profiles)


def test_who_only_looks_writes_nothing_and_only_workers_write_what_is_theirs() -> None:
    def writers(topic: str) -> set[Role]:
        return {
            role
            for role in Role
            for grant in grants_of(role, EU)
            if grant.name == topic and Operation.WRITE in grant.operations
        }

    assert not any(Role.VIEW in writers(name) for name in NAMES)
    for name in (EU.membership, EU.current, EU.profiles, EU.merges, EU.review):
        assert writers(name) == {Role.WORKER}
    assert writers(EU.touches) == writers(EU.state) == {Role.WORKER, Role.GROW}
    assert writers(EU.definitions) == {Role.OPERATE}


def test_commands_json_and_table_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["--topic-prefix", "eu.", "topics", "acls", "deliver", "--principal", "User:d"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "# deliver", *kafka_acls(grants_of(Role.DELIVER, EU), "User:d", "localhost:9092")
    ]  # fmt: skip
    assert run_app(app, ["--topic-prefix", "eu.", "topics", "acls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == acls_document(EU)
    table = render_roles_table()
    for grants in acls_document(Topics()).values():
        assert all(str(grant["name"]) in table for grant in grants)


def test_a_command_of_kafkas_tool_names_operation_pattern_and_principal() -> None:
    lines = kafka_acls(grants_of(Role.WORKER, EU), "User:w", "k:9092")
    assert (
        "kafka-acls.sh --bootstrap-server k:9092 --add --allow-principal User:w "
        "--operation Write --transactional-id 'eu.elo-' --resource-pattern-type prefixed"
    ) in lines
    assert all("--operation" in line for line in lines)
