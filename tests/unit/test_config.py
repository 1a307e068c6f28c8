"""Settings read from TOML, with all mistakes of a file at once."""

from __future__ import annotations

import pytest

from parametric_memory.config import GenerationConfig, MemoryConfig, RoutingConfig, load_config
from parametric_memory.errors import ConfigError


@pytest.fixture
def toml(tmp_path):
    def write(text: str):
        path = tmp_path / "memory.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_an_empty_file_means_the_defaults(toml):
    assert load_config(toml("")) == MemoryConfig()


def test_a_file_sets_what_it_names_and_leaves_the_rest(toml):
    config = load_config(
        toml("""
max_rank = 64
[routing]
max_atoms = 2
[generation]
stop = ["\\n", "."]
seed = 7
""")
    )
    assert config == MemoryConfig(
        max_rank=64, routing=RoutingConfig(max_atoms=2), generation=GenerationConfig(stop=("\n", "."), seed=7)
    )


def test_all_problems_of_a_file_are_reported_at_once(toml):
    path = toml("""
max_rank = "many"
colour = "blue"
[routing]
max_atoms = "four"
top_k = 3
[store]
lock_timeout_s = [1]
""")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {
        "max_rank",
        "colour",
        "routing.max_atoms",
        "routing.top_k",
        "store.lock_timeout_s",
    }
    assert str(path) in str(caught.value)
    assert "5 problem(s)" in str(caught.value)


def test_a_file_that_is_not_toml_is_a_config_error_with_its_line(toml):
    with pytest.raises(ConfigError, match="line 2") as caught:
        load_config(toml("max_rank = 3\nmax rank = 4\n"))
    assert caught.value.__cause__ is not None


def test_a_file_that_is_not_text_is_a_config_error(tmp_path):
    path = tmp_path / "memory.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="memory"):
        load_config(path)


def test_a_file_that_is_not_there_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="absent"):
        load_config(tmp_path / "absent.toml")
