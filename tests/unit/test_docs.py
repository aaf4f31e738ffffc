"""What the documentation says exists, and what exists is in the documentation."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.doc_pages import Page, anchors, command_paths, options_of, read_pages
from tests.support.doc_tables import TABLES, with_table

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = {page.path: page for page in read_pages(ROOT)}
WALKTHROUGHS: Final = (
    "README.md", "docs/operating.md", "docs/benchmarks.md", "docs/deployment.md", "docs/recovery.md",
    "docs/security.md", "docs/reference/doctor.md",
)  # fmt: skip
"""Pages whose commands a reader types. The contract's table is compared on its own: it also announces."""
NOT_YET: Final = "not yet"
REFUSED: Final = "not supported by this version"
"""In the help of a command whose name is reserved: it is there to say so, and it does nothing else."""
FIELD_WORDS: Final = (
    "alias", "changelog", "component", "facet", "identifier", "membership", "merge", "offset", "profile",
    "segment", "survivor", "touchpoint", "trait",
)  # fmt: skip
"""Words of the field that code and pages use in one sense only, so the glossary must have them."""


def command_tree() -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Every command of `elo` that can be run: its path and its options, with the common ones."""
    from typer.main import get_command

    from pipeline.cli.app import app

    def options(command: Any) -> set[str]:
        return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}

    def walk(
        command: Any, path: tuple[str, ...], common: set[str]
    ) -> Iterator[tuple[tuple[str, ...], set[str]]]:
        here = common | options(command) | {"--help"}
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, (*path, name), here)
        elif REFUSED not in (command.help or ""):
            yield path, here

    return walk(get_command(app), (), set())


def command_of(named: tuple[str, ...], known: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """The command that a call begins with; what follows are arguments, and some of those look like names."""
    return next((named[:depth] for depth in range(len(named), 0, -1) if named[:depth] in known), named)


@pytest.mark.parametrize("path", WALKTHROUGHS)
def test_every_command_that_a_page_shows_exists_with_its_options(path: str) -> None:
    tree = dict(command_tree())
    groups = {known[:depth] for known in tree for depth in range(len(known))}
    unknown = []
    for words in PAGES[path].commands("elo"):
        for named in command_paths(words):
            # What follows a command are its arguments, and some of those look like names.
            fits = [named[:depth] for depth in range(len(named), 0, -1) if named[:depth] in tree]
            if fits:
                unknown += [
                    f"elo {' '.join(fits[0])} {o}" for o in options_of(words) if o not in tree[fits[0]]
                ]
            elif named not in groups:
                unknown.append(f"elo {' '.join(named)}")
    assert unknown == []


def test_the_contract_names_every_command_and_marks_those_that_do_not_exist_yet() -> None:
    known = set(dict(command_tree()))
    exist, announced = set(), set()
    for called, does in PAGES["docs/contract.md"].rows("command"):
        for words in Page("", called).commands("elo"):
            named = {command_of(path, known) for path in command_paths(words)}
            (announced if does.startswith(NOT_YET) else exist).update(named)
    assert sorted(exist - known) == [], "in the contract, but not in the command line"
    assert sorted(known - exist) == [], "in the command line, but not in the contract"
    assert sorted(announced & known) == [], f"no longer {NOT_YET}"


@pytest.mark.parametrize("path", sorted(PAGES))
def test_every_make_target_that_a_page_names_exists(path: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {words[0] for words in PAGES[path].commands("make") if words}
    assert named - targets == set()


def test_every_make_target_is_in_the_help() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())  # type: ignore[index]
    assert phony == set(re.findall(r"^([a-z][a-z-]*):.*## \S", text, re.MULTILINE))


def test_the_page_of_reasons_has_a_section_for_each_reason_in_the_order_of_the_code() -> None:
    from pipeline.core.errors import Reason

    page = PAGES["docs/reference/reasons.md"]
    assert page.headings(2) == [reason.value for reason in Reason]
    for section in re.split(r"^## ", page.text, flags=re.MULTILINE)[1:]:
        assert len(section.split()) > 10, f"say what {section.split()[0]} means and what to do"


@pytest.mark.parametrize("path", sorted(TABLES))
def test_a_table_that_is_printed_from_code_is_up_to_date(path: str) -> None:
    page = PAGES[path].text
    assert page == with_table(page, TABLES[path]()), "run make docs"


def test_the_contract_shows_the_shipped_identity_policy() -> None:
    shipped = yaml.safe_load((ROOT / "pipeline/defaults/identity.yaml").read_text("utf-8"))
    blocks = re.findall(r"```yaml\n(.*?)```", PAGES["docs/contract.md"].text, re.DOTALL)
    assert shipped in [yaml.safe_load(block) for block in blocks]


def test_the_contract_names_every_topic() -> None:
    from pipeline.topics import Topics

    named = set(PAGES["docs/contract.md"].code())
    named |= {f"touchpoints{name}" for name in named if name.startswith(".")}
    assert {spec.name for spec in Topics().specs()} - named == set()


def test_the_architecture_names_every_message_of_the_protocol() -> None:
    from typing import get_args

    from pipeline.core.messages import Message

    named = {name for row in PAGES["docs/architecture.md"].rows("message") for name in row[0].split(", ")}
    assert {kind.__name__ for kind in get_args(Message)} == named - {"(a touch)"}


@pytest.mark.parametrize("path", sorted(PAGES))
def test_every_file_and_module_that_a_page_names_exists(path: str) -> None:
    page = PAGES[path]
    missing = [named for named in page.paths() if not (ROOT / named).exists()]
    missing += [dotted for dotted in page.modules() if not resolves(dotted)]
    assert missing == []


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name inside one."""
    module, names = dotted, list[str]()
    while module:
        try:
            found: object = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, name = module.rpartition(".")
            names.insert(0, name)
            continue
        for name in names:
            found = getattr(found, name, None)
        return found is not None
    return False


