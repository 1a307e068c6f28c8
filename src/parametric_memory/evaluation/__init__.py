"""How systems are measured: questions in; answers, scores with their intervals, and a report out."""

from parametric_memory.evaluation.datasets import Question, corpus_documents, read_questions, sample
from parametric_memory.evaluation.runner import evaluate
from parametric_memory.evaluation.systems import SYSTEMS, Library, LibrarySystem, Prediction, Setting, System

__all__ = [
    "SYSTEMS",
    "Library",
    "LibrarySystem",
    "Prediction",
    "Question",
    "Setting",
    "System",
    "corpus_documents",
    "evaluate",
    "read_questions",
    "sample",
]
