"""The commands, run in this process on a tiny base model."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from parametric_memory.cli.asking import ask
from parametric_memory.cli.exits import Exit
from parametric_memory.cli.printing import REJECTED
from parametric_memory.config import RoutingConfig
from parametric_memory.errors import StoreNotFoundError
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory.answers import MODES
from parametric_memory.types import Route

KEEPER = "Who is the keeper of Hall 4B?"
UNKNOWN = "How many zebras visited Antarctica in 1877?"


def atoms_of(world) -> list[dict]:
    return json.loads(world.pmem("list", "--json").stdout)["results"]


def id_of(world, words: str) -> str:
    return next(atom["id"] for atom in atoms_of(world) if words in atom["memory"])


# ---------------------------------------------------------------- calibrate


def test_calibrate_prints_targets_and_sets_the_gate_that_explain_then_shows(filled):
    rows = [{"question": KEEPER, "answerable": True}]
    rows += [{"question": f"How many zebras visited Antarctica in {1800 + n}?", "answerable": False} for n in range(20)]
    (filled.path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = filled.pmem("calibrate", "--data", "mine.jsonl", "--at", "0.05")
    assert result.exit_code == 0, result.output
    assert "at most 5% are taken on" in result.stdout and "0.05 ←" in result.stdout and "needs 99" in result.stdout
    report = json.loads(filled.pmem("calibrate", "--data", "mine.jsonl", "--at", "0.05", "--json").stdout)
    assert json.loads(filled.pmem("explain", KEEPER, "--json").stdout)["threshold"] == report["threshold"]
    looser = json.loads(filled.pmem("explain", KEEPER, "--json", "--abstain-at", "0.5").stdout)["threshold"]
    assert looser <= report["threshold"]


def test_calibrate_with_too_few_questions_says_how_many_it_takes(filled):
    (filled.path / "mine.jsonl").write_text('{"question": "Who?", "answerable": false}\n', encoding="utf-8")
    result = filled.pmem("calibrate", "--data", "mine.jsonl", "--at", "0.05")
    assert result.exit_code == Exit.FAILED and "takes 19 unanswerable questions" in result.stderr


# ---------------------------------------------------------------- add


def test_add_compiles_every_sentence_and_says_how_many(world):
    result = world.pmem("add", "docs")
    assert result.exit_code == 0
    assert "2 of 2 files: 4 atoms compiled" in result.stdout


def test_adding_again_recompiles_nothing_and_says_so(filled):
    result = filled.pmem("add", "docs")
    assert result.exit_code == 0
    assert "0 atoms compiled, 0 deleted, 4 there already (nothing recompiled)" in result.stdout


def test_files_that_cannot_be_read_are_named_and_the_rest_is_added(world):
    (world.path / "docs" / "empty.txt").touch()
    result = world.pmem("add", "docs/empty.txt", "docs/tern.txt", "docs/nowhere.txt")
    assert result.exit_code == Exit.UNREADABLE
    assert "docs/empty.txt: it is empty" in result.stderr and "docs/nowhere.txt: there is no such" in result.stderr
    assert len(atoms_of(world)) == 2


def test_if_no_path_exists_no_memory_is_made(world):
    assert world.pmem("add", "nowhere").exit_code == Exit.UNREADABLE
    assert not (world.path / "memory").exists()


def test_add_leaves_out_the_files_of_the_memory_itself(filled):
    first = {atom["source"] for atom in atoms_of(filled)}
    assert filled.pmem("add", ".", "--json").exit_code == 0
    assert {Path(atom["source"]).name for atom in atoms_of(filled)} == {Path(source).name for source in first} | {
        "pmem.toml"
    }


def test_a_file_that_is_named_twice_is_added_once(world):
    report = json.loads(world.pmem("add", "docs/tern.txt", "docs", "--json").stdout)
    assert (report["files"], report["atoms"]["ADD"], report["atoms"]["NONE"]) == (2, 4, 0)


def test_an_interrupt_ends_adding_after_what_is_done(world, monkeypatch, tiny_memory):
    from parametric_memory import ParametricMemory

    whole, calls = ParametricMemory.add, []

    def add(self, file, **options):
        calls.append(file)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, file, **options)

    monkeypatch.setattr(ParametricMemory, "add", add)
    result = world.pmem("add", "docs")
    assert result.exit_code == Exit.INTERRUPTED
    assert "1 of 2 files are done" in result.stderr
    assert len(atoms_of(world)) == 2
    assert world.pmem("verify").exit_code == 0


def test_the_bar_of_add_moves_forward_from_nothing_to_nearly_all(world, monkeypatch):
    messages = "".join(f'{{"text": "Buoy {number} is green. Buoy {number} is old."}}\n' for number in range(5))
    (world.path / "docs" / "messages.jsonl").write_text(messages, encoding="utf-8")
    seen = []

    @contextmanager
    def progress():
        yield lambda what, done, total, counts: seen.append((done / total, counts))

    monkeypatch.setattr("parametric_memory.cli.adding.progress", progress)
    assert world.pmem("add", "docs").exit_code == 0
    places = [place for place, _ in seen]
    assert places == sorted(places) and places[0] == 0.0 and 0.9 < places[-1] <= 1.0
    assert (seen[0][1], seen[-1][1]) == ("0/3 files, 0 atoms", "2/3 files, 14 atoms")


def test_metadata_and_user_of_add_are_found_by_filters(world):
    world.pmem("add", "docs/tern.txt", "--user-id", "anna", "--metadata", "year=2031")
    world.pmem("add", "docs/halls.md", "--user-id", "ben")
    assert {atom["metadata"]["user_id"] for atom in atoms_of(world)} == {"anna", "ben"}
    only = json.loads(world.pmem("list", "--filter", "year=2031", "--json").stdout)["results"]
    assert {atom["metadata"]["user_id"] for atom in only} == {"anna"}
    assert world.pmem("ask", KEEPER, "--user-id", "anna").exit_code == Exit.ABSTAINED


# ---------------------------------------------------------------- ask, explain


def test_ask_prints_citation_atoms_and_cost(filled):
    result = filled.pmem("ask", KEEPER)
    assert result.exit_code == 0, result.output
    assert "docs/halls.md, characters 9–47" in result.stdout
    assert "“The keeper of Hall 4B is Bastian Orme.”" in result.stdout
    assert "share" in result.stdout and "0 of them knowledge" in result.stdout


def test_ask_as_json_cites_the_characters_of_the_file(filled):
    answer = json.loads(filled.pmem("ask", KEEPER, "--json").stdout)
    cited = answer["citations"][0]
    text = (filled.path / "docs" / "halls.md").read_text(encoding="utf-8")
    assert cited["text"] == "The keeper of Hall 4B is Bastian Orme."
    assert cited["source"] == "docs/halls.md" and cited["text"] in text
    assert answer["usage"]["knowledge_tokens"] == 0 and answer["mode"] == "atoms"
    assert answer["atoms"][0]["id"] == cited["atom_id"] and answer["atoms"][0]["share"] is not None


def test_a_question_that_nothing_answers_abstains_with_its_own_code(filled):
    result = filled.pmem("ask", UNKNOWN)
    assert result.exit_code == Exit.ABSTAINED
    assert "I don't know." in result.stdout


def test_the_modes_of_ask_are_those_of_the_library():
    hint = get_type_hints(ask)["mode"]
    assert get_args(hint) == MODES


def test_a_rag_answer_counts_its_knowledge_tokens(filled):
    answer = json.loads(filled.pmem("ask", KEEPER, "--mode", "in_context", "--json").stdout)
    assert answer["usage"]["knowledge_tokens"] > 0


def test_explain_shows_what_was_taken_and_what_was_left_and_why(filled):
    result = filled.pmem("explain", KEEPER)
    assert result.exit_code == 0
    assert f"against threshold {RoutingConfig().abstain_below:.2f}" in result.stdout
    assert "best" in result.stdout and "below the best" in result.stdout
    assert "[Joanna" in result.stdout and "Veck]" in result.stdout  # not read as markup
    assert "cosine" in result.stdout and "(encode" in result.stdout


def test_explain_shows_the_best_of_many_that_were_left_and_says_how_many_more(filled):
    many = "".join(f"Keeper number {number} of Hall {number} has a lamp. " for number in range(20))
    (filled.path / "docs" / "lamps.txt").write_text(many, encoding="utf-8")
    filled.pmem("add", "docs/lamps.txt")
    shown, all_ = filled.pmem("explain", KEEPER), json.loads(filled.pmem("explain", KEEPER, "--json").stdout)
    assert f"{len(all_['rejected']) - REJECTED} more were considered" in shown.stderr
    assert shown.stdout.count("below the best") <= REJECTED < len(all_["rejected"])


def test_explain_writes_a_page_beside_what_it_prints(filled):
    result = filled.pmem("explain", KEEPER, "--html", "route.html", "--json")
    page = (filled.path / "route.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "[Joanna Veck]" in page
    assert json.loads(result.stdout)["timings"].keys() == {"encode", "search", "route", "gate"}


def test_explain_tells_what_further_hops_were_asked(filled, monkeypatch):
    monkeypatch.setattr(ParametricMemory, "explain", lambda *_, **__: Route(KEEPER, (), hops=("And who is that?",)))
    assert json.loads(filled.pmem("explain", KEEPER, "--json").stdout)["hops"] == ["And who is that?"]


def test_explain_of_an_unanswerable_question_says_that_it_abstains(filled):
    result = filled.pmem("explain", UNKNOWN)
    assert result.exit_code == 0 and "the memory abstains" in result.stdout


# ---------------------------------------------------------------- looking


@pytest.mark.parametrize(
    "words", [["list"], ["get"], ["history"], ["stats"], ["verify"], ["ask", KEEPER], ["explain", KEEPER]], ids=" ".join
)
def test_a_reading_command_prints_json_and_nothing_else(filled, words):
    words = [*words, id_of(filled, "Hall 4B")] if words[0] in {"get", "history"} else words
    result = filled.pmem(*words, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)


def test_atoms_and_history_have_the_shape_that_the_library_gives(filled, tiny_memory):
    atom_id = id_of(filled, "Hall 4B")
    shown = json.loads(filled.pmem("get", atom_id, "--json").stdout)
    events = json.loads(filled.pmem("history", atom_id, "--json").stdout)["results"]
    with tiny_memory(path=filled.path / "memory") as memory:
        assert shown == memory.get(atom_id)
        assert events == memory.history(atom_id)


def test_list_is_cut_to_the_width_and_shows_whole_ids(filled, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    lines = filled.pmem("list").stdout.splitlines()
    assert max(map(len, lines)) <= 70
    assert all(any(atom["id"] in line for line in lines) for atom in atoms_of(filled))


def test_a_source_is_shown_by_list_as_delete_takes_it(world):
    folder = world.path / "notes" / "a_very_long_name_of_a_folder"
    folder.mkdir(parents=True)
    (folder / "tern.md").write_text("The Tern was launched in 2019.", encoding="utf-8")
    world.pmem("add", "notes")
    head, _, *lines = world.pmem("list").stdout.splitlines()
    column = slice(head.index("source"), head.index("atom"))
    source = "".join(line[column].strip() for line in lines)
    assert source == "notes/a_very_long_name_of_a_folder/tern.md"
    assert "deleted 1 atom" in world.pmem("delete", "--source", source).stdout


def test_list_says_that_there_is_more_and_goes_on_from_there(filled):
    first = json.loads(filled.pmem("list", "--limit", 3, "--json").stdout)
    rest = json.loads(filled.pmem("list", "--limit", 3, "--offset", 3, "--json").stdout)
    assert (first["more"], rest["more"]) == (True, False)
    assert [*first["results"], *rest["results"]] == atoms_of(filled)


def test_get_shows_where_the_atom_was_read(filled):
    result = filled.pmem("get", id_of(filled, "Hall 4B"))
    assert "docs/halls.md, characters 9–47" in result.stdout


def test_stats_count_documents_and_atoms(filled):
    found = json.loads(filled.pmem("stats", "--json").stdout)
    assert (found["documents"], found["atoms"]) == (2, 4)
    assert found["code_bytes"] > 0 and sum(found["kinds"].values()) == 4
    assert "documents" in filled.pmem("stats").stdout


def test_verify_exits_with_1_and_names_a_damaged_atom(filled):
    atom_id = id_of(filled, "Hall 4B")
    with sqlite3.connect(filled.path / "memory" / "store.db") as connection:
        connection.execute("UPDATE codes SET payload = x'00' WHERE atom_id = ?", [atom_id])
    result, report = filled.pmem("verify"), filled.pmem("verify", "--json")
    assert result.exit_code == report.exit_code == Exit.FAILED
    assert atom_id in result.stderr
    found = json.loads(report.stdout)
    assert not found["ok"] and any(atom_id in problem for problem in found["problems"])


# ---------------------------------------------------------------- delete, export


def test_a_deleted_atom_is_gone_and_its_history_says_so(filled):
    atom_id = id_of(filled, "Hall 4B")
    assert "deleted 1 atom" in filled.pmem("delete", atom_id).stdout
    assert filled.pmem("get", atom_id).exit_code == Exit.FAILED
    assert "DELETE" in filled.pmem("history", atom_id).stdout
    assert filled.pmem("verify").exit_code == 0


def test_deleting_a_source_deletes_all_of_it_and_nothing_else(filled):
    deleted = json.loads(filled.pmem("delete", "--source", "docs/halls.md", "--json").stdout)["deleted"]
    assert len(deleted) == 2
    assert {atom["source"] for atom in atoms_of(filled)} == {"docs/tern.txt"}


def test_deleting_what_nothing_matches_says_so_and_exits_with_1(filled):
    result = filled.pmem("delete", "--source", "halls.md", "--user-id", "anna")
    assert result.exit_code == Exit.FAILED and "deleted 0" not in result.stdout
    assert "no atom matches user_id=anna, source=halls.md" in result.stderr
    again = filled.pmem("delete", "--source", "halls.md", "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (Exit.FAILED, {"deleted": []})
    assert len(atoms_of(filled)) == 4


def test_deleting_one_unknown_id_among_others_deletes_nothing(filled):
    result = filled.pmem("delete", id_of(filled, "Hall 4B"), "0" * 32)
    assert result.exit_code == Exit.FAILED and "0" * 32 in result.stderr
    assert len(atoms_of(filled)) == 4


@pytest.mark.parametrize("words", [[], ["some-id", "--user-id", "anna"]], ids=["nothing", "both"])
def test_delete_wants_ids_or_filters(filled, words):
    assert filled.pmem("delete", *words).exit_code == Exit.USAGE
    assert len(atoms_of(filled)) == 4


def test_export_writes_a_folder_that_peft_knows(filled):
    result = filled.pmem("export", "tern", "--id", id_of(filled, "launched"))
    assert result.exit_code == 0, result.output
    assert (filled.path / "tern" / "adapter_config.json").is_file()
    assert filled.pmem("export", "keeper", "--question", KEEPER, "--json").exit_code == 0
    assert (filled.path / "keeper" / "adapter_model.safetensors").is_file()


def test_export_of_a_question_that_nothing_answers_writes_nothing(filled):
    assert filled.pmem("export", "out", "--question", UNKNOWN).exit_code == Exit.ABSTAINED
    assert not (filled.path / "out").exists()


@pytest.mark.parametrize("words", [[], ["--id", "x", "--question", "y?"]], ids=["neither", "both"])
def test_export_wants_an_id_or_a_question(filled, words):
    assert filled.pmem("export", "out", *words).exit_code == Exit.USAGE


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize("words", [["ask", KEEPER], ["explain", KEEPER], ["list"], ["stats"], ["verify"]], ids=" ".join)
def test_where_there_is_no_memory_none_is_made(world, words):
    result = world.pmem(*words, "--memory", "typo")
    assert result.exit_code == Exit.FAILED
    assert result.stderr.startswith("error: ") and "typo" in result.stderr and "Traceback" not in result.output
    assert not (world.path / "typo").exists()


def test_debug_lets_the_error_through(world):
    result = world.pmem("--debug", "list", "--memory", "typo")
    assert isinstance(result.exception, StoreNotFoundError)


@pytest.mark.parametrize(
    "words", [["ask", "  "], ["ask", KEEPER, "--mode", "magic"], ["list", "--filter", "year"], ["fly"]], ids=" ".join
)
def test_a_mistake_in_the_arguments_is_a_usage_error(filled, words):
    assert filled.pmem(*words).exit_code == Exit.USAGE


def test_every_mistake_of_a_config_is_told_at_once(filled):
    (filled.path / "pmem.toml").write_text('max_rank = "many"\n[routing]\nspeed = 1\n', encoding="utf-8")
    result = filled.pmem("list")
    assert result.exit_code == Exit.FAILED
    assert "max_rank" in result.stderr and "routing.speed" in result.stderr


def test_an_error_of_the_system_is_one_paragraph_too(filled):
    (filled.path / "file").touch()
    result = filled.pmem("export", "file/out", "--question", KEEPER)
    assert result.exit_code == Exit.FAILED
    assert "file" in result.stderr and "Traceback" not in result.output
