import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from parametric_memory.adapters import import_peft
from parametric_memory.compilers import HypernetworkCompiler, hypernetwork
from parametric_memory.config import RoutingConfig
from parametric_memory.errors import (
    AtomNotFoundError,
    CheckpointError,
    CompilationError,
    MissingDependencyError,
    StoreError,
    UnreadableDocumentError,
)
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory.answers import MODES
from parametric_memory.memory.reranking import router_for
from parametric_memory.routing import RerankingRouter, SimilarityRouter
from parametric_memory.types import Document, stable_id

ADA = "Ada joined the Rotterdam office in 2021."
BOB = "Bob keeps the red key of Hall 48."


def events(result):
    return [record["event"] for record in result["results"]]


def remembered(memory, **scope):
    return [record["memory"] for record in memory.get_all(**scope)["results"]]


@pytest.fixture
def while_compiling(memory, monkeypatch):
    """Lets each write of a list happen once, while the memory compiles: what another thread or process may do."""

    def let_happen(*writes):
        compile_, waiting = memory.compile, list(writes)

        def interrupted(atoms):
            if waiting:
                waiting.pop(0)()
            return compile_(atoms)

        monkeypatch.setattr(memory, "compile", interrupted)

    return let_happen


def test_adding_the_same_text_again_compiles_nothing(memory, monkeypatch):
    assert events(memory.add(f"{ADA} {BOB}")) == ["ADD", "ADD"]
    monkeypatch.setattr(type(memory.compiler), "compile", lambda *_: pytest.fail("compiled again"))
    assert events(memory.add(f"{ADA} {BOB}")) == ["NONE", "NONE"]


def test_a_changed_file_is_replaced_atom_by_atom(memory, tmp_path):
    path = tmp_path / "office.txt"
    path.write_text(f"{ADA}\n\n{BOB}\n")
    memory.add(path)
    path.write_text(f"{ADA}\n\nBob keeps the blue key of Hall 48.\n")
    result = memory.add(path)
    assert sorted(events(result)) == ["ADD", "DELETE", "NONE"]
    statements = [record["memory"] for record in memory.get_all()["results"]]
    assert any("blue" in s for s in statements) and not any("red" in s for s in statements)


def test_a_long_document_that_was_interrupted_goes_on_where_it_was(memory, monkeypatch):
    monkeypatch.setattr("parametric_memory.memory.adding.PART", 70)  # two of its sentences
    text = " ".join(f"Door number {n} is painted green." for n in range(7))
    compiled, compile_ = [], memory.compiler.compile

    def interrupted(atoms):
        if len(compiled) == 4:
            raise KeyboardInterrupt
        compiled.extend(atoms)
        return compile_(atoms)

    monkeypatch.setattr(type(memory.compiler), "compile", lambda _self, atoms: interrupted(atoms))
    with pytest.raises(KeyboardInterrupt):
        memory.add(text)
    assert len(memory.get_all()["results"]) == 4
    monkeypatch.undo()
    assert Counter(events(memory.add(text))) == {"NONE": 4, "ADD": 3}
    assert set(events(memory.add(text))) == {"NONE"}


def test_another_version_that_is_stored_meanwhile_is_replaced_and_the_rest_is_added(memory, while_compiling):
    memory.add(Document("office", ADA))
    while_compiling(lambda: memory.add(Document("office", f"{ADA} Cid paints doors.")))
    result = memory.add([Document("office", f"{ADA} {BOB}"), "The gate opens at six."])
    assert events(result) == ["NONE", "ADD", "ADD"] and result["errors"] == []
    assert remembered(memory) == [ADA, BOB, "The gate opens at six."]


def test_a_sentence_that_another_version_takes_away_meanwhile_is_compiled_again(memory, while_compiling):
    memory.add(Document("office", ADA))
    while_compiling(lambda: memory.add(Document("office", "Cid paints doors.")))
    assert memory.add([Document("office", f"{ADA} {BOB}"), "The gate opens at six."])["errors"] == []
    assert remembered(memory) == [ADA, BOB, "The gate opens at six."] and memory.verify() == []


def test_parts_that_another_version_takes_away_meanwhile_are_compiled_again(memory, monkeypatch):
    monkeypatch.setattr("parametric_memory.memory.adding.PART", 70)  # two of its sentences
    sentences = [f"Door number {n} is painted green." for n in range(7)]

    def other_writer(document, done, total):
        if done == 4:
            memory.store.delete_document(document.id)

    memory.add(" ".join(sentences), progress=other_writer)
    assert remembered(memory) == sentences and memory.verify() == []


