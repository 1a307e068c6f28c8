from __future__ import annotations

import builtins
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.config import GenerationConfig
from parametric_memory.errors import ConfigError, MissingDependencyError
from parametric_memory.evaluation.desk import row
from parametric_memory.evaluation.systems import (
    GENERATION,
    SYSTEMS,
    Given,
    Library,
    LibrarySystem,
    cut_around,
    depends_on,
    gold_atom,
    holds_answer,
    reading,
)
from parametric_memory.types import Span

PORT = "The harbour of Lorn opened in 1894. Its lighthouse is painted green. Ferries leave for Skerry every Tuesday."


def system(name, library):
    return LibrarySystem(name, library, SYSTEMS[name])


def statements(library, ids):
    return [library.memory.store.get(id_).statement for id_ in ids]


@pytest.mark.parametrize("mode", ["closed_book", "atoms", "hybrid", "hybrid_unsure"])
def test_a_system_answers_as_ask_does(library, questions, mode):
    predictions = system(mode, library).answer(questions)
    for question, prediction in zip(questions, predictions, strict=True):
        answer = library.memory.ask(
            question.question, mode=mode, filters={"doc_id": question.doc_id}, generation=GENERATION
        )
        assert prediction.text == answer.text
        assert prediction.abstained == answer.abstained
        assert prediction.knowledge_tokens == answer.usage.knowledge_tokens
        assert list(prediction.atoms) == [routed.atom.id for routed in answer.route.selected]
    assert len({prediction.text for prediction in predictions}) > 1


def test_where_the_memory_abstains_the_bare_base_model_may_answer(library, questions):
    predictions = system("atoms_or_base", library).answer(questions)
    for question, prediction in zip(questions, predictions, strict=True):
        answer = library.memory.ask(
            question.question, filters={"doc_id": question.doc_id}, fallback="base", generation=GENERATION
        )
        assert (prediction.text, prediction.abstained) == (answer.text, False)
    assert [p.text for p in predictions] != [p.text for p in system("atoms", library).answer(questions)]


def test_the_gold_sentence_is_given_as_text_or_as_weights(library, questions):
    shown = system("in_context", library).answer(questions)
    injected = system("atoms_oracle", library).answer(questions)
    gold = [
        "Lorn: Its lighthouse is painted green.",
        "Lorn: The harbour of Lorn opened in 1894.",
        "Its owner is Maud Ferris.",
    ]
    assert [statements(library, prediction.atoms) for prediction in shown[:3]] == [[sentence] for sentence in gold]
    assert [prediction.atoms for prediction in injected] == [prediction.atoms for prediction in shown]
    assert [p.knowledge_tokens for p in shown[:3]] == [library.memory.backend.count_tokens(text) for text in gold]
    assert [p.knowledge_tokens for p in injected] == [0] * 4


def test_the_gold_atom_stands_among_its_nearest_neighbours(library, questions):
    answered = (system(name, library).answer(questions) for name in ("atoms_oracle", "atoms_among"))
    for alone, among in zip(*answered, strict=True):
        gold = library.memory.store.get(alone.atoms[0])
        held = [atom.id for atom in library.memory.store.atoms_of(gold.document_id)]
        assert among.atoms[0] == gold.id
        assert len(among.atoms) == min(4, len(held))
        near = sorted(abs(held.index(one) - held.index(gold.id)) for one in held)
        assert [abs(held.index(one) - held.index(gold.id)) for one in among.atoms] == near[:4]
        assert (among.abstained, among.knowledge_tokens) == (False, 0)


def test_hybrids_and_the_short_rag_read_no_more_tokens_than_their_budget(library, questions, monkeypatch):
    for budget in (64, 24, 7):
        monkeypatch.setattr(library.memory, "config", replace(library.memory.config, snippet_tokens=budget))
        for name in ("hybrid", "rag_dense_64"):
            spent = [prediction.knowledge_tokens for prediction in system(name, library).answer(questions)]
            assert max(spent) <= budget and any(spent)


def test_an_unsure_hybrid_reads_where_the_route_is_unsure_and_only_there(library, questions, monkeypatch):
    sure = [library.route(question).confidence for question in questions]
    routing = replace(library.memory.config.routing, unsure_below=sorted(sure)[2])
    monkeypatch.setattr(library.memory, "config", replace(library.memory.config, routing=routing))
    found = system("hybrid_unsure", library).answer(questions)
    read = [p.knowledge_tokens > 0 for p in found if not p.abstained]
    assert read == [s < routing.unsure_below for s, p in zip(sure, found, strict=True) if not p.abstained]
    always, never = (system(name, library).answer(questions) for name in ("hybrid", "atoms"))
    assert [p.text for p in found] == [
        (always if one.knowledge_tokens else never)[n].text for n, one in enumerate(found)
    ]


