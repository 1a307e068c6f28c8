from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from parametric_memory import ParametricMemory
from parametric_memory.cli import app

TINY_PMEM = Path(__file__).with_name("tiny_pmem.py")

TERN = "The MV Tern was launched in the harbour of Skarvik in 2019. Its captain is Mara Lindqvist."
HALLS = "# Halls\n\nThe keeper of Hall 4B is Bastian Orme. The keeper of Hall 48 is [Joanna Veck]."


@pytest.fixture(scope="session")
def tiny_memory():
    return runpy.run_path(str(TINY_PMEM))["tiny_memory"]


@pytest.fixture(scope="session")
def documents(tmp_path_factory) -> Path:
    """A folder with two documents, and a config that keeps keys in memory: Chroma takes seconds to import."""
    root = tmp_path_factory.mktemp("cli")
    docs = root / "docs"
    docs.mkdir()
    (docs / "tern.txt").write_text(TERN, encoding="utf-8")
    (docs / "halls.md").write_text(HALLS, encoding="utf-8")
    (root / "pmem.toml").write_text('[store]\nindex = "numpy"\n', encoding="utf-8")
    return root


@pytest.fixture
def world(documents, tmp_path, monkeypatch, tiny_memory) -> SimpleNamespace:
    """A working folder with ``docs/``; ``pmem(...)`` runs a command in it, on the tiny base model."""
    shutil.copytree(documents, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMEM_CONFIG", "pmem.toml")
    monkeypatch.setattr(ParametricMemory, "from_pretrained", staticmethod(tiny_memory))
    runner = CliRunner()
    return SimpleNamespace(path=tmp_path, pmem=lambda *words: runner.invoke(app, list(map(str, words))))


@pytest.fixture
def filled(world) -> SimpleNamespace:
    """The world with its documents added."""
    result = world.pmem("add", "docs")
    assert result.exit_code == 0, result.output
    return world