def test_two_versions_that_take_turns_all_the_time_are_an_error(memory, while_compiling):
    cid, gate = "Cid paints doors.", "The gate opens at six."
    memory.add(Document("office", f"{ADA} {cid}"))
    without_ada, without_cid = (lambda text=text: memory.add(Document("office", text)) for text in (cid, gate))
    # Each of them compiles, too: nothing is to happen meanwhile.
    while_compiling(without_ada, lambda: None, without_cid)
    with pytest.raises(StoreError, match="came without key or code"):
        memory.add(Document("office", f"{ADA} {cid} {BOB}"))
    assert remembered(memory) == [gate]


def test_progress_counts_the_atoms_of_a_document(memory):
    seen = []
    memory.add(f"{ADA} {BOB}", progress=lambda document, done, total: seen.append((document.text, done, total)))
    assert seen == [(f"{ADA} {BOB}", 2, 2)]


def test_an_answer_cites_the_characters_it_stands_on(memory, tmp_path):
    path = tmp_path / "office.txt"
    path.write_text(f"Intro words here.\r\n\r\n{ADA}\r\n")
    memory.add(path)
    answer = memory.ask("When did Ada join the Rotterdam office?")
    best = answer.citations[0]
    assert best.source == path.as_posix()
    assert any(path.read_bytes().decode()[c.span.start : c.span.end] == c.text == ADA for c in answer.citations)
    assert answer.usage.knowledge_tokens == 0 and answer.usage.prompt_tokens > 0


def test_every_mode_answers_and_only_reading_spends_knowledge_tokens(memory):
    memory.add([ADA, BOB])
    spent = {mode: memory.ask("Who keeps the red key?", mode=mode).usage.knowledge_tokens for mode in MODES}
    assert spent["atoms"] == spent["closed_book"] == 0
    assert 0 < spent["hybrid"] <= spent["in_context"]


def test_an_unknown_mode_is_refused(memory):
    with pytest.raises(ValueError, match="expected one of"):
        memory.ask("Who?", mode="magic")


def test_an_empty_question_is_refused_in_every_mode(memory):
    for mode in MODES:
        with pytest.raises(ValueError, match="empty"):
            memory.ask("  ", mode=mode)


def test_the_memory_changes_the_answer_and_leaves_the_base_model_as_it_was(memory):
    weights = {name: parameter.clone() for name, parameter in memory.backend.model.named_parameters()}
    bare = memory.ask("Who keeps the red key?", mode="closed_book").text
    memory.add(BOB)
    assert memory.ask("Who keeps the red key?").text != bare
    assert memory.ask("Who keeps the red key?", mode="closed_book").text == bare
    assert all(torch.equal(parameter, weights[name]) for name, parameter in memory.backend.model.named_parameters())


def test_disabled_answers_from_the_bare_base(memory):
    memory.add(BOB)
    with memory.disabled():
        off = memory.ask("Who keeps the red key?")
    assert (off.text, off.mode) == (memory.ask("Who keeps the red key?", mode="closed_book").text, "closed_book")


def test_an_empty_memory_abstains_and_says_so(memory):
    answer = memory.ask("Who keeps the red key?")
    assert answer.abstained and answer.text == memory.config.unknown and answer.citations == ()


def test_without_a_text_for_the_unknown_the_bare_base_answers(open_memory, memory):
    other = open_memory("other", replace(memory.config, unknown=None))
    answer = other.ask("Who keeps the red key?")
    assert answer.abstained and answer.text == memory.ask("Who keeps the red key?", mode="closed_book").text


def test_streamed_pieces_are_the_whole_answer(memory):
    memory.add([ADA, BOB])
    stream = memory.stream("Who keeps the red key?")
    assert stream.route.selected and stream.citations
    pieces = list(stream)
    whole = memory.ask("Who keeps the red key?")
    assert "".join(pieces).strip() == whole.text == stream.answer.text and len(pieces) > 1