def test_only_gold_weights_tell_the_oracle_from_closed_book(library, questions):
    bare, injected = (system(name, library).answer(questions) for name in ("closed_book", "atoms_oracle"))
    assert [p.text for p in injected] != [p.text for p in bare]
    empty = LibrarySystem("atoms_oracle", library, lambda _library, questions: [Given() for _ in questions])
    assert [p.text for p in empty.answer(questions)] == [p.text for p in bare]


def test_a_copied_answer_is_a_span_of_an_atom_that_no_base_model_has_said(library, questions, monkeypatch):
    routed = system("atoms", library).answer(questions)
    monkeypatch.setattr(type(library.memory.backend), "generate_and_score", lambda *_, **__: pytest.fail("asked"))
    copied = system("extract", library).answer(questions)
    for question, one, other in zip(questions, copied, routed, strict=True):
        assert (one.abstained, one.atoms, one.loglikelihood) == (other.abstained, other.atoms, None)
        texts = [library.memory.store.get(id_).text for id_ in one.atoms]
        assert any(one.text in text for text in texts) if texts else one.text == ""
        if texts:
            atoms = [library.memory.store.get(id_) for id_ in one.atoms]
            assert one.text == library.memory.token_router.extract(question.question, atoms)
    [first, *_] = system("extract_oracle", library).answer(questions)
    assert first.text in library.gold(questions[0]).text


def test_without_a_token_router_nothing_is_copied(library, questions, monkeypatch):
    monkeypatch.setattr(library.memory, "token_router", None)
    with pytest.raises(ConfigError, match="pmem train router"):
        system("extract", library).answer(questions)


def test_oracles_never_abstain_and_abstaining_is_not_generating(library, questions, tiny_reader, with_documents):
    answers = {name: system(name, library).answer(questions) for name in SYSTEMS}
    abstained = {name for name, predictions in answers.items() if any(p.abstained for p in predictions)}
    routed = {"atoms", "extract", "hybrid", "hybrid_unsure"}
    assert routed <= abstained <= routed | {"document"}
    lost = answers["atoms"][3]
    assert (lost.text, lost.atoms, lost.loglikelihood) == ("I don't know.", (), None)


def test_rag_shows_the_first_of_the_chunks_that_it_found(library, questions):
    choice = library.reading
    for name, search, rag in (("rag_bm25", "bm25", choice.bm25), ("rag_dense", "dense", choice.dense)):
        [given] = SYSTEMS[name](library, questions[1:2])
        found = getattr(library.chunks(rag.chunk_chars), search)(questions[1].question, k=16, doc_id="port")
        assert given.passages == tuple(chunk.text for chunk in found[: rag.passages])
        assert [(place.doc_id, place.span) for place in given.evidence] == [(c.doc_id, c.span) for c in found]
        [prediction] = system(name, library).answer(questions[1:2])
        assert prediction.knowledge_tokens == sum(map(library.memory.backend.count_tokens, given.passages))


def test_every_system_that_reads_asks_in_its_own_wording(library, questions):
    choice = library.reading
    wordings = {
        "in_context": choice.zero_shot,
        "in_context_few": choice.few_shot,
        "in_context_document": choice.zero_shot,
        "rag_bm25": choice.bm25.wording,
        "rag_dense": choice.dense.wording,
    }
    for name, wording in wordings.items():
        assert [given.wording for given in SYSTEMS[name](library, questions)] == [wording] * len(questions)


def test_answers_of_a_system_that_reads_hold_for_its_own_choice_alone(memory, library, monkeypatch):
    names = ("closed_book", "in_context", "in_context_few", "rag_bm25", "rag_dense")
    before = {name: depends_on(name, memory) for name in names}
    other = replace(library.reading, dense=replace(library.reading.dense, passages=7))
    monkeypatch.setattr(reading, "reading_choice", lambda *_: other)
    assert {name for name in names if depends_on(name, memory) != before[name]} == {"rag_dense"}
    assert before["closed_book"] == "" and all(before[name] for name in names[1:])


def test_a_reader_is_shown_as_many_chunks_as_suit_it(tiny_reader, library, questions, monkeypatch):
    before = depends_on("rag_reader", library.memory)
    other = replace(library.reading, reader=replace(library.reading.reader, passages=2, chunk_chars=100))
    monkeypatch.setattr(reading, "reading_choice", lambda *_: other)
    monkeypatch.setattr("parametric_memory.evaluation.systems.library.reading_choice", lambda *_: other)
    [given] = SYSTEMS["rag_reader"](Library(library.memory), questions[1:2])
    assert len(given.passages) == 2 and max(map(len, given.passages)) < 140
    assert depends_on("rag_reader", library.memory) != before


