"""Synthetic worlds: invented entities, what is written about them, and questions with certain answers, without end."""

from parametric_memory.training.world.examples import add_world, world_rows, write_rows
from parametric_memory.training.world.world import World

__all__ = ["World", "add_world", "world_rows", "write_rows"]
