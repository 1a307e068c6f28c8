from __future__ import annotations

from dataclasses import dataclass

import pytest

from parametric_memory.training.world import World
from parametric_memory.training.world.questions import Asker, Question


@dataclass(frozen=True)
class Told:
    """A world, and questions about it."""

    world: World
    questions: list[Question]

    def of(self, *forms: str) -> list[Question]:
        found = [question for question in self.questions if question.form in forms]
        assert found, f"no question of {forms}"
        return found


def told(split: str) -> Told:
    world = World(11, 250, split=split)
    return Told(world, list(Asker(world).questions(2000)))


@pytest.fixture(scope="session")
def train() -> Told:
    return told("train")


@pytest.fixture(scope="session")
def dev() -> Told:
    return told("dev")


@pytest.fixture(scope="session", params=["train", "dev"])
def either(request) -> Told:
    return request.getfixturevalue(request.param)