def test_a_question_is_asked_of_its_own_document_or_of_all(library, questions):
    everywhere = Library(library.memory, setting="corpus")

    def documents(name, where):
        [prediction] = system(name, where).answer(questions[:1])
        return {place.doc_id for place in prediction.evidence}

    for name in ("rag_bm25", "rag_dense", "atoms"):
        assert documents(name, library) == {"port"}
        assert documents(name, everywhere) > {"port"}


def test_without_langchain_everything_but_rag_can_be_asked(library, questions, monkeypatch):
    imported = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("langchain"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert system("in_context_few", library).answer(questions[:1])
    with pytest.raises(MissingDependencyError):
        system("rag_dense", library).answer(questions[:1])


def test_the_document_is_shown_around_the_gold_sentence(library, questions):
    [prediction] = system("in_context_document", library).answer(questions[2:3])
    assert prediction.knowledge_tokens == library.memory.backend.count_tokens(questions[2].document)


@given(text=st.text(), data=st.data(), limit=st.integers(1, 20))
def test_a_cut_is_as_long_as_it_may_be_and_holds_the_span_if_it_can(text, data, limit):
    start = data.draw(st.integers(0, len(text)))
    span = Span(start, data.draw(st.integers(start, len(text))))
    piece = cut_around(text, span, limit)
    assert piece in text
    assert len(piece) == min(limit, len(text))
    assert len(span.of(text)) > limit or span.of(text) in piece


def test_the_gold_atom_holds_the_answer_and_shares_most_with_the_question(library, questions):
    atoms = library.memory.store.atoms({"doc_id": "port"})
    asked = replace(questions[0], question="When do ferries leave for Skerry?", answers=("every Tuesday",))
    assert gold_atom(asked, atoms).text.endswith("every Tuesday.")
    # "in" stands in two of them.
    assert gold_atom(replace(asked, question="Is the harbour in Lorn?", answers=("Lorn", "Skerry")), atoms) == atoms[0]
    nowhere = replace(asked, answers=(), answerable=False)
    assert gold_atom(nowhere, atoms).text.endswith("every Tuesday.")
    assert not holds_answer(nowhere, gold_atom(nowhere, atoms))
    assert gold_atom(asked, []) is None


def test_times_are_per_question_and_likelihoods_are_the_backends(library, questions):
    [prediction] = system("in_context", library).answer(questions[:1])
    assert prediction.ms > 0.0
    turns = library.memory.prompt.conversation(questions[0].question, ["Lorn: Its lighthouse is painted green."])
    [(total, tokens)] = library.memory.backend.loglikelihood([turns], ["green"])
    assert prediction.loglikelihood == pytest.approx(total / tokens, rel=1e-5)
    assert system("in_context", library).answer(questions[3:])[0].loglikelihood is None
    assert system("in_context", library).answer([]) == []


def test_where_a_system_looked_is_told_best_first_and_the_gold_sentence_is_recognised_there(library, questions):
    [routed] = system("atoms", library).answer(questions[:1])
    [dense] = system("rag_dense", library).answer(questions[:1])
    assert [place.doc_id for place in routed.evidence] == ["port"] * 3
    assert routed.confidence is not None
    assert dense.confidence is None
    for prediction in (routed, dense):
        gold = row("any", library, questions[0], prediction)
        place = prediction.evidence[gold["gold_rank"] - 1]
        assert "Its lighthouse is painted green." in place.span.of(PORT)
        assert gold["looked"] == len(prediction.evidence) == len(set(prediction.evidence))
    [closed] = system("closed_book", library).answer(questions[:1])
    assert row("any", library, questions[0], closed)["gold_rank"] is None


def test_a_route_is_found_once_unless_times_are_measured(library, questions, monkeypatch):
    found = []
    explain = library.memory.explain
    monkeypatch.setattr(library.memory, "explain", lambda *a, **k: (found.append(1), explain(*a, **k))[1])
    for where in (library, Library(library.memory, remember=False)):
        found.clear()
        for name in ("atoms", "hybrid"):
            system(name, where).answer(questions[:2])
        assert len(found) == (2 if where is library else 4)


def test_without_scoring_no_right_answer_is_looked_at(library, questions):
    scored = system("in_context", library).answer(questions)
    bare = system("in_context", library).answer(questions, score=False)
    assert [p.text for p in bare] == [p.text for p in scored]
    assert {p.loglikelihood for p in bare} == {None}


def test_generation_is_greedy_and_ends_with_the_line():
    assert GenerationConfig(max_new_tokens=32, temperature=0.0, stop=("\n",)) == GENERATION
