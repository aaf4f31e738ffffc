"""Laws that hold for every run of a cluster, whatever happened in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.core.outbox import Cause, MembershipChange, Outbox, ProfileAlias
from pipeline.core.outputs import Outputs
from pipeline.core.segments.catalogue import Catalogue
from tests.support import matching_oracle, oracle
from tests.support.decision_oracle import Ruled
from tests.support.memory import PROFILE_KEY, Cluster, Published, profile_as_dict

Members = set[tuple[str, str]]
"""(profile id, segment id) of everybody who is inside."""


def profiles_of(cluster: Cluster) -> list[dict[str, Any]]:
    """Every profile with a touch of its own, computed from what is committed, sorted by id."""
    catalogue = cluster.partitions[0].outputs.deciding
    outputs = Outputs(cluster.policy, Catalogue(()), None, PROFILE_KEY, 0)  # type: ignore[arg-type]
    found = []
    for partition in cluster.partitions:
        for component in partition.components():
            if component.redirect:
                continue
            outputs.outbox = Outbox()
            for profile in outputs.profiles(component):
                if profile.fold.counters:
                    aliases = sorted(old for old, e in component.entries.items() if e.alias_of == profile.id)
                    computed = catalogue.computed(profile.fold, profile.types, cluster.now_ms)
                    found.append(profile_as_dict(profile, aliases, computed))
    return sorted(found, key=lambda one: str(one["profile_id"]))


def members_of(cluster: Cluster) -> Members:
    """Who is inside what, as it is committed; profiles without a touch and merged-away ones included."""
    return {
        (pid, segment)
        for partition in cluster.partitions
        for component in partition.components()
        for pid, entry in component.entries.items()
        for segment, membership in entry.memberships.items()
        if membership[0]
    }


def check_profiles(
    cluster: Cluster,
    touches: Iterable[Any],
    definitions: Sequence[oracle.JsonDefinition] = (),
    decisions: Sequence[Ruled] = (),
) -> None:
    """The profiles, and who is inside what now, are those of the oracle."""
    expected = []
    for person in oracle.people(touches, cluster.policy, PROFILE_KEY, decisions):
        expected.append({
            "profile_id": person.profile_id,
            "identifiers": person.identifiers,
            "traits": oracle.text_of({
                name: value
                for name, value in (person.traits | person.computed(definitions, cluster.now_ms)).items()
                if value is not None
            }),
            "counters": person.counters,
            "consent": person.consent,
            "first_seen": person.first_seen,
            "last_seen": person.last_seen,
            "memberships": sorted(person.memberships(definitions, cluster.now_ms)),
        })  # fmt: skip
    found = profiles_of(cluster)
    for profile in found:
        profile["traits"] = oracle.text_of(profile["traits"])
        profile["memberships"] = sorted(profile["memberships"])
        del profile["aliases"]
    assert found == expected


def check_matches(cluster: Cluster, touches: Iterable[Any]) -> None:
    """Each component knows exactly whose records match those of its identifiers, and with which weight."""
    once = oracle.accepted(touches)
    records = matching_oracle.records_of(once, cluster.policy, oracle.surviving)
    expected: dict[str, dict[str, float]] = {}
    for (a, b), (weight, _) in matching_oracle.matches_of(once, records, cluster.policy).items():
        expected.setdefault(a, {})[b] = weight
        expected.setdefault(b, {})[a] = weight
    found = {
        one: edges
        for partition in cluster.partitions
        for component in partition.components()
        for one, (_, edges) in component.matches.items()
        if edges
    }
    assert found == expected


def check_heirs(cluster: Cluster, touches: Iterable[Any], decisions: Sequence[Ruled] = ()) -> None:
    """Every profile id that was ever told of stands for who has its anchor now, and that was told last."""
    owner = {
        identifier: person.profile_id
        for person in oracle.people(touches, cluster.policy, PROFILE_KEY, decisions)
        for identifier in person.identifiers
    }
    told: dict[str, str] = {}
    for one in cluster.told:
        if isinstance(one.output, ProfileAlias):
            told[one.output.old_profile_id] = one.output.profile_id
    for partition in cluster.partitions:
        for component in partition.components():
            for pid, entry in component.entries.items():
                heir = owner.get(entry.anchor, pid)
                assert entry.alias_of == (heir if heir != pid else ""), (pid, entry.anchor)
                assert told.get(pid, "") == entry.alias_of, (pid, entry.anchor)


def check_structure(cluster: Cluster) -> None:
    """At rest nothing is open, and every identifier leads to the one live component that holds it."""
    components = {one.root: one for partition in cluster.partitions for one in partition.components()}
    nodes = {name: node for partition in cluster.partitions for name, node in partition.identifiers().items()}
    holder = {}
    for component in components.values():
        assert not component.claims, component.root
        assert not component.unsettled, component.root
        for identifier in component.identifiers:
            assert identifier not in holder, identifier
            assert identifier in nodes, identifier
            holder[identifier] = component.root
    for identifier, node in nodes.items():
        root = node.owner
        while root in components and components[root].redirect:
            root = components[root].redirect
        assert holder.get(identifier, root) == root, identifier


def check_outputs(cluster: Cluster) -> None:
    """Sequences without gaps, nothing told twice, aliases that lead to somebody, a replay like the state."""
    check_sequences(cluster)
    check_aliases(cluster)
    assert replay(cluster) == members_of(cluster)
    check_snapshots(cluster)


def changes_of(cluster: Cluster) -> list[MembershipChange]:
    """Every membership change, in the order in which it was told."""
    return [told.output for told in cluster.told if isinstance(told.output, MembershipChange)]


def check_sequences(cluster: Cluster, forgotten: bool = False) -> None:
    """Per profile and segment: 1, 2, 3 …, entered and exited by turns; every change id is new.

    A silent entry comes first, is not counted, and makes an exit the first change.
    `forgotten`: profiles may have expired, and may have begun again from 1 after an exit.
    """
    last: dict[tuple[str, str], int] = {}
    silent: set[tuple[str, str]] = set()
    ids = set()
    for change in changes_of(cluster):
        key = change.profile_id, change.segment_id
        if change.silent:
            assert key not in last, change
            assert (change.change, change.sequence, change.backfill) == ("entered", 0, True), change
            silent.add(key)
            last[key] = 0
            continue
        odd = "exited" if key in silent else "entered"
        even = "entered" if key in silent else "exited"
        if forgotten and change.sequence == 1 and last.get(key, 0) % 2 == 0:
            last[key] = 0
        assert change.sequence == last.get(key, 0) + 1, change
        assert change.change == (odd if change.sequence % 2 else even), change
        assert forgotten or change.change_id not in ids, change
        last[key] = change.sequence
        ids.add(change.change_id)


def replay(cluster: Cluster) -> Members:
    """Who is inside what for a reader of `segments.current`."""
    members: Members = set()
    for change in changes_of(cluster):
        key = change.profile_id, change.segment_id
        if change.change == "entered":
            members.add(key)
        else:
            members.remove(key)
    return members


def check_aliases(cluster: Cluster) -> None:
    """Every chain of aliases ends at a live profile. Nothing is told of an id while it is an alias.

    The exits of a merged-away profile follow its alias at once; they are the exception.
    """
    heirs: dict[str, str] = {}
    fresh: set[str] = set()
    for told in cluster.told:
        output = told.output
        if isinstance(output, ProfileAlias):
            assert output.profile_id != heirs.get(output.old_profile_id, "")
            heirs.pop(output.old_profile_id, None)
            if output.profile_id:
                heirs[output.old_profile_id] = output.profile_id
                fresh.add(output.old_profile_id)
        elif isinstance(output, MembershipChange):
            if output.profile_id in heirs:
                assert output.profile_id in fresh, output
                assert (output.change, output.cause) == ("exited", Cause.MERGE), output
            else:
                fresh.clear()
    live = {profile["profile_id"] for profile in profiles_of(cluster)}
    for old in heirs:
        heir = old
        for _ in range(len(heirs) + 1):
            heir = heirs.get(heir, heir)
        assert heir in live, (old, heir)
        assert old not in live, old


def check_snapshots(cluster: Cluster) -> None:
    """`profiles.unified`, read to its end, is the state."""
    latest: dict[str, Any] = {}
    for told in cluster.told:
        if isinstance(told.output, Published):
            latest[told.output.profile_id] = told.output.profile
    published = {
        pid: profile for pid, profile in latest.items() if profile is not None and profile["counters"]
    }
    assert published == {profile["profile_id"]: profile for profile in profiles_of(cluster)}
