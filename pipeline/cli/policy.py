"""`elo identity rehearse|publish|show`: the identity policy of a deployment, and another one in its place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .options import Common, Json, command, fail, say, say_json

if TYPE_CHECKING:
    from ..settings import Settings

RECORD_BYTES_MAX: Final = 1_000_000
"""Of a policy with its model: what clients and brokers take as they come."""
File = Annotated[Path, typer.Argument(metavar="FILE", help="the new identity policy in YAML")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "rehearse")(rehearse)
    command(app, "publish")(publish)
    command(app, "show")(show)


def rehearse(common: Common, file: File, json_output: Json = False) -> None:
    """Show what a new identity policy would make of everybody who is known. Nothing is changed."""
    from ..core.instant import format_instant
    from ..core.policy_change import fault_of_rules, notes_on
    from ..core.published import Published
    from ..runtime.published import policy_in_force
    from ..runtime.rehearse import rehearse as rehearse_policy
    from ..settings import read_policy_file
    from .definitions import read_stored
    from .kafka import connect

    settings = common.settings()
    policy, text, model = read_policy_file(settings, file)
    connect(settings)
    present = policy_in_force(settings)
    _refuse(file, fault_of_rules(present.policy, policy))
    stored = read_stored(settings).values()
    definitions = [one.document for one in stored if not one.deleted and one.content_hash is not None]
    now_ms = time.time_ns() // 1_000_000
    after = Published(policy, text, model=model)
    result = rehearse_policy(settings, present, after, definitions, now_ms).to_json()
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


def publish(
    common: Common,
    file: File,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="who publishes it")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="WHY", help="why")] = "",
    json_output: Json = False,
) -> None:
    """Put a new identity policy in force on all partitions, while workers run; `elo wait` waits for it."""
    from ..core.policy_change import fault_of, notes_on
    from ..core.published import POLICY_KEY, Published
    from ..runtime.published import policy_in_force
    from ..settings import read_policy_file
    from .kafka import connect, partitions_of, send_all

    settings = common.settings()
    policy, text, model = read_policy_file(settings, file)
    topic = settings.topics().policy
    partitions_of(connect(settings), [topic])
    present = policy_in_force(settings)
    _refuse(file, fault_of(present.policy, policy))
    newest = max([one["version"] for one in _partitions(settings)], default=0)
    if policy.version <= newest:
        _refuse(file, f"version {newest} is in force on a partition, write version: {newest + 1}")
    record = Published(policy, text, by, reason, time.time_ns() // 1_000_000, model)
    value = record.encode()
    if len(value) > RECORD_BYTES_MAX:
        _refuse(file, f"with its model it takes {len(value)} bytes, write fewer than {RECORD_BYTES_MAX}")
    send_all(settings, topic, [(POLICY_KEY, value)])
    notes, replaced = list(notes_on(present.policy, policy)), present.policy.version
    if json_output:
        trained = record.model_version or None
        say_json({"version": policy.version, "replaces": replaced, "model": trained, "notes": notes})
        return
    say(f"identity policy version {policy.version} is published and replaces {replaced}")
    if record.model:
        say(f"with the matching model {record.model_version}")
    for note in notes:
        say(f"note: {note}")
    say("`elo wait` returns when it is applied everywhere, `elo identity show` shows how far it is")


def show(common: Common, json_output: Json = False) -> None:
    """Show the identity policy in force, and on which partitions it is applied already."""
    from ..core.instant import format_instant
    from ..runtime.published import policy_in_force, policy_of_file
    from .kafka import connect

    settings = common.settings()
    connect(settings)
    present, file = policy_in_force(settings), policy_of_file(settings)
    partitions = _partitions(settings)
    at = format_instant(present.at_ms) if present.at_ms else None
    if json_output:
        say_json({
            **present.to_json(),
            "published_at": at,
            "file_version": file.policy.version,
            "partitions": partitions,
        })  # fmt: skip
        return
    say(f"identity policy version {present.policy.version}")
    if at is None:
        say(f"from {settings.identity or 'the shipped defaults'}; none with a greater version is published")
    else:
        by, why = present.by or "somebody", f": {present.reason}" if present.reason else ""
        say(f"published at {at} by {by}{why}; the file has version {file.policy.version}")
    if present.model:
        say(f"with the matching model {present.model_version}")
    done = [one for one in partitions if one["applied"] and one["version"] == present.policy.version]
    say(f"applied on {len(done)} of {len(partitions)} partitions")
    for one in partitions:
        if one not in done:
            state = "applied" if one["applied"] else "being worked off"
            say(f"  partition {one['partition']}: version {one['version']}, {state}")
    say("")
    say(present.text.rstrip())


def _partitions(settings: Settings) -> list[dict[str, Any]]:
    """What the workers have noted last: the version in force on each partition, and whether it is applied."""
    from confluent_kafka import TopicPartition

    from .idle import Watcher

    watcher = Watcher(settings)
    try:
        _, notes = watcher.committed()
        end = watcher.group.get_watermark_offsets(TopicPartition(watcher.topics.policy, 0), timeout=10)[1]
    finally:
        watcher.close()
    return [
        {
            "partition": number,
            "version": note["policy_version"],
            "applied": note["policy"] >= end,
        }
        for (topic, number), note in sorted(notes.items())
        if topic == watcher.topics.touches and "policy_version" in note
    ]


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
        for way, found in moves.items():
            for example in found["examples"]:
                yield f"  {way}: {example['profile_id']} ({_shown(example['identifiers'])})"
    for name, title in (("before", "refused links now"), ("after", "refused links then")):
        yield f"{title}: {_counts(document['refused_links'][name])}"
    yield f"shared from then on: {_counts(document['shared']['newly'])}"
    if document["shared"]["stay"]:
        yield f"shared before, and stay so: {_counts(document['shared']['stay'])}"
    yield from _records(document["records"])
    yield "largest profiles then:"
    for profile in document["largest_profiles"]:
        size = f"{profile['size']} identifier{'s' if profile['size'] != 1 else ''}"
        yield f"  {profile['profile_id']}: {size}, {_shown(profile['identifiers'])}"
    for note in document["notes"]:
        yield f"note: {note}"


def _records(document: Mapping[str, Any] | None) -> Iterator[str]:
    """What becomes of pairs of records when they are compared in another way."""
    if document is None:
        return
    pairs = document["pairs"]
    if pairs is None:
        yield f"{document['count']} records: too many to compare them here, see `elo identity compare`"
        return
    matches, reviews = ("{before} → {after}".format(**pairs[name]) for name in ("matches", "reviews"))
    yield f"pairs of {document['count']} records: {matches} match, {reviews} for a steward"
    for name, inside in (("gained", "between_profiles"), ("lost", "within_a_profile")):
        found = pairs[name]
        yield f"matches {name}: {found['count']}, {found[inside]} of them {inside.replace('_', ' ')}"
        for example in found["examples"]:
            weights = (_weight(example["weight"][side]) for side in ("before", "after"))
            yield f"  {' – '.join(example['identifiers'])}: weight {' → '.join(weights)}"


def _weight(weight: float | None) -> str:
    return "none" if weight is None else f"{weight:+.2f}"


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
