from pathlib import Path

import pytest

from parametric_memory.config import read_toml
from parametric_memory.training import TrainingConfig

RECIPES = sorted((Path(__file__).parents[3] / "runs" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_read_and_runs_as_long_as_it_says(path):
    config = read_toml(path, TrainingConfig)
    assert config.total_steps == config.steps and len(config.curriculum) == len(config.stages)


def test_there_are_recipes():
    assert RECIPES
