"""Sphinx settings: MyST pages, Furo, and a reference read from the docstrings and from the CLI itself."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from parametric_memory import __version__
from parametric_memory.cli import app

project = "parametric-memory"
author = "The parametric-memory authors"
copyright = f"{author}, Apache-2.0"  # noqa: A001 - Sphinx's name
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings quote code with single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Metadata": "Metadata", "Conversation": "Conversation"}
autodoc_default_options = {"members": True, "undoc-members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def write_cli_reference(folder: Path) -> None:
    """Write what `pmem --help` and its commands say as Markdown, for the CLI's page to include."""
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="pmem"), name="pmem")
    folder.mkdir(exist_ok=True)
    # The page has a title of its own.
    (folder / "cli.md").write_text(text.partition("\n")[2], encoding="utf-8")


def keep_drawings(_app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Show paragraphs with box-drawing characters (the tree of errors) as they are drawn."""
    drawn, inside = [], False
    for line in lines:
        if "├──" in line and not inside:
            # The root of the tree is the line before its first branch.
            drawn[-1:] = ["::", "", f"    {drawn[-1]}"]
            inside = True
        elif not line:
            inside = False
        drawn.append(f"    {line}" if inside else line)
    lines[:] = drawn


def setup(app: object) -> None:
    """Connect the above to Sphinx."""
    write_cli_reference(Path(__file__).parent / "_build")
    app.connect("autodoc-process-docstring", keep_drawings)  # type: ignore[attr-defined]
