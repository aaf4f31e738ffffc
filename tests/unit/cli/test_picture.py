"""Evidence as Graphviz text and as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from pipeline.cli.picture import Picture, picture_of, to_dot, to_svg
from pipeline.core.explain import why_two
from tests.support.evidence import People, shipped_policy

SVG = "{http://www.w3.org/2000/svg}"


def picture(people: People, a: str, b: str) -> Picture:
    found = [people.evidence(a), people.evidence(b)]
    answer = why_two(found[0], found[1], (a, b), people.policy)
    return picture_of(found, (a, b), tuple(step.edge for step in answer.path or ()))


def couple() -> Picture:
    """Two customers on one e-mail, and a phone number with a character that must be escaped."""
    touches = ["user_id:1 email:e", "user_id:2 email:e", 'user_id:2 anonymous_id:<"&>']
    return picture(People(shipped_policy(), touches), "user_id:1", "user_id:2")


def test_each_profile_is_a_band_with_its_anchor_in_the_first_column() -> None:
    first, second = couple().bands
    assert first.columns == [["user_id:1"], ["email:e"]]
    assert second.columns == [["user_id:2"], ['anonymous_id:<"&>']]
    assert {first.title, second.title} == {one.title for one in couple().bands}


def test_graphviz_text_has_every_identifier_once_and_refused_links_dashed_with_their_reason() -> None:
    text = to_dot(couple())
    assert text.startswith("graph identity {\n")
    assert text.endswith("\n}")
    assert text.count("subgraph cluster_") == 2
    assert '    "user_id:1" [penwidth=3];' in text
    assert '    "anonymous_id:<\\"&>";' in text
    (refused,) = [line for line in text.splitlines() if "style=dashed" in line]
    assert refused.startswith('  "user_id:2" -- "email:e" [label="limit_user_id\\n1 x"')
    assert refused.endswith("style=dashed, color=red, penwidth=3];")
    assert text.count(" -- ") == 3


def test_svg_is_well_formed_and_shows_the_same() -> None:
    root = ElementTree.fromstring(to_svg(couple()))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"user_id:1", "user_id:2", "email:e", 'anonymous_id:<"&>', "limit_user_id"} <= set(texts)
    classes = [element.get("class") for element in root.iter(f"{SVG}path")]
    assert sorted(str(one) for one in classes) == ["link", "link path", "link refused path"]
    assert [element.get("class") for element in root.iter(f"{SVG}rect")].count("box asked") == 2
    width, height = int(str(root.get("width"))), int(str(root.get("height")))
    for element in root.iter(f"{SVG}rect"):
        x, y = int(str(element.get("x"))), int(str(element.get("y")))
        assert 0 < x < x + int(str(element.get("width"))) < width
        assert 0 < y < y + int(str(element.get("height"))) < height


def test_who_belongs_to_nobody_has_a_band_too() -> None:
    people = People(
        shipped_policy(email={"limit": 1, "shared_after": 9}), ["user_id:1 email:a", "user_id:1 email:b"]
    )
    drawn = picture(people, "user_id:1", "email:b")
    assert [band.columns for band in drawn.bands][-1] == [["email:b"]]
    assert drawn.bands[-1].title == "in none of these profiles"
    assert "email:b" in to_svg(drawn)
