"""The memory: what an application holds. Documents go in, answers come out, nothing enters the prompt."""

from parametric_memory.memory.answers import AnswerStream, Mode, Prepared
from parametric_memory.memory.memory import ParametricMemory

__all__ = ["AnswerStream", "Mode", "ParametricMemory", "Prepared"]
