"""The scales on the real base model: what is broken on purpose scores as if nothing had been injected."""

from __future__ import annotations

from statistics import fmean

import pytest

from parametric_memory.evaluation import SYSTEMS, Library, Question, corpus_documents
from parametric_memory.evaluation.probes import CONTROLS
from parametric_memory.evaluation.probes.asking import ask
from parametric_memory.evaluation.probes.world import add_documents

#: Nobody knows these things from elsewhere, and no answer stands in another document.
FACTS: dict[str, list[tuple[str, str, str]]] = {
    "Lorn": [
        ("The harbour of Lorn was opened in 1894.", "When was the harbour of Lorn opened?", "1894"),
        ("The keeper of the lighthouse is Bastian Orme.", "Who is the keeper of the lighthouse?", "Bastian Orme"),
        ("The ferry to Skerry is called Tern.", "What is the ferry to Skerry called?", "Tern"),
        ("The harbour has 37 cranes.", "How many cranes does the harbour have?", "37"),
    ],
    "Velden": [
        ("The bakery of Velden was founded by Maud Ferris.", "Who founded the bakery of Velden?", "Maud Ferris"),
        ("The town hall of Velden was built in 1752.", "When was the town hall of Velden built?", "1752"),
        ("The library of Velden holds 52,000 books.", "How many books does the library of Velden hold?", "52,000"),
        ("The river Ebble flows through Velden.", "Which river flows through Velden?", "Ebble"),
    ],
    "Ousel": [
        ("The school of Ousel has 640 pupils.", "How many pupils does the school of Ousel have?", "640"),
        ("The head of the school is Joanna Veck.", "Who is the head of the school?", "Joanna Veck"),
        ("The school was moved to Brock in 1967.", "Where was the school moved to in 1967?", "Brock"),
        ("The gymnasium was paid for by Hollis Bank.", "Who paid for the gymnasium?", "Hollis Bank"),
    ],
    "Marl": [
        ("The mine of Marl was closed in 1931.", "When was the mine of Marl closed?", "1931"),
        ("The mine produced tin.", "What did the mine produce?", "tin"),
        ("The last foreman was Edwin Rook.", "Who was the last foreman?", "Edwin Rook"),
        ("The museum is in Tarn Street.", "Where is the museum?", "Tarn Street"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    from parametric_memory import ParametricMemory

    with ParametricMemory.from_pretrained(path=tmp_path_factory.mktemp("scales")) as memory:
        yield Library(memory)


@pytest.mark.model
def test_broken_systems_score_at_closed_book_level_and_the_right_atom_far_above(library):
    questions = [
        Question("facts", title, title, " ".join(text for text, _, _ in facts), question, (answer,), answerable=True)
        for title, facts in FACTS.items()
        for _, question, answer in facts
    ]
    add_documents(library.memory, corpus_documents(questions))
    arms = {"closed_book": SYSTEMS["closed_book"], "atoms_oracle": SYSTEMS["atoms_oracle"], **CONTROLS}
    f1 = {arm: fmean(one.scores.f1 for one in ask(arm, library, questions, prepare)) for arm, prepare in arms.items()}
    assert f1["closed_book"] < 0.1
    assert f1["atoms_oracle"] > 0.5
    # A wrong year shares no word with the right one; what little there is, is chance.
    for control in CONTROLS:
        assert f1[control] < f1["closed_book"] + 0.1
