"""The shop agrees with the pure core on spellings, on what its definitions decide and on what is rejected."""

from __future__ import annotations

import pytest

from connectors.demo.feed import encode
from connectors.shop import SEGMENTS, Shop, segments_text
from connectors.shop.truth import WINDOWS_MS
from pipeline.core.errors import Rejection
from pipeline.core.facet import Facet
from pipeline.core.normalise import Normaliser
from pipeline.core.policy import Policy
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.parse import parse_definitions
from pipeline.core.touchpoint import TouchpointReader
from pipeline.settings import load_policy, load_settings
from pipeline.topics import SOURCES
from pipeline.wire.avro import TouchpointDecoder
from tests.unit.connectors.naive import Naive, normalise

START_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(load_settings())


def good(seed: int, seconds: int = 20) -> tuple[Shop, list[dict]]:
    shop = Shop(seed, START_MS)
    emissions = list(shop.until(START_MS + 1_000 * seconds))
    return shop, [one.value for one in emissions if not one.reason and isinstance(one.value, dict)]


@pytest.mark.parametrize("seed", range(3))
def test_every_spelling_normalises_to_what_the_shop_means(seed: int, policy: Policy) -> None:
    shop, touchpoints = good(seed, seconds=30)
    normaliser = Normaliser(policy)
    seen = {(one["type"], one["value"]) for touchpoint in touchpoints for one in touchpoint["identifiers"]}
    for kind, value in seen:
        mine = normalise(kind, value)
        assert normaliser.identifier(kind, value) == (None if mine is None else f"{kind}:{mine}"), (
            kind,
            value,
        )
    known = {normaliser.identifier(kind, value) for kind, value in seen} - {None}
    assert known == set(shop.truth.group_of)


@pytest.mark.parametrize("seed", range(3))
def test_the_intake_accepts_and_rejects_what_the_shop_says(seed: int, policy: Policy) -> None:
    reader = TouchpointReader(policy, SOURCES, TouchpointDecoder())
    for emission in Shop(seed, START_MS).until(START_MS + 30_000):
        read = reader.read(encode(emission), emission.due_ms)
        if isinstance(read, Rejection):
            assert (read.reason, read.detail) == (emission.reason, read.detail)
        else:
            assert isinstance(emission.value, dict)
            assert (emission.reason, read.identifiers) == ("", Naive.identifiers(emission.value))


@pytest.mark.parametrize("seed", range(3))
def test_the_definitions_decide_as_the_truth_does(seed: int, policy: Policy) -> None:
    shop, touchpoints = good(seed)
    catalogue = Catalogue(parse_definitions(segments_text()))
    assert set(catalogue.segments) == set(SEGMENTS)
    naive = Naive(touchpoints)
    folds = {root: Facet() for root in naive.groups()}
    for touchpoint, home in zip(naive.touchpoints, naive.homes, strict=True):
        fold, at_ms = folds[naive.root(home)], touchpoint["occurred_at"]
        fold.touch(touchpoint["type"], at_ms)
        fold.see_traits(touchpoint["traits"], at_ms, policy.traits)
        fold.see_consent(touchpoint["consent"], at_ms)
        finder = catalogue.finders.get(touchpoint["type"])
        for leaf in finder.find(touchpoint["properties"]) if finder else ():
            fold.see_leaf(leaf.key, leaf.capacity, at_ms, touchpoint["event_id"])
    end_ms = START_MS + 20_000
    for root, members in naive.groups().items():
        kinds = {one.partition(":")[0] for one in members}
        group = shop.truth.group_of[root]
        for instant in (end_ms, end_ms + 9_000, end_ms + 899_000, end_ms + 7 * 86_400_000):
            for segment_id, segment in catalogue.segments.items():
                inside, due_ms = segment.evaluate(folds[root], kinds, instant)
                assert inside == SEGMENTS[segment_id](group, instant), (segment_id, sorted(members))
                if due_ms < START_MS * 2:
                    assert any(due_ms - window in {t for t, _, _ in group.events} for window in WINDOWS_MS)
