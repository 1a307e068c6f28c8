import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from parametric_memory.adapters import import_peft
from parametric_memory.compilers import HypernetworkCompiler, hypernetwork
from parametric_memory.config import RoutingConfig
from parametric_memory.errors import AtomNotFoundError, CheckpointError, CompilationError, UnreadableDocumentError
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory.answers import MODES
from parametric_memory.memory.reranking import router_for
from parametric_memory.routing import RerankingRouter, SimilarityRouter

ADA = "Ada joined the Rotterdam office in 2021."
BOB = "Bob keeps the red key of Hall 48."


def events(result):
    return [record["event"] for record in result["results"]]


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
