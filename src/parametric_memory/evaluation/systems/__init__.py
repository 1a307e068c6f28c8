"""The systems that are compared: one base model, one list of questions; they differ in what the model is given.

All of them stand on one memory that holds the documents of all questions, and ask it as `ParametricMemory.ask` does,
step by step, so that many questions share a batch. `DESCRIPTIONS` says what each of them gives the base model.

The gold sentence is the atom that holds a right answer; of several, the one that shares the most words with the
question. Where none does (unanswerable questions, yes and no), it is the one that shares the most words: systems that
are given it never abstain, and answer every question. Only `atoms`, the hybrids and `document` can abstain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from parametric_memory.evaluation.reader import reader_digest
from parametric_memory.evaluation.systems import documents, reading, tuned, weights
from parametric_memory.evaluation.systems.distilled import DISTILLED
from parametric_memory.evaluation.systems.library import (
    Library,
    Setting,
    chunk_compiler,
    chunked_memory,
    exact_memory,
    gold_atom,
    holds_answer,
    scope,
)
from parametric_memory.evaluation.systems.reading import DOCUMENT_CHARS, cut_around
from parametric_memory.evaluation.systems.system import (
    GENERATION,
    LOOKED,
    Given,
    LibrarySystem,
    Place,
    Prediction,
    Preparation,
    System,
)
from parametric_memory.evaluation.systems.tuned import with_reader
from parametric_memory.memory import ParametricMemory

__all__ = [
    "CHUNKED",
    "DESCRIPTIONS",
    "DOCUMENT_CHARS",
    "GENERATION",
    "LOOKED",
    "READING",
    "SYSTEMS",
    "UNSEARCHED",
    "Given",
    "Library",
    "LibrarySystem",
    "Place",
    "Prediction",
    "Preparation",
    "Setting",
    "System",
    "chunked_memory",
    "cut_around",
    "depends_on",
    "exact_memory",
    "gold_atom",
    "holds_answer",
    "scope",
    "with_reader",
]

#: Systems that answer from a second memory of the same documents, compiled chunk by chunk.
CHUNKED: Mapping[str, Preparation] = {
    "document": documents.document,
    "document_whole": documents.document_whole,
}

#: Systems that a memory gives documents and sentences, and nothing that it compiled or routed.
READING: Mapping[str, Preparation] = {
    "closed_book": reading.closed_book,
    "in_context": reading.in_context,
    "in_context_few": reading.in_context_few,
    "in_context_document": reading.in_context_document,
    "rag_bm25": reading.rag_bm25,
    "rag_dense": reading.rag_dense,
    "rag_dense_64": reading.rag_dense_snippet,
    "reader": tuned.reader,
    "reader_document": tuned.reader_document,
    "rag_reader": tuned.rag_reader,
}

#: Systems that are given the gold sentence, its document or nothing, whatever else is stored.
UNSEARCHED = frozenset(
    {
        "closed_book",
        "in_context",
        "in_context_few",
        "in_context_document",
        "reader",
        "reader_document",
        "atoms_oracle",
        "atoms_among",
        "extract_oracle",
    }
)

#: Every system by its name.
SYSTEMS: Mapping[str, Preparation] = {
    **READING,
    "atoms": weights.atoms,
    "atoms_or_base": weights.atoms_or_base,
    "atoms_oracle": weights.atoms_oracle,
    "atoms_among": weights.atoms_among,
    "extract": weights.extract,
    "extract_oracle": weights.extract_oracle,
    "hybrid": weights.hybrid,
    "hybrid_unsure": weights.hybrid_unsure,
    **CHUNKED,
    **DISTILLED,
}

#: What each system gives the base model with a question.
DESCRIPTIONS: Mapping[str, str] = {
    "closed_book": "the question",
    "in_context": "the gold sentence in the prompt, in the best wording without examples",
    "in_context_few": "the gold sentence in the prompt, after worked examples, in the best wording with them",
    "in_context_document": f"the document in the prompt, cut to {DOCUMENT_CHARS} characters around the gold sentence",
    "rag_bm25": "chunks in the prompt, found by LangChain's BM25 retriever",
    "rag_dense": "chunks in the prompt, found by LangChain's vector store with the memory's key encoder",
    "atoms": "the routed atoms' adapters, nothing in the prompt",
    "atoms_or_base": "the same; where the memory abstains, the bare base model answers",
    "atoms_oracle": "the gold sentence's adapter, nothing in the prompt: the compiler without the router",
    "atoms_among": f"the gold sentence's adapter and those of the {weights.NEIGHBOURS} sentences nearest to it",
    "extract": "the most probable span of the routed atoms, copied by the token router: no base model, no adapter",
    "extract_oracle": "the most probable span of the gold sentence, copied by the token router",
    "rag_dense_64": "the best chunk of rag_dense, cut to a hybrid's budget of 64 tokens around its best sentence",
    "hybrid": "the routed atoms' adapters, and a snippet of at most 64 tokens of the best one's source in the prompt",
    "hybrid_unsure": "the same, the snippet only where the memory is not sure of its route",
    "document": "the routed chunks' adapters of Doc-to-LoRA, nothing in the prompt",
    "document_whole": "the adapters of all chunks of the document as one, as Doc-to-LoRA is published",
    "distillation": "the gold sentence's adapter, distilled by gradient steps on exercises made from it",
    "distillation_oracle": "the same, distilled on the very question: what gradient steps can reach at best",
    "refined": "the gold sentence's adapter of the memory's compiler, after a few gradient steps",
    "reader": "the gold sentence in the prompt, and a LoRA that was tuned to answer from the prompt",
    "reader_document": "the document in the prompt, cut as for in_context_document, and that LoRA",
    "rag_reader": "chunks in the prompt, found as for rag_dense, and that LoRA",
}


def depends_on(system: str, memory: ParametricMemory) -> str:
    """Return what a system's answers depend on beside the memory's parts and settings; empty for most."""
    return DEPENDENCIES[system](memory) if system in DEPENDENCIES else ""


_rag_choice = reading.choice_digest(lambda choice: choice.dense)
_read_choice = reading.choice_digest(lambda choice: choice.reader)

#: By the system's name, what tells its answers of one day from those of another: a digest of a file, say.
DEPENDENCIES: Mapping[str, Callable[[ParametricMemory], str]] = {
    "in_context": reading.choice_digest(lambda choice: choice.zero_shot),
    "in_context_few": reading.choice_digest(lambda choice: choice.few_shot),
    "in_context_document": reading.choice_digest(lambda choice: choice.zero_shot),
    "rag_bm25": reading.choice_digest(lambda choice: choice.bm25),
    "rag_dense": _rag_choice,
    "rag_dense_64": lambda memory: f"{_rag_choice(memory)}{memory.config.snippet_tokens}",
    "reader": lambda memory: reader_digest(memory.backend),
    "reader_document": lambda memory: reader_digest(memory.backend),
    "rag_reader": lambda memory: _read_choice(memory) + reader_digest(memory.backend),
    "hybrid": lambda memory: str(memory.config.snippet_tokens),
    "hybrid_unsure": lambda memory: str(memory.config.snippet_tokens),
    **dict.fromkeys(CHUNKED, lambda memory: chunk_compiler(memory)[0].name),
    **dict.fromkeys(DISTILLED, lambda memory: repr(memory.config.distillation)),
}
