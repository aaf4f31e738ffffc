"""`elo identity rehearse|publish|show`: the identity policy of a deployment, and another one in its place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Common, Json, command, fail, say, say_json

File = Annotated[Path, typer.Argument(metavar="FILE", help="the new identity policy in YAML")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "rehearse")(rehearse)


def rehearse(common: Common, file: File, json_output: Json = False) -> None:
    """Show what a new identity policy would make of everybody who is known. Nothing is changed."""
    from ..core.instant import format_instant
    from ..core.policy_change import fault_of_rules, notes_on
    from ..runtime.published import policy_in_force
    from ..runtime.rehearse import rehearse as rehearse_policy
    from ..settings import read_policy_file
    from .definitions import read_stored
    from .kafka import connect

    settings = common.settings()
    policy, text = read_policy_file(settings, file)
    connect(settings)
    present = policy_in_force(settings)
    _refuse(file, fault_of_rules(present.policy, policy))
    stored = read_stored(settings).values()
    definitions = [one.document for one in stored if not one.deleted and one.content_hash is not None]
    now_ms = time.time_ns() // 1_000_000
    result = rehearse_policy(settings, present.text, text, definitions, now_ms).to_json()
    document = {
        "evaluated_at": format_instant(now_ms),
        "version": {"before": present.policy.version, "after": policy.version},
        **result,
        "notes": list(notes_on(present.policy, policy)),
    }
    if json_output:
        say_json(document)
        return
    for line in _lines(document):
        say(line)


def _refuse(file: Path, fault: str) -> None:
    if fault:
        fail(f"{file}: {fault}; nothing was changed")


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    version, profiles = document["version"], document["profiles"]
    yield (
        f"identity policy {version['before']} → {version['after']} over {document['components']} components "
        f"at {document['evaluated_at']}; nothing was changed"
    )
    yield (
        f"profiles: {profiles['before']} → {profiles['after']}, "
        f"{document['components_changed']} components would be others"
    )
    for name, title in (("merges_gained", "merges gained"), ("merges_lost", "merges lost")):
        found = document[name]
        yield f"{title}: {found['count']}"
        for example in found["examples"]:
            yield f"  {_example(example)}"
        if found["count"] > len(found["examples"]):
            yield f"  and {found['count'] - len(found['examples'])} more"
    for name, moves in document["memberships"].items():
        yield f"segment {name}: {moves['entered']['count']} enter, {moves['left']['count']} leave"
    for name, title in (("before", "refused links now"), ("after", "refused links then")):
        yield f"{title}: {_counts(document['refused_links'][name])}"
    yield f"shared from then on: {_counts(document['shared']['newly'])}"
    if document["shared"]["stay"]:
        yield f"shared before, and stay so: {_counts(document['shared']['stay'])}"
    yield "largest profiles then:"
    for profile in document["largest_profiles"]:
        size = f"{profile['size']} identifier{'s' if profile['size'] != 1 else ''}"
        yield f"  {profile['profile_id']}: {size}, {_shown(profile['identifiers'])}"
    for note in document["notes"]:
        yield f"note: {note}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _shown(identifiers: list[str]) -> str:
    return ", ".join(identifiers[:3]) + (" …" if len(identifiers) > 3 else "")


def _example(example: Mapping[str, Any]) -> str:
    text = f"{example['profile_id']} ({_shown(example['identifiers'])})"
    if example["with_profile_id"]:
        text += f" with {example['with_profile_id']} ({_shown(example['with_identifiers'])})"
    link = example["link"]
    if link:
        text += f": link {' – '.join(link['identifiers'])}, event {link['first_event_id']}, {link['refused']}"
    return text
