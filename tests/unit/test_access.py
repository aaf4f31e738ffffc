"""Roles in Kafka: what is declared is complete, least, and said in every form alike."""

from __future__ import annotations

import json

import pytest

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
