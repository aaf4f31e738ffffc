"""`elo schemas`: the Avro schemas of this version, and a registry that others read them from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Common, Json, command, fail, group, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..runtime.schema_registry import RegistryClient
    from ..settings import Settings
    from ..wire.registry import RegisteredSchema

READ = "touchpoint"
"""The subject that others write and Elo reads."""
app = group("Avro schemas, and a schema registry.")
Registry = Annotated[
    str | None,
    typer.Option("--registry", metavar="URL", help="a registry with Confluent's API [ELO_SCHEMA_REGISTRY]"),
]


@command(app, "check")
def check(common: Common, registry: Registry = None, json_output: Json = False) -> None:
    """Compare this version's schemas with a registry; exit code 1 when one does not fit. Changes nothing."""
    settings = common.settings(schema_registry=registry)
    found = [_checked(_client(settings), subject, schema) for subject, schema in _subjects(settings)]
    _report(found, json_output)
    _refuse_problems(found)


@command(app, "register")
def register(common: Common, registry: Registry = None, json_output: Json = False) -> None:
    """Register every schema for the topics that carry it; repeat it as you like. A step of each deploy."""
    settings = common.settings(schema_registry=registry)
    client = _client(settings)
    _refuse_problems([_checked(client, subject, schema) for subject, schema in _subjects(settings)])
    found = []
    for subject, schema in _subjects(settings):
        given = client.register(subject, schema.raw)
        client.set_compatibility(subject, schema.compatibility)
        found.append(_registered(subject, schema, given))
    _report(found, json_output)
    _refuse_problems(found)


def _subjects(settings: Settings) -> Iterator[tuple[str, RegisteredSchema]]:
    """Subject and schema, so that in an empty registry schemas get the ids that they have here.

    Some count ids on when a schema is registered for a second topic: those come after all schemas.
    """
    from ..wire.registry import default_registry

    schemas = [schema for _, schema in sorted(default_registry().by_id.items())]
    first = [(schema.topics[0], schema) for schema in schemas]
    others = [(topic, schema) for schema in schemas for topic in schema.topics[1:]]
    for topic, schema in (*first, *others):
        yield f"{settings.topic_prefix}{topic}-value", schema


def _client(settings: Settings) -> RegistryClient:
    from ..runtime.schema_registry import RegistryClient

    if settings.schema_registry is None:
        fail("name the registry with --registry or ELO_SCHEMA_REGISTRY")
    return RegistryClient(settings.schema_registry.get_secret_value())


def _checked(client: RegistryClient, subject: str, schema: RegisteredSchema) -> dict[str, Any]:
    """How a schema stands. Elo writes its own ids, so each must mean the same in the registry, or nothing."""
    other = client.schema_of(schema.id)
    if other is not None and other != schema.raw:
        entry = _entry(subject, schema, "id taken")
        entry["problem"] = f"id {schema.id} is another schema there, give Elo a registry of its own"
        return entry
    given = client.id_of(subject, schema.raw)
    if given is not None:
        return _registered(subject, schema, given)
    if client.is_compatible(subject, schema.raw):
        return _entry(subject, schema, "new")
    entry = _entry(subject, schema, "incompatible")
    entry["problem"] = f"version {schema.version} is not compatible with what is registered for {subject}"
    return entry


def _registered(subject: str, schema: RegisteredSchema, given: int) -> dict[str, Any]:
    """What Elo writes must have its id there too; touchpoints are also read under any other id."""
    entry = _entry(subject, schema, "registered")
    if given != schema.id and schema.subject != READ:
        entry["problem"] = f"the registry calls it {given}, give Elo a registry of its own"
    return entry


def _entry(subject: str, schema: RegisteredSchema, state: str) -> dict[str, Any]:
    return {"subject": subject, "id": schema.id, "version": schema.version, "state": state, "problem": ""}


def _report(found: list[dict[str, Any]], json_output: bool) -> None:
    for entry in found:
        if json_output:
            say_json(entry)
        else:
            problem = f": {entry['problem']}" if entry["problem"] else ""
            say(f"{entry['subject']} version {entry['version']}, id {entry['id']}: {entry['state']}{problem}")


def _refuse_problems(found: list[dict[str, Any]]) -> None:
    problems = [f"{entry['subject']}: {entry['problem']}" for entry in found if entry["problem"]]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        fail(problems[0] + more)
