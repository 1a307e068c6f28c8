"""Questions to measure with: files of all formats that people have, and samples that are the same everywhere."""

from parametric_memory.evaluation.datasets.questions import CorpusDocument, Question, dataset_name, sample
from parametric_memory.evaluation.datasets.reading import corpus_documents, read_questions

__all__ = ["CorpusDocument", "Question", "corpus_documents", "dataset_name", "read_questions", "sample"]
