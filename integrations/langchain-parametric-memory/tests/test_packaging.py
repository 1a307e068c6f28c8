"""The two distributions know each other: the core's extra brings this package, this package takes that core."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

import langchain_parametric_memory
import parametric_memory

HERE = Path(__file__).parents[1]


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def named(requirements: list[str]) -> dict[str, Requirement]:
    return {one.name: one for one in map(Requirement, requirements)}


CORE, OURS = project(HERE.parents[1]), project(HERE)


def test_the_core_s_extra_brings_this_package_in_its_version():
    [wanted] = named(CORE["optional-dependencies"]["langchain"]).values()
    assert wanted.name == OURS["name"] and langchain_parametric_memory.__version__ in wanted.specifier


def test_this_package_takes_the_core_in_its_version():
    assert parametric_memory.__version__ in named(OURS["dependencies"])[CORE["name"]].specifier
    assert OURS["requires-python"] == CORE["requires-python"]


def test_the_core_itself_needs_no_framework_and_this_package_only_langchain_s_core():
    assert not [name for name in named(CORE["dependencies"]) if name.startswith(("langchain", "llama"))]
    assert set(named(OURS["dependencies"])) == {CORE["name"], "langchain-core"}
    assert named(OURS["optional-dependencies"]["agents"]).keys() == {"langchain"}