@pytest.mark.parametrize("path", sorted(PAGES))
def test_every_link_leads_to_a_page_and_a_heading_of_this_repository(path: str) -> None:
    broken = []
    for target in PAGES[path].links():
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        place = ((ROOT / path).parent / file).resolve() if file else ROOT / path
        if not place.is_relative_to(ROOT) or not place.exists():
            broken.append(target)
        elif anchor and anchor not in anchors(Page("", place.read_text("utf-8"))):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), ["README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path not in PAGES:
            continue
        reached.add(path)
        for target in PAGES[path].links():
            file = target.partition("#")[0]
            place = ((ROOT / path).parent / file).resolve()
            if file and place.is_relative_to(ROOT):
                waiting.append(place.relative_to(ROOT).as_posix())
    assert set(PAGES) - reached == set()


def test_the_glossary_is_in_order_and_defines_each_word_once() -> None:
    terms = re.findall(r"^- \*\*([^*]+)\*\*: \S", PAGES["docs/glossary.md"].text, re.MULTILINE)
    assert terms == sorted(set(terms), key=str.casefold)
    assert set(FIELD_WORDS) - set(terms) == set()


def test_every_word_of_the_glossary_is_used_elsewhere() -> None:
    terms = re.findall(r"^- \*\*([^*]+)\*\*: \S", PAGES["docs/glossary.md"].text, re.MULTILINE)
    pages = [page.text for path, page in PAGES.items() if path != "docs/glossary.md"]
    source = [path.read_text("utf-8") for path in (ROOT / "pipeline").rglob("*.py")]
    used = "\n".join([*pages, *source]).casefold()
    assert [term for term in terms if term.casefold() not in used] == []


def test_decision_records_are_numbered_without_gaps_and_say_what_they_decide() -> None:
    records = [page for path, page in sorted(PAGES.items()) if path.startswith("docs/decisions/")]
    numbers = [int(Path(page.path).name[:4]) for page in records]
    assert numbers == list(range(1, len(records) + 1))
    for page in records:
        assert page.text.startswith(f"# {Path(page.path).name[:4]}. "), page.path
        assert page.headings(2) == ["Context", "Decision", "Consequences", "Evidence"], page.path


def examples(language: str) -> list[str]:
    """Fenced blocks of one language on the pages that a reader copies from."""
    pages = [PAGES[path].text for path in ("README.md", "docs/contract.md")]
    return [block for text in pages for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def test_the_touchpoint_of_the_readme_is_accepted() -> None:
    from pipeline.core.policy import parse_policy
    from pipeline.core.touch import Touch
    from pipeline.core.touchpoint import TouchpointReader

    policy = parse_policy(yaml.safe_load((ROOT / "pipeline/defaults/identity.yaml").read_text("utf-8")))
    sources = ("web", "app", "crm", "email")
    reader = TouchpointReader(policy, sources, lambda _: pytest.fail("this is JSON"))
    shown = [block for block in examples("json") if "event_id" in block]
    assert shown
    for block in shown:
        assert isinstance(reader.read(block.encode(), now_ms=1_900_000_000_000), Touch)


def test_the_segments_of_readme_and_contract_are_accepted() -> None:
    from pipeline.core.segments.parse import parse_definitions

    shown = [block for block in examples("yaml") if "where:" in block]
    assert len(shown) == 2
    for block in shown:
        assert [definition.id for definition in parse_definitions(block)] == ["madrid-running-no-purchase"]


SAMPLE: Final = Page(
    "docs/sample.md",
    "# A page\n## `first`\nSee [it](other.md#part-two), `pipeline/core/errors.py` and `pipeline.topics`.\n"
    "| command | does |\n|---|---|\n| `elo broker start\\|stop` | x |\n\n"
    "```sh\n$ ELO_DATA_DIR=/tmp/a .venv/bin/elo produce --rate 5 \\\n  file.jsonl | head   # sends\n```\n",
)


def test_a_page_is_read_as_these_tests_need_it() -> None:
    assert SAMPLE.headings(2) == ["first"]
    assert SAMPLE.links() == ["other.md#part-two"]
    assert SAMPLE.paths() == ["pipeline/core/errors.py"]
    assert SAMPLE.modules() == ["pipeline.topics"]
    assert SAMPLE.rows("command") == [["`elo broker start\\|stop`", "x"]]
    assert SAMPLE.commands("elo") == [["produce", "--rate", "5", "file.jsonl"], ["broker", "start|stop"]]
    assert command_paths(["broker", "start|stop"]) == [("broker", "start"), ("broker", "stop")]
    assert command_paths(["produce", "--rate", "5"]) == [("produce",)]
    assert options_of(["produce", "--rate", "5", "[--json]"]) == ["--rate", "--json"]
    assert anchors(SAMPLE) == {"a-page", "first"}
    assert not resolves("pipeline.no_such_module")
    assert resolves("pipeline.topics.Topics.specs")
