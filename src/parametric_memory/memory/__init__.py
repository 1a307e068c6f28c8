"""The memory: what an application holds. Documents go in, answers come out, nothing enters the prompt."""

from parametric_memory.config import Mode
from parametric_memory.conversation import standalone_question
from parametric_memory.memory.answers import AnswerStream, Prepared
from parametric_memory.memory.calibrating import CalibrationReport, LabelledQuestion
from parametric_memory.memory.memory import ParametricMemory
from parametric_memory.memory.route_page import route_page

__all__ = [
    "AnswerStream",
    "CalibrationReport",
    "LabelledQuestion",
    "Mode",
    "ParametricMemory",
    "Prepared",
    "route_page",
    "standalone_question",
]
