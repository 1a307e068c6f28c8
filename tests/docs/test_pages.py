"""What the README and docs/ show is true: Python blocks run, `pmem` lines parse, links lead somewhere.

The Python blocks of a page share one namespace and one empty working folder, and run in order. A block after the
comment ``<!-- skip: reason -->`` is left out for that reason.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
PAGES = [path for path in PAGES if "_build" not in path.parts]
SKIP = re.compile(r"<!--\s*skip:\s*(?P<reason>.+?)\s*-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced block: what it says, its language, its first line in the page, why it is not run (if it is not)."""

    page: Path
    language: str
    code: str
    line: int
    skip: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(slots=True)
class Reading:
    """A page being worked through from the top: where it runs, what it has defined, which blocks are done."""

    folder: Path
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    done: set[int] = field(default_factory=set)

    def run(self, block: CodeBlock) -> None:
        # Blank lines before the code make a traceback point into the page.
        self.done.add(block.line)
        exec(compile("\n" * (block.line - 1) + block.code, str(block.page), "exec"), self.namespace)


def blocks_of(page: Path) -> Iterator[CodeBlock]:
    skip = ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            found = SKIP.search(token.content)
            skip = found["reason"] if found else ""
        elif token.type == "fence" and token.map:
            yield CodeBlock(page, token.info.strip(), token.content, token.map[0] + 2, skip)
            skip = ""
        elif not token.hidden:
            skip = ""


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
#: (where, line) for every command that a page shows at a prompt; a backslash continues a line.
COMMANDS = [
    (block, shlex.split(line[2:], comments=True))
    for block in BLOCKS
    if block.language == "console"
    for line in block.code.replace("\\\n", " ").splitlines()
    if line.startswith("$ ")
]


@pytest.fixture(scope="module")
def readings(tmp_path_factory) -> dict[Path, Reading]:
    return {page: Reading(tmp_path_factory.mktemp(page.stem)) for page in PAGES}


@pytest.mark.model
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_the_python_of_a_page_runs(block, readings, monkeypatch):
    if block.skip:
        pytest.skip(block.skip)
    reading = readings[block.page]
    monkeypatch.chdir(reading.folder)
    for one in PYTHON:
        if one.page == block.page and one.line <= block.line and one.line not in reading.done and not one.skip:
            reading.run(one)


@pytest.mark.parametrize(
    ("block", "words"), [pytest.param(b, w, id=f"{b}-{' '.join(w)}") for b, w in COMMANDS if w[0] == "pmem"]
)
def test_a_pmem_line_names_a_command_and_options_that_exist(block, words):
    from typer.main import get_command

    from parametric_memory.cli import app

    command, words = get_command(app), words[1:]
    context = command.make_context("pmem", list(words), resilient_parsing=True)
    while commands := getattr(command, "commands", None):
        _, words, _ = command.make_parser(context).parse_args(list(words))
        if not words:
            return
        assert words[0] in commands, f"{block}: no command {words[0]!r} among {sorted(commands)}"
        command, (name, *words) = commands[words[0]], words
        context = command.make_context(name, list(words), parent=context, resilient_parsing=True)
    strict = type(context)(command, parent=context.parent, info_name=context.info_name)
    given, _, _ = command.make_parser(strict).parse_args(list(words))
    missing = [one.name for one in command.params if one.required and not given.get(one.name)]
    assert missing == [], f"{block}: {' '.join(missing)} is missing"


@pytest.mark.parametrize(
    ("block", "words"), [pytest.param(b, w, id=f"{b}-{' '.join(w)}") for b, w in COMMANDS if w[0] == "make"]
)
def test_a_make_line_names_a_target_that_exists(block, words):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {word for word in words[1:] if "=" not in word} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_relative_links_of_a_page_lead_to_files(page):
    tokens = [child for token in MarkdownIt().parse(page.read_text(encoding="utf-8")) for child in token.children or []]
    links = [str(token.attrs["href"]) for token in tokens if token.type == "link_open"]
    files = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [file for file in files if not (page.parent / file).exists()] == []


def test_the_pages_show_python_and_commands():
    # Without this, a mistake in the collecting above would pass as "nothing to check".
    assert {block.page.name for block in PYTHON} >= {"README.md", "quickstart.md"}
    assert {words[0] for _, words in COMMANDS} >= {"pmem", "make"}
