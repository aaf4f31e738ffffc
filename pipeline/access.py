"""What each process and person may do in Kafka: the least that they need, declared once.

The table of docs/security.md, `elo topics acls`, the users of the Helm chart, the check of a worker at its
start and the grants of the tests are made of this. It must not know how a grant is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from .topics import Topics


class Role(StrEnum):
    """Who does something in Kafka. A login may have several roles."""

    WORKER = "worker"
    COLLECT = "collect"
    DELIVER = "deliver"
    FEED = "feed"
    VIEW = "view"
    OPERATE = "operate"
    ADMIN = "admin"
    GROW = "grow"


MEANING: Final[Mapping[Role, str]] = MappingProxyType(
    {
        Role.WORKER: "`elo worker`",
        Role.COLLECT: "`elo collect`",
        Role.DELIVER: "`elo deliver run`",
        Role.FEED: "`elo produce`, `elo import`, `elo cdc` (also READ on the topics of the database)",
        Role.VIEW: "whoever looks: `elo wait`, `elo tail`, `elo state`, `elo why`, `elo reconcile`, "
        "every `list`, …",
        Role.OPERATE: "whoever decides: `elo segments`, `elo identity`, `elo rejected`, …",
        Role.ADMIN: "`elo topics create`, `elo doctor`",
        Role.GROW: "`elo topics grow`, for as long as that takes",
    }
)


class Operation(StrEnum):
    """What may be done, as Kafka names it. READ and WRITE include DESCRIBE."""

    READ = "READ"
    WRITE = "WRITE"
    CREATE = "CREATE"
    ALTER = "ALTER"
    DESCRIBE = "DESCRIBE"
    DESCRIBE_CONFIGS = "DESCRIBE_CONFIGS"
    ALTER_CONFIGS = "ALTER_CONFIGS"


class Kind(StrEnum):
    """On what."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


@dataclass(frozen=True, slots=True)
class Grant:
    """One entry of a list of grants. `prefixed`: of everything whose name begins so."""

    kind: Kind
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False


def grants_of(role: Role, topics: Topics) -> tuple[Grant, ...]:
    """Everything that a role needs in the deployment of these topics, topics first, each once."""
    group = f"{topics.prefix}elo"
    found = {
        Role.WORKER: _worker,
        # HubSpot's webhook asks for erasures.
        Role.COLLECT: lambda topics, _: _write(
            (*topics.touchpoints, topics.rejected, topics.privacy_requests)
        ),
        Role.DELIVER: _deliver,
        Role.FEED: _feed,
        Role.VIEW: _view,
        Role.OPERATE: _operate,
        Role.ADMIN: _admin,
        Role.GROW: _grow,
    }[role](topics, group)
    return _merged(found)


def _worker(topics: Topics, group: str) -> list[Grant]:
    inputs = (*topics.touchpoints, topics.decisions, topics.touches, topics.mail)
    outputs = (topics.membership, topics.current, topics.profiles, topics.merges, topics.review)
    return [
        *_read((*inputs, topics.state, topics.definitions, topics.policy)),
        *_write((topics.touches, topics.mail, *topics.of_nodes, *outputs, topics.rejected)),
        Grant(Kind.GROUP, group, (Operation.READ,)),
        # The names under which a worker reads without being a member: Kafka is asked who coordinates them.
        Grant(Kind.GROUP, f"{group}-", (Operation.DESCRIBE,), prefixed=True),
        Grant(Kind.TRANSACTIONAL_ID, f"{group}-", (Operation.WRITE,), prefixed=True),
    ]


def _deliver(topics: Topics, group: str) -> list[Grant]:
    return [
        *_read((topics.membership, topics.deliveries, topics.destinations)),
        *_write((topics.deliveries, topics.destinations)),
        Grant(Kind.GROUP, f"{group}.deliver.", (Operation.READ,), prefixed=True),
        Grant(Kind.GROUP, f"{group}-", (Operation.DESCRIBE,), prefixed=True),
    ]


def _feed(topics: Topics, group: str) -> list[Grant]:
    return [
        *_write((*topics.touchpoints, topics.rejected)),
        Grant(Kind.GROUP, f"{group}.cdc.", (Operation.READ,), prefixed=True),
    ]


def _view(topics: Topics, group: str) -> list[Grant]:
    private = (topics.privacy_requests, topics.receipts)  # no command reads them
    names = (spec.name for spec in topics.specs())
    return [*_read(name for name in names if name not in private), *_ask(group)]


def _ask(group: str) -> list[Grant]:
    """Who is in the groups of a deployment, and how far they are."""
    return [
        Grant(Kind.GROUP, group, (Operation.DESCRIBE,)),
        Grant(Kind.GROUP, f"{group}.", (Operation.DESCRIBE,), prefixed=True),
        Grant(Kind.GROUP, f"{group}-", (Operation.DESCRIBE,), prefixed=True),
    ]


