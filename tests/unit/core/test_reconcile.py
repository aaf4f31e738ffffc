"""The books of the reconciliation: nothing is lost in them, and the highest fate counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.reconcile import SHOWN, Book, Fate

NOTES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(list(Fate))), max_size=60)


@given(start=st.integers(0, 20), end=st.integers(0, 40), notes=NOTES, cuts=st.lists(st.integers(0, 50)))
def test_what_is_settled_and_what_is_left_is_everything_that_was_noted(
    start: int, end: int, notes: list[tuple[int, Fate]], cuts: list[int]
) -> None:
    book, model = Book(start), dict.fromkeys(range(start, end), Fate.UNSEEN)
    book.extend(end)
    for offset, fate in notes:
        book.note(offset, fate)
        if offset >= start:
            for place in range(start, offset + 1):
                model.setdefault(place, Fate.UNSEEN)
            model[offset] = max(model[offset], fate)
    for fate in Fate:
        assert list(book.offsets(fate, 0, 100)) == sorted(at for at, one in model.items() if one is fate)
    settled = dict.fromkeys(Fate, 0)
    for cut in cuts:
        for fate, count in book.settle(cut).items():
            settled[fate] += count
    rest = book.counts(book.start, book.end)
    assert {fate: settled[fate] + rest[fate] for fate in Fate} == {
        fate: sum(1 for one in model.values() if one is fate) for fate in Fate
    }


def test_a_correction_overrules_what_was_noted() -> None:
    book = Book(5)
    book.note(6, Fate.APPLIED)
    book.correct(6, Fate.DUPLICATE)
    book.correct(4, Fate.MISSING)
    book.correct(7, Fate.MISSING)
    assert book.counts(5, 9)[Fate.DUPLICATE] == 1
    assert book.counts(0, 9)[Fate.MISSING] == 0


def test_offsets_outside_the_range_are_not_told() -> None:
    book = Book(10)
    book.extend(20)
    book.note(12, Fate.MISSING)
    assert list(book.offsets(Fate.MISSING, 0, 12)) == []
    assert list(book.offsets(Fate.MISSING, 12, 13)) == [12]
    assert list(book.offsets(Fate.UNSEEN, 0, 5)) == []
    assert book.counts(0, 5) == dict.fromkeys(Fate, 0)


def test_what_is_shown_leaves_out_only_what_is_no_touchpoint_or_not_judged() -> None:
    assert set(Fate) - set(SHOWN) == {Fate.UNSEEN, Fate.VOID}
