"""What importing costs, and that what is promised in `__all__` is there."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
import time

import pytest

import parametric_memory

HEAVY = {"torch", "chromadb", "transformers", "peft", "sentence_transformers", "accelerate", "sqlalchemy", "scipy"}
#: Rooms that anybody may import for their types alone.
ROOMS = ("types", "errors", "protocols", "config", "conversation", "cli")
LIGHT = ["parametric_memory", *(f"parametric_memory.{room}" for room in ROOMS)]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(parametric_memory.__path__, "parametric_memory.")
    if not module.name.endswith("__main__")
)


def loaded_after(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after running the code."""
    report = "import json, sys; sys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr)}


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_light_module_loads_nothing_heavy(module):
    assert loaded_after(f"import {module}") & HEAVY == set()


def test_showing_the_help_loads_nothing_heavy():
    code = """
import sys
from parametric_memory.cli import main
sys.argv = ["pmem", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert loaded_after(code) & HEAVY == set()


def test_a_heavy_class_is_loaded_when_it_is_asked_for():
    assert "torch" in loaded_after("import torch")  # the probe itself sees what it looks for
    assert parametric_memory.ParametricMemory.__module__.startswith("parametric_memory.memory")


def test_importing_the_package_is_quick():
    def seconds(code: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - begin

    bare = min(seconds("pass") for _ in range(3))
    ours = min(seconds("import parametric_memory") for _ in range(3))
    assert ours - bare < 0.5


@pytest.mark.parametrize("name", MODULES)
def test_every_name_in_all_exists(name):
    module = importlib.import_module(name)
    promised = getattr(module, "__all__", [])
    assert [one for one in promised if not hasattr(module, one)] == []
    assert len(set(promised)) == len(promised)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Memory'"):
        getattr(parametric_memory, "Mem" + "ory")