def _operate(topics: Topics, group: str) -> list[Grant]:
    decided = (topics.definitions, topics.segment_history, topics.policy, topics.decisions)
    sent_again = (*topics.touchpoints, topics.redriven, topics.deliveries, topics.destinations)
    return [
        *_view(topics, group),
        *_write((*decided, *sent_again)),
        Grant(Kind.TRANSACTIONAL_ID, f"{group}.", (Operation.WRITE,), prefixed=True),
    ]


def _admin(topics: Topics, group: str) -> list[Grant]:
    made = (Operation.CREATE, Operation.DESCRIBE_CONFIGS)
    # The doctor looks at records that wait, and at the newest of what is stored with a version.
    stored = (topics.touches, topics.mail, topics.state, topics.definitions, topics.policy)
    looked_at = (*topics.touchpoints, topics.decisions, *stored)
    others = (spec.name for spec in topics.specs() if spec.name not in looked_at)
    return [
        *_read(looked_at),
        *(Grant(Kind.TOPIC, name, (Operation.DESCRIBE,)) for name in others),
        *(Grant(Kind.TOPIC, spec.name, made) for spec in topics.specs()),
        *_ask(group),
        # The doctor compares clocks with a record that it never commits.
        *_write((topics.mail,)),
        Grant(Kind.TRANSACTIONAL_ID, f"{group}.doctor", (Operation.WRITE,)),
    ]


def _grow(topics: Topics, group: str) -> list[Grant]:
    kept = (topics.touches, topics.mail, *topics.of_nodes)
    return [
        *(Grant(Kind.TOPIC, name, (Operation.ALTER,)) for name in topics.together),
        *(Grant(Kind.TOPIC, name, (Operation.ALTER_CONFIGS,)) for name in kept[:2]),
        *_read(kept),
        *_write(kept),
        Grant(Kind.GROUP, group, (Operation.READ,)),
        Grant(Kind.GROUP, f"{group}.grow", (Operation.READ,)),
        Grant(Kind.GROUP, f"{group}-", (Operation.DESCRIBE,), prefixed=True),
        Grant(Kind.TRANSACTIONAL_ID, f"{group}-grow", (Operation.WRITE,)),
    ]


def _read(names: Iterable[str]) -> list[Grant]:
    return [Grant(Kind.TOPIC, name, (Operation.READ,)) for name in names]


def _write(names: Iterable[str]) -> list[Grant]:
    return [Grant(Kind.TOPIC, name, (Operation.WRITE,)) for name in names]


def _merged(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """One grant for each thing, its operations in the order of `Operation`."""
    found: dict[tuple[Kind, str, bool], set[Operation]] = {}
    for grant in grants:
        found.setdefault((grant.kind, grant.name, grant.prefixed), set()).update(grant.operations)
    order = list(Operation)
    return tuple(
        Grant(kind, name, tuple(sorted(operations, key=order.index)), prefixed)
        for (kind, name, prefixed), operations in found.items()
    )


def kafka_acls(grants: Iterable[Grant], principal: str, bootstrap: str) -> list[str]:
    """The commands of Kafka's own tool that give these grants to a principal such as `User:elo-worker`."""
    shell = f"kafka-acls.sh --bootstrap-server {bootstrap} --add --allow-principal {principal}"
    return [
        f"{shell} {_operations(grant)}"
        f" --{grant.kind} '{grant.name}'{' --resource-pattern-type prefixed' if grant.prefixed else ''}"
        for grant in grants
    ]


def _operations(grant: Grant) -> str:
    return " ".join(f"--operation {_tool_name(one)}" for one in grant.operations)


def _tool_name(operation: Operation) -> str:
    """As Kafka's tool and Strimzi write it: `DescribeConfigs`."""
    return operation.title().replace("_", "")


def acls_document(topics: Topics) -> dict[str, list[dict[str, object]]]:
    """Role → its grants as plain data, in the words of Strimzi's KafkaUser."""
    return {
        role.value: [
            {
                "type": "transactionalId" if grant.kind is Kind.TRANSACTIONAL_ID else grant.kind.value,
                "name": grant.name,
                "patternType": "prefix" if grant.prefixed else "literal",
                "operations": [_tool_name(one) for one in grant.operations],
            }
            for grant in grants_of(role, topics)
        ]
        for role in Role
    }


def render_roles_table() -> str:
    """The table of docs/security.md: one row for each role and operation, without a topic prefix."""
    rows = ["| role | used by | may | on |", "|---|---|---|---|"]
    for role in Role:
        by_operations: dict[tuple[Kind, tuple[Operation, ...]], list[str]] = {}
        for grant in grants_of(role, Topics()):
            shown = f"`{grant.name}{'*' if grant.prefixed else ''}`"
            by_operations.setdefault((grant.kind, grant.operations), []).append(shown)
        used = MEANING[role]
        for (kind, operations), names in by_operations.items():
            plural = {Kind.TOPIC: "topics", Kind.GROUP: "groups"}.get(kind, "transactional ids")
            rows.append(f"| {role} | {used} | {', '.join(operations)} | {plural} {', '.join(names)} |")
            used = ""
    return "\n".join(rows).replace("|  |", "| |") + "\n"
