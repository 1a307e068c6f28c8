"""Doc-to-LoRA beside atoms: the same questions to a memory of the same documents in chunks."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from parametric_memory.adapters import compose, dense
from parametric_memory.errors import CheckpointError
from parametric_memory.evaluation import evaluate
from parametric_memory.evaluation.systems import SYSTEMS, Library, LibrarySystem, depends_on
from parametric_memory.evaluation.systems import documents as systems
from parametric_memory.types import Document, Span


@pytest.fixture
def library(with_documents):
    opened = Library(with_documents)
    yield opened
    opened.close()


def test_the_chunks_are_those_of_the_librarys_documents(library, questions):
    chunks = library.chunked.memory
    assert chunks.stats().documents == library.memory.stats().documents == 3
    assert {atom.text for atom in chunks.store.atoms()} == {question.document for question in questions}
    assert library.chunked is library.chunked and library.chunked.chunked is library.chunked


def test_a_question_is_answered_from_chunks_in_the_words_that_they_were_trained_behind(library, questions):
    [prediction] = LibrarySystem("document", library, SYSTEMS["document"]).answer(questions[:1])
    memory = library.chunked.memory
    answer = memory.ask(questions[0].question, filters={"doc_id": questions[0].doc_id})
    assert prediction.text == answer.text.partition("\n")[0].strip() or answer.text.startswith(prediction.text)
    assert list(prediction.atoms) == [routed.atom.id for routed in answer.route.selected]
    assert prediction.evidence[0].span == Span(0, len(questions[0].document))
    [given] = SYSTEMS["document"](library, questions[:1])
    assert given.wording.prefix == "D:" and given.passages == ()


def test_a_whole_document_is_all_of_its_chunks_at_once(library, questions, monkeypatch):
    memory = library.chunked.memory
    text = "\n\n".join(f"Shelf number {n} holds {n * 3} boxes of salt. " * 35 for n in range(7))
    memory.add(Document.of(text, source="shelves", metadata={"doc_id": "shelves"}))
    atoms = memory.store.atoms({"doc_id": "shelves"})
    assert len(atoms) == 7
    codes = memory.store.codes([atom.id for atom in atoms])
    at_once = compose(memory.compiler.materialise(codes), rank_gates=memory.compiler.gate("", codes).ranks)
    monkeypatch.setattr(systems, "TOGETHER", 2)
    in_parts = systems.whole(memory, atoms)
    assert in_parts.atom_ids == at_once.atom_ids and max(in_parts.truncated.values()) < 1e-5
    for target, factors in at_once.factors.items():
        torch.testing.assert_close(dense(in_parts.factors[target]), dense(factors), rtol=1e-3, atol=1e-4)
    assert systems.whole(memory, []) is None


def test_a_whole_document_needs_no_router_unless_it_may_be_any(library, questions):
    own = SYSTEMS["document_whole"](library, questions)
    assert not any(given.abstained for given in own)
    anywhere = Library(library.memory, setting="corpus")
    found = SYSTEMS["document_whole"](anywhere, questions)
    routed = [anywhere.chunked.route(question) for question in questions]
    assert [given.abstained for given in found] == [not route.selected for route in routed]
    anywhere.close()


def test_without_a_checkpoint_the_system_says_what_it_needs(memory, questions):
    with pytest.raises(CheckpointError, match="--document-checkpoint"):
        SYSTEMS["document"](Library(memory), questions)
    with pytest.raises(CheckpointError, match="pmem train hypernetwork --compiler document"):
        depends_on("document", memory)


def test_an_evaluation_asks_documents_beside_atoms_and_goes_on(open_with_documents, world, tmp_path):
    run = partial(evaluate, [world], ["atoms", "document", "document_whole"], out=tmp_path / "out", timed=1)
    found = run(open_memory=open_with_documents)["datasets"]["world.dev"]["systems"]
    assert {found[name]["n"] for name in ("atoms", "document", "document_whole")} == {4}
    before = (tmp_path / "out" / "answers.jsonl").read_text()
    assert run(open_memory=open_with_documents)["datasets"]["world.dev"]["systems"] == found
    assert (tmp_path / "out" / "answers.jsonl").read_text() == before
