"""The two distributions know each other: the core's extra brings this package, this package takes that core."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

import parametric_memory
from llama_index.memory import parametric

HERE = Path(__file__).parents[1]


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


CORE, OURS = project(HERE.parents[1]), project(HERE)


def test_the_core_s_extra_brings_this_package_in_its_version():
    [wanted] = map(Requirement, CORE["optional-dependencies"]["llama-index"])
    assert wanted.name == OURS["name"] and parametric.__version__ in wanted.specifier


def test_this_package_takes_the_core_in_its_version():
    [core] = [one for one in map(Requirement, OURS["dependencies"]) if one.name == CORE["name"]]
    assert parametric_memory.__version__ in core.specifier
    assert OURS["requires-python"] == CORE["requires-python"]