def test_a_stream_says_what_it_cost_as_asking_does(memory):
    memory.add([ADA, BOB])
    for mode in MODES:
        stream, whole = (verb("Who keeps the red key?", mode=mode) for verb in (memory.stream, memory.ask))
        assert "generate" not in stream.answer.timings and stream.answer.usage.completion_tokens == 0
        assert "".join(stream).strip() == whole.text
        assert list(stream.answer.timings) == list(whole.timings) and stream.answer.timings["generate"] > 0
        # Whether there was an end token, the pieces do not say.
        assert whole.usage.completion_tokens - stream.answer.usage.completion_tokens in {0, 1}
        assert replace(stream.answer.usage, completion_tokens=0) == replace(whole.usage, completion_tokens=0)


def test_a_stream_of_words_that_no_model_wrote_costs_nothing(memory):
    stream, whole = (verb("Who keeps the red key?") for verb in (memory.stream, memory.ask))
    assert "".join(stream) == whole.text == memory.config.unknown
    assert stream.answer.usage == whole.usage and list(stream.answer.timings) == list(whole.timings)


def test_what_is_done_with_the_pieces_of_a_stream_takes_none_of_its_time(memory, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("parametric_memory.memory.answers.time.perf_counter", lambda: clock[0])
    stream = memory.stream("Who keeps the red key?", mode="closed_book")
    for _ in stream:
        clock[0] += 1.0
    assert stream.answer.timings["generate"] == 0.0


def test_a_stream_closed_half_way_leaves_the_base_clean(memory):
    memory.add(BOB)
    bare = memory.ask("Who?", mode="closed_book").text
    pieces = iter(memory.stream("Who keeps the red key?"))
    next(pieces)
    assert memory.ask("Who?", mode="closed_book").text == bare
    pieces.close()
    assert memory.ask("Who?", mode="closed_book").text == bare


def test_users_see_their_own_knowledge_alone(memory):
    memory.add(ADA, user_id="u1")
    memory.add(ADA, user_id="u2")
    memory.add(BOB, user_id="u2")
    assert len(memory.get_all(user_id="u1")["results"]) == 1
    assert len(memory.get_all(user_id="u2")["results"]) == 2
    seen = {record["metadata"]["user_id"] for record in memory.search("key Hall Ada", user_id="u1")["results"]}
    assert seen == {"u1"}
    assert memory.ask("Who keeps the red key?", filters={"user_id": "u3"}).abstained


def test_documents_without_an_id_are_known_by_their_texts(memory):
    memory.add([Document("", ADA), Document("", BOB)])
    assert remembered(memory) == [ADA, BOB]
    assert [held.id for held in memory.store.documents()] == [stable_id(ADA), stable_id(BOB)]


def test_a_document_keeps_its_id_whatever_metadata_but_a_scope_comes_with_it(memory):
    manual = Document("manual", BOB)
    memory.add(manual)
    memory.add(manual, metadata={"lang": "en"})
    memory.add(manual, user_id="anna")
    assert [held.id for held in memory.store.documents()] == ["manual", stable_id("manual", "user_id=anna")]
    assert remembered(memory, filters={"lang": "en"}) == [BOB]


@pytest.mark.parametrize(
    "content",
    [
        Document(stable_id(BOB, "user_id=anna"), ADA, metadata={"user_id": "bert"}),
        Document(stable_id(BOB, "user_id=anna"), ADA),
        f"{BOB}\x1fuser_id=anna",
    ],
    ids=["another user's", "nobody's", "an id made on purpose"],
)
def test_nobody_replaces_the_document_of_a_user_by_its_id(memory, content):
    memory.add(BOB, user_id="anna")
    with pytest.raises(StoreError, match="with another user_id"):
        memory.add(content)
    assert remembered(memory) == remembered(memory, user_id="anna") == [BOB]


@pytest.mark.parametrize("form", ["a list", "lines of a file"])
def test_a_document_that_is_another_users_does_not_stop_the_others(memory, tmp_path, form):
    memory.add(BOB, user_id="anna")
    stolen = f"{BOB}\x1fuser_id=anna"
    documents = [Document.of(ADA, source=stolen), Document.of("The archive opens at nine.", source="hours.md")]
    lines = tmp_path / "documents.jsonl"
    lines.write_text("".join(f"{json.dumps({'text': d.text, 'source': d.source})}\n" for d in documents))
    done = memory.add(documents if form == "a list" else lines)
    assert [result["memory"] for result in done["results"]] == ["The archive opens at nine."]
    [error] = done["errors"]
    assert error["source"] == stolen and "with another user_id" in error["error"]
    assert remembered(memory, user_id="anna") == [BOB]


def test_half_a_character_in_a_question_or_an_update_becomes_a_replacement_character(memory):
    [record] = memory.add(ADA)["results"]
    assert memory.update(record["id"], "Ada joined the \ud83d office.")["memory"] == "Ada joined the \ufffd office."
    assert memory.ask("Who joined the \ud83d office?").text == memory.ask("Who joined the \ufffd office?").text


def test_threads_of_many_users_never_meet(memory):
    users = [f"u{n}" for n in range(4)]
    for user in users:
        memory.add(f"The secret word of this person is {user * 3}.", user_id=user)
    alone = {user: memory.ask("What is the secret word?", user_id=user) for user in users}

    def ask(user):
        return user, memory.ask("What is the secret word?", user_id=user)

    with ThreadPoolExecutor(8) as pool:
        for user, answer in pool.map(ask, users * 12):
            assert answer.text == alone[user].text
            assert {c.atom_id for c in answer.citations} == {c.atom_id for c in alone[user].citations}


def test_verbs_on_one_atom(memory):
    [record] = memory.add(ADA, metadata={"source": "hr.md"})["results"]
    assert memory.get(record["id"])["memory"] == ADA and memory.get(record["id"])["source"] == "hr.md"
    memory.update(record["id"], "Ada joined the Delft office in 2021.")
    assert "Delft" in memory.get(record["id"])["memory"]
    memory.delete(record["id"])
    with pytest.raises(AtomNotFoundError):
        memory.get(record["id"])
    assert [event["event"] for event in memory.history(record["id"])] == ["ADD", "UPDATE", "DELETE"]


def test_a_deleted_text_can_be_added_again(memory):
    [record] = memory.add(ADA)["results"]
    memory.delete(record["id"])
    assert events(memory.add(ADA)) == ["ADD"]
    assert memory.search("Ada Rotterdam")["results"]


def test_delete_all_needs_to_know_whose(memory):
    memory.add(ADA, user_id="u1")
    memory.add(BOB, user_id="u2")
    with pytest.raises(ValueError, match="reset"):
        memory.delete_all()
    assert memory.delete_all(user_id="u1") == {"deleted": 1}
    assert len(memory.get_all()["results"]) == 1
    memory.reset()
    assert memory.get_all()["results"] == []


def test_erasing_leaves_no_trace_in_the_files(memory, tmp_path):
    memory.add("The passport number of Ada is X98765.", user_id="ada")
    memory.add(BOB, user_id="bob")
    receipt = memory.erase(user_id="ada")
    assert len(receipt["deleted"]) == 1 and receipt["residuals"] == []
    for file in (tmp_path / "memory").rglob("*"):
        assert not file.is_file() or b"X98765" not in file.read_bytes()
    assert len(memory.get_all()["results"]) == 1


def test_one_id_is_not_taken_for_its_letters(memory):
    [record] = memory.add(ADA)["results"]
    for remove in (lambda id_: memory.erase(ids=id_), memory.store.erase, memory.store.delete):
        with pytest.raises(TypeError, match=r"this is one string; pass \["):
            remove(record["id"])
    assert memory.erase(ids=[record["id"]])["deleted"] == [record["id"]]


def test_a_reopened_memory_gives_the_same_answer(open_memory):
    first = open_memory()
    first.add([ADA, BOB])
    before = first.ask("Who keeps the red key?")
    first.close()
    again = open_memory()
    assert again.ask("Who keeps the red key?").text == before.text
    assert again.verify() == []


def test_a_memory_beside_another_has_its_models_and_holds_nothing_of_it(memory, tmp_path):
    memory.add(BOB)
    with memory.beside(tmp_path / "beside") as beside:
        assert beside.backend is memory.backend
        assert beside.config is memory.config
        assert beside.stats().atoms == 0
        beside.add(ADA)
        assert [atom["memory"] for atom in beside.get_all()["results"]] == [ADA]
    assert [atom["memory"] for atom in memory.get_all()["results"]] == [BOB]


def test_a_memory_beside_another_may_have_parts_of_its_own(memory, tmp_path):
    config = replace(memory.config, routing=replace(memory.config.routing, max_atoms=1))
    with memory.beside(tmp_path / "beside", config=config, token_router=None) as beside:
        assert (beside.config.routing.max_atoms, beside.token_router) == (1, None)
        assert beside.compiler is memory.compiler


def test_explain_gives_every_candidate_with_a_reason(memory):
    memory.add([ADA, BOB, "Cid paints doors."])
    route = memory.explain("Who keeps the red key of Hall 48?")
    assert route.selected[0].atom.text == BOB
    assert all(routed.reason for routed in [*route.selected, *route.rejected])
    assert all(routed.rank_gates and routed.share is not None for routed in route.selected)


@pytest.fixture
def believing(open_believing):
    return open_believing(reranked=2)


@pytest.fixture
def open_believing(parts, memory, tmp_path):
    """Opens a memory whose compiler's checkpoint says how far its gates are to be believed."""
    compiler = parts["compiler"]
    weights = {"similarity": 1.0, "share": 2.0, "answered": 0.1, "bias": 0.0}
    checkpoint = replace(compiler.checkpoint, reranking=weights)
    reranking = HypernetworkCompiler(
        parts["backend"].model, parts["backend"].tokenizer, checkpoint, fingerprint=parts["backend"].fingerprint
    )
    opened = []

    def open_it(**settings):
        config = replace(memory.config, routing=replace(memory.config.routing, margin=99.0, **settings))
        path = tmp_path / f"believing {len(opened)}"
        opened.append(ParametricMemory(**{**parts, "compiler": reranking}, path=path, config=config))
        opened[-1].add([ADA, BOB, "Cid keeps the doors of the hall."])
        return opened[-1]

    yield open_it
    for made in opened:
        made.close()


def test_the_gates_read_the_most_similar_candidates_at_once_and_the_route_believes_them(believing):
    query = believing.encode_query("Who keeps the red key of Hall 48?")
    read = believing.rerank(query, believing.candidates(query))
    asked = [candidate for candidate in read if candidate.gates]
    assert len(read) == 3 and len(asked) == 2
    assert sum(one.gates.share for one in asked) + asked[0].gates.nothing == pytest.approx(1, abs=1e-3)
    gates = believing.compiler.gate(query.text, believing.store.codes([one.atom.id for one in asked]))
    assert sorted(gates.shares) == pytest.approx(sorted(one.gates.share for one in asked), abs=1e-5)
    assert isinstance(believing.router, RerankingRouter)
    assert believing.route(query, believing.candidates(query)) == believing.router.route(query, read)


def test_candidates_that_were_read_are_not_read_again(believing, monkeypatch):
    query = believing.encode_query("Who keeps the red key of Hall 48?")
    read = believing.rerank(query, believing.candidates(query))
    monkeypatch.setattr(type(believing.compiler), "gate", lambda *_: pytest.fail("read again"))
    assert believing.rerank(query, read) == read


@pytest.mark.parametrize(("gates", "kept"), [("reranked", True), ("selected", False)])
def test_a_route_keeps_the_gates_that_its_candidates_were_read_with_if_it_is_told_to(open_believing, gates, kept):
    memory = open_believing(gates=gates, max_atoms=1)
    query = memory.encode_query("Who keeps the red key of Hall 48?")
    read = {one.atom.id: one.gates for one in memory.rerank(query, memory.candidates(query))}
    [routed] = memory.explain(query.text).selected
    assert (routed.rank_gates == read[routed.atom.id].ranks) == kept


def test_a_question_is_read_once_for_its_candidates_and_its_route(believing, monkeypatch):
    calls = []
    read = hypernetwork.states_at
    monkeypatch.setattr(hypernetwork, "states_at", lambda *given: (calls.append(given), read(*given))[1])
    believing.ask("Who keeps the red key of Hall 48, once more?")
    assert len(calls) == 1


def test_searching_asks_no_gates(believing, monkeypatch):
    monkeypatch.setattr(type(believing.compiler), "gate", lambda *_: pytest.fail("asked the gates"))
    assert believing.search("red key", top_k=1)["results"][0]["memory"] == BOB


def test_gates_that_are_not_to_be_asked_are_not(parts, believing, memory):
    assert isinstance(memory.router, SimilarityRouter)
    query = memory.encode_query("Who keeps the red key?")
    memory.add(BOB)
    assert all(one.gates is None for one in memory.rerank(query, memory.candidates(query)))
    assert isinstance(router_for(believing.compiler, RoutingConfig(reranked=0)), SimilarityRouter)


def test_weights_of_another_version_are_a_clear_error(parts, monkeypatch):
    compiler = parts["compiler"]
    monkeypatch.setattr(type(compiler), "reranking", {"cosine": 1.0})
    with pytest.raises(CheckpointError, match=r"fit_reranker\.py"):
        router_for(compiler, RoutingConfig())


def test_a_second_hop_takes_what_the_first_atom_leads_to(open_memory, memory):
    facts = ["Night Harbour was directed by Ida Bek.", "Ida Bek was born in Velden.", "Crab soup is sold on Friday."]
    question = "Where was the director of Night Harbour born?"
    routing = replace(memory.config.routing, max_atoms=2, margin=0.0)
    for hops, expected in ((1, facts[:1]), (2, facts[:2]), (3, facts[:2])):
        asked = open_memory(f"hops {hops}", replace(memory.config, routing=replace(routing, hops=hops)))
        asked.add(facts)
        route = asked.explain(question)
        assert [routed.atom.text for routed in route.selected] == expected
        assert [routed.atom for routed in asked.ask(question).route.selected] == [r.atom for r in route.selected]


def test_a_routes_atoms_stay_in_the_routers_order_when_they_are_gated(memory, monkeypatch):
    memory.add([ADA, BOB, "Cid keeps the doors of the hall."])
    query = memory.encode_query("Who keeps the red key of Hall 48?")
    wide = replace(memory.config.routing, margin=99.0)
    route = SimilarityRouter(wide).route(query, memory.candidates(query))
    gate = type(memory.compiler).gate

    def backwards(compiler, question, codes, found=None):
        made = gate(compiler, question, codes, found)
        return replace(made, shares=tuple(float(number) for number in range(len(codes))))

    monkeypatch.setattr(type(memory.compiler), "gate", backwards)
    gated = memory.gate(query.text, route)
    assert [r.atom.id for r in gated.selected] == [r.atom.id for r in route.selected]
    assert [r.share for r in gated.selected] == [0.0, 1.0, 2.0]


def test_an_exported_route_is_the_composed_adapter(memory, tmp_path):
    memory.add([ADA, BOB])
    folder = memory.export(tmp_path / "route", question="Who keeps the red key?")
    composed = memory.compose(memory.explain("Who keeps the red key?"))
    read = import_peft(folder, spec=composed.spec)
    for target, factors in composed.factors.items():
        torch.testing.assert_close(read.factors[target].B @ read.factors[target].A, factors.B @ factors.A)
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "LORA"


def test_an_atom_can_be_exported_by_its_id(memory, tmp_path):
    [record] = memory.add(ADA)["results"]
    assert (memory.export(tmp_path / "atom", memory_id=record["id"]) / "adapter_model.safetensors").exists()
    with pytest.raises(ValueError, match="either"):
        memory.export(tmp_path / "atom")


def test_messages_and_framework_documents_can_be_added(memory):
    messages = [{"role": "user", "content": ADA}, {"role": "assistant", "content": "Noted, thank you."}]
    langchain = SimpleNamespace(page_content=BOB, metadata={"source": "keys.md"})
    llama_index = SimpleNamespace(text="Cid paints the doors of the hall.", metadata={})
    memory.add([messages, langchain, llama_index])
    statements = {record["memory"] for record in memory.get_all()["results"]}
    assert statements == {ADA, BOB, "Cid paints the doors of the hall."}


def test_a_message_in_parts_is_remembered_by_its_words(memory):
    memory.add([{"role": "user", "content": [{"type": "text", "text": ADA}, {"type": "text", "text": BOB}]}])
    assert remembered(memory) == [ADA, BOB]


@pytest.mark.parametrize("content", [None, 48, [{"type": "image_url", "image_url": {"url": "data:"}}]])
def test_a_message_that_holds_no_text_is_refused(memory, content):
    with pytest.raises(UnreadableDocumentError, match="which is no text"):
        memory.add({"role": "user", "content": content})
    assert len(memory.add([{"role": "user", "content": content}, ADA])["errors"]) == 1
    assert remembered(memory) == [ADA]


def test_one_thing_that_cannot_be_read_does_not_stop_the_others(memory, tmp_path):
    (tmp_path / "bob.txt").write_text(BOB)
    things = [ADA, "", 42, tmp_path / "missing.txt", tmp_path / "bob.txt", [" ", "Cid paints doors."]]
    errors = [one["error"] for one in memory.add(things)["errors"]]
    assert remembered(memory) == [ADA, f"bob: {BOB}", "Cid paints doors."]
    problems = ("adding a text: it is empty", "adding a int", "there is no such file", "adding a text: it is empty")
    assert all(problem in error for problem, error in zip(problems, errors, strict=True))


def test_a_file_whose_reader_is_not_installed_does_not_stop_the_others(memory, monkeypatch):
    def unread(path, **settings):
        raise MissingDependencyError("pypdf", extra="pdf", purpose=f"reading {path}")

    monkeypatch.setattr("parametric_memory.memory.sources.read_path", unread)
    [error] = memory.add([Path("a.pdf"), ADA])["errors"]
    assert "reading a.pdf needs 'pypdf'" in error["error"] and remembered(memory) == [ADA]


def test_a_document_with_an_id_or_metadata_that_cannot_be_kept_does_not_stop_the_others(memory, tmp_path):
    (tmp_path / "lines.jsonl").write_text('{"text": "Cid paints doors.", "metadata": {"width": NaN}}')
    wrong = [
        Document("tags", BOB, metadata={"tags": ["red"]}),
        Document("half \ud83d", BOB),
        SimpleNamespace(page_content=BOB, metadata={"author": "\ud83d"}),
        tmp_path / "lines.jsonl",
    ]
    result = memory.add([*wrong, ADA])
    assert remembered(memory) == [ADA] and len(result["errors"]) == 4
    assert all("correct the document's id or metadata" in error["error"] for error in result["errors"])
    with pytest.raises(ValueError, match="'tags' must be a string"):
        memory.add([ADA, BOB], metadata={"tags": ["red"]})


def test_half_a_character_is_replaced_in_texts_and_refused_in_scopes_and_filters(memory):
    memory.add(["The lamp \ud83d is red.", Document("hall", "The hall \ud83d is blue.")])
    memory.add(Document("gate", "The gate \ud83d is green."), metadata={"lang": "en"})
    assert remembered(memory) == ["The lamp � is red.", "The hall � is blue.", "The gate � is green."]
    for verb in (memory.get_all, memory.delete_all, lambda **scope: memory.add(ADA, **scope)):
        with pytest.raises(ValueError, match=r"\['user_id'\]: there is half a character"):
            verb(user_id="\ud83d")
    with pytest.raises(ValueError, match="half a character"):
        memory.ask("Which lamp?", filters={"colour": ["red", "\ud83d"]})


def test_one_unreadable_file_does_not_stop_a_folder(memory, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text(ADA)
    (folder / "b.pdf").write_bytes(b"not a pdf")
    result = memory.add(folder)
    assert events(result) == ["ADD"] and len(result["errors"]) == 1 and "b.pdf" in result["errors"][0]["error"]


def test_one_document_that_cannot_be_compiled_does_not_stop_the_others(memory, monkeypatch):
    compile_ = memory.compiler.compile

    def broken(atoms):
        if "Ada" in atoms[0].text:
            raise CompilationError("compiling: broken on purpose")
        return compile_(atoms)

    monkeypatch.setattr(type(memory.compiler), "compile", lambda _self, atoms: broken(atoms))
    result = memory.add([ADA, BOB])
    assert events(result) == ["ADD"] and "broken on purpose" in result["errors"][0]["error"]


def test_an_empty_text_and_a_foreign_object_are_refused(memory):
    with pytest.raises(UnreadableDocumentError, match="empty"):
        memory.add("   ")
    with pytest.raises(UnreadableDocumentError, match="expected a str"):
        memory.add(42)


def test_the_gate_of_the_configuration_decides(open_memory, memory):
    strict = open_memory("strict", replace(memory.config, routing=RoutingConfig(abstain_below=1.01)))
    strict.add(BOB)
    assert strict.ask("Who keeps the red key of Hall 48?").abstained


def test_what_is_prepared_is_what_asking_generates(memory):
    memory.add([ADA, BOB])
    for mode in MODES:
        prepared, answer = (verb("Who keeps the red key?", mode=mode) for verb in (memory.prepare, memory.ask))
        [made] = memory.backend.generate(
            [prepared.conversation], adapters=[prepared.adapter], config=memory.config.generation
        )
        assert made.text.strip() == answer.text and prepared.answer.citations == answer.citations
        assert (prepared.adapter is None) == (mode in {"in_context", "closed_book"})


def test_a_memory_knows_in_which_threads_it_is_disabled(memory):
    with memory.disabled(), ThreadPoolExecutor(1) as pool:
        assert memory.is_disabled and not pool.submit(lambda: memory.is_disabled).result()
    assert not memory.is_disabled
