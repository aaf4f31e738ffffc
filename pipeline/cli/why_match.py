"""What `elo why` says of identifiers whose records match, or do not: what came of it, and every weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from .explain import lines_of, parts_of
from .options import fail

if TYPE_CHECKING:
    from ..core.explain import WhyOne, WhyTwo
    from ..core.matched import WhyMatch
    from ..core.policy import Policy

MATCHES_SHOWN: Final = 5  # to people; --json has all


def lines_of_matches(matches: Sequence[WhyMatch], policy: Policy) -> Iterator[str]:
    """The matches around a profile."""
    for one in matches[:MATCHES_SHOWN]:
        yield from lines_of_match(one, policy)
    if len(matches) > MATCHES_SHOWN:
        yield f"and {len(matches) - MATCHES_SHOWN} more, --json has all"


def weights_as_svg(answer: WhyOne | WhyTwo, policy: Policy) -> str:
    """The waterfalls of two identifiers as a picture. Ends the command if there are none."""
    from ..core.explain import WhyTwo
    from .waterfall import to_svg

    if not isinstance(answer, WhyTwo):
        fail("--weights is about two identifiers: name a second one")
    match = answer.match
    if match is None or match.found is None:
        fail(
            "there are no weights: nobody is compared by the policy in force, or one of the two has no record"
        )
    a, b = match.identifiers
    headline = f"{a} - {b}: {_answer(match, policy)} (model {match.model_version})"
    return to_svg(headline, parts_of(match.found))


def lines_of_match(match: WhyMatch, policy: Policy) -> Iterator[str]:
    """One pair: what came of it, and the waterfalls."""
    a, b = match.identifiers
    yield f"{a} - {b}: {_answer(match, policy)}"
    if match.found is None:
        yield f"  one of them lies in another component: `elo why {a} {b}` shows the weights"
        return
    for title, waterfall in parts_of(match.found):
        yield f"  {title}, by model {match.model_version}"
        for line in lines_of(waterfall):
            yield f"  {line}"
    if not match.is_current:
        yield (
            f"  the workers still hold {match.told:+.2f}, of before a correction or by another model: "
            "ask again when `elo wait` has returned"
        )


def _answer(match: WhyMatch, policy: Policy) -> str:
    from ..core.explain import reason_in_words
    from ..core.matching.explain import Verdict

    weight, found = f"weight {match.weight:+.2f}", match.found
    if match.verdict is Verdict.ONE_PERSON:
        by_links = found is not None and max(map(len, found.groups)) == 1 and match.told is None
        return f"{weight}, one profile" + (" by links" if by_links else "")
    if match.verdict is Verdict.KEPT_APART:
        return f"{weight}, kept apart: {reason_in_words(match.reason, policy)}"
    if match.verdict is Verdict.REVIEW:
        limits = f"review_above: {match.review_above:g} and merge_above: {match.merge_above:g}"
        return f"{weight}, between {limits}: a steward decides"
    if match.verdict is Verdict.NO_LIKELY_PAIR:
        why = "too many records have those that they share" if match.meet else "they share no blocking key"
        return f"{weight}, but never compared: {why}"
    if match.reason and found is not None:
        together = f"their profiles together {found.clusters.total:+.2f}"
        return f"{weight}, but {together}, less than merge_above: {match.merge_above:g}"
    return f"{weight}, less than review_above: {match.review_above:g}"
