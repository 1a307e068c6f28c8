"""Probes on a tiny base model: what they ask and count; what the figures are worth needs the real one."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from itertools import combinations
from statistics import fmean
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.compilers.hypernetwork import HypernetworkCompiler
from parametric_memory.errors import ConfigError
from parametric_memory.evaluation import read_questions
from parametric_memory.evaluation.metrics import containment
from parametric_memory.evaluation.probes import CONTROLS, PROBES, World, run_probes
from parametric_memory.evaluation.probes.asking import ask, never_silent, with_atoms
from parametric_memory.evaluation.probes.counterfactual import never_trained
from parametric_memory.evaluation.probes.disagreeing import disagreements
from parametric_memory.evaluation.probes.findings import cell, render
from parametric_memory.evaluation.probes.length import window
from parametric_memory.evaluation.probes.paraphrases import FAMILIES, moved_preposition, subject_first, synonyms
from parametric_memory.evaluation.probes.ratios import difference, ratio
from parametric_memory.evaluation.probes.running import _settings
from parametric_memory.evaluation.probes.thrift import DeferredCompiler, RememberingKeys
from parametric_memory.evaluation.probes.two_hop import needs
from parametric_memory.evaluation.systems import SYSTEMS, Library, reading, scope
from parametric_memory.training.data import held_out

NAMES = ("Lorn", "Skerry", "Ebble", "Velden", "Tarn", "Ousel", "Brock", "Marl")
KEEPERS = ("Ada Moss", "Ben Rook", "Cleo Finch", "Dan Wren", "Eva Stone", "Finn Birch", "Gus Heath", "Hal Reed")


def harbour(number: int, *, title: bool = True) -> dict:
    """A document about one of some harbours, and a question about it."""
    name, keeper = NAMES[number], KEEPERS[number]
    text = f"The harbour of {name} opened in {1801 + number}. Its keeper is {keeper}. It has {number + 3} cranes."
    return {
        "doc_id": name, "title": name if title else "", "document": text,
        "question": f"Who is the keeper of {name}?", "answers": [keeper],
    }  # fmt: skip


def filler(number: int) -> dict:
    text = f"Bird number {number} nests in tree {number * 7}. It eats {number} worms. Its song is heard in May."
    return {
        "doc_id": f"bird-{number}",
        "document": text,
        "question": f"What does bird {number} eat?",
        "answers": ["worms"],
    }


def swapped() -> list[dict]:
    """Rows that training holds out, and as many that it does not."""
    made = [harbour(number % 8, title=False) | {"doc_id": str(number)} for number in range(400)]
    for number, row in enumerate(made):
        row["document"] += f" It is harbour number {number}."
    return [row for row in made if held_out(row["document"])] + [row for row in made if not held_out(row["document"])][
        :6
    ]


HOPS = [
    {
        "_id": name, "question": f"Where was the keeper of {name} born?", "answer": f"Town{number}",
        "supporting_facts": [[name, 0], [KEEPERS[number], 1]],
        "context": [
            ["Rain", ["Rain falls.", "It is wet."]],
            [name, [f"{name} is kept by {KEEPERS[number]}."]],
            [KEEPERS[number], [f"{KEEPERS[number]} is a keeper.", f"{KEEPERS[number]} was born in Town{number}."]],
        ],
    }
    for number, name in enumerate(NAMES[:3])
]  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """A folder with small sets under the names that probes look for."""
    folder = tmp_path / "data"
    folder.mkdir()
    sets = {
        "squad1.1.dev": [harbour(number) for number in range(6)],
        "birds.train": [filler(number) for number in range(40)],
        "nq_swap.train": swapped(),
    }
    for name, rows in sets.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    (folder / "hotpotqa.dev.json").write_text(json.dumps(HOPS), encoding="utf-8")
    return folder


@pytest.fixture
def probed(data, memory, tmp_path):
    return World(memory, data, tmp_path / "memories", limit=4, seed=1, lengths=(40, 120, 400), stored=(12, 30))


def rows_by(found, key):
    return {row[key]: row for row in found.rows}


# ---------------------------------------------------------------- all of them


def test_all_probes_write_what_they_found_and_one_page(data, tmp_path, open_memory):
    results = run_probes(
        [], data, out=tmp_path / "out", limit=3, seed=1, lengths=[100], stored=[12], open_memory=open_memory
    )
    assert list(results) == list(PROBES)
    page = (tmp_path / "out" / "probes.md").read_text(encoding="utf-8")
    for name, found in results.items():
        assert found == json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))
        assert found["rows"] and found["answers"] and f"## {name}\n" in page
        assert all(
            len(line.split(" | ")) == len(found["rows"][0])
            for line in page.split(f"## {name}\n")[1].split("## ")[0].splitlines()
            if line.startswith("| ")
        )


def test_a_probe_gives_the_same_twice_and_is_not_run_again(data, tmp_path, open_memory):
    def run(out, **more):
        names = ["disagreement", "paraphrase"]
        return run_probes(names, data, out=tmp_path / out, limit=3, open_memory=open_memory, **more)

    first = run("a")
    assert run("b") == first
    mark = tmp_path / "a" / "paraphrase.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"measured": "kept"}))
    assert run("a")["paraphrase"]["measured"] == "kept"
    assert run("a", seed=5)["paraphrase"]["measured"] != "kept"


def test_other_words_for_rag_or_other_data_of_the_same_size_are_other_settings(probed, data, monkeypatch):
    path = data / "birds.train.jsonl"
    before = _settings(probed)
    path.write_text(path.read_text(encoding="utf-8").replace("eats", "sees"), encoding="utf-8")
    changed = _settings(probed)
    assert {name for name in before if before[name] != changed[name]} == {"data"}
    assert [name for name in before["data"] if before["data"][name] != changed["data"][name]] == ["birds.train"]
    choice = Library(probed.parts).reading
    other = replace(choice, dense=replace(choice.dense, passages=1))
    monkeypatch.setattr(reading, "reading_choice", lambda *_: other)
    assert {name for name, told in _settings(probed).items() if told != changed[name]} == {"systems"}


def test_every_mistake_is_named_before_a_model_is_loaded(tmp_path):
    with pytest.raises(ConfigError) as caught:
        run_probes(["of_topic", "length", "length"], tmp_path / "none", out=tmp_path, limit=0, lengths=[0])
    message = str(caught.value)
    for part in (
        "unknown probe 'of_topic'; known are off_topic,",
        "'length' is named twice",
        "limit is 0",
        "is 0, exp",
    ):
        assert part in message
    assert "no folder of files" in message


def test_a_probe_without_questions_says_which_file_it_wants(probed, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"first choice is nq_swap\.train\.jsonl"):
        PROBES["counterfactual"](replace(probed, data=tmp_path / "empty"))


def test_off_topic_needs_a_second_set(probed, data):
    for path in data.iterdir():
        if path.name != "squad1.1.dev.jsonl":
            path.unlink()
    with pytest.raises(ConfigError, match="put a second set into"):
        PROBES["off_topic"](probed)
    with pytest.raises(ConfigError, match=r"nq_swap\.train"):
        PROBES["counterfactual"](probed)


def test_documents_around_others_are_of_other_sets_and_titles(probed, data):
    write = (data / "again.dev.jsonl").write_text
    write("".join(f"{json.dumps(harbour(number) | {'document': 'Other words.'})}\n" for number in range(8)))
    drawn = list(probed.filler(probed.questions("squad1.1.dev")))
    assert len({document.doc_id for document in drawn}) == len(drawn)
    asked = {question.title for question in probed.questions("squad1.1.dev")}
    assert not asked & {document.title for document in drawn}
    assert all(not document.doc_id.startswith("squad1.1.dev/") for document in drawn)
    assert sum(document.doc_id.startswith("again.dev/") for document in drawn) == 1  # their texts are all the same


# ---------------------------------------------------------------- one by one


def test_off_topic_leaves_alone_what_is_not_routed_and_changes_what_is_forced(probed):
    found = PROBES["off_topic"](probed)
    rows = rows_by(found, "arm")
    assert rows["off"]["unchanged"] == 1.0 and rows["off"]["injected"] == 0.0
    assert rows["off"]["right answer Δ nats"] == rows["off"]["own answer Δ nats"] == 0.0
    assert rows["forced"]["injected"] == 1.0 and rows["forced"]["unchanged"] < 1.0
    assert rows["forced"]["own answer Δ nats"] != 0.0
    forced = [answer for answer in found.answers if answer["arm"] == "forced"]
    assert {answer["atoms"] for answer in forced} == {4}


def test_where_a_memory_abstains_the_bare_base_model_answers(library, questions):
    lost = [replace(questions[0], question="Zzz qqq?")]
    silent, bare = (ask("", library, lost, SYSTEMS[name])[0] for name in ("atoms", "closed_book"))
    assert silent.prediction.abstained and silent.text == ""
    spoken = ask("", library, lost, never_silent(SYSTEMS["atoms"]))[0]
    assert (spoken.text, spoken.prediction.loglikelihood) == (bare.text, bare.prediction.loglikelihood)


def test_counterfactual_asks_only_of_documents_that_training_holds_out(probed):
    drawn = probed.questions("nq_swap.train", only=never_trained)
    assert drawn and all(held_out(question.document) for question in drawn)
    everything = read_questions(probed.data / "nq_swap.train.jsonl")
    assert any(not never_trained(question) for question in everything)
    found = rows_by(PROBES["counterfactual"](probed), "arm")
    assert set(found) >= {"closed_book", "in_context", "atoms", "atoms_oracle"}
    assert all(row["n"] == len(drawn) for row in found.values())


def test_documents_are_padded_to_their_length_and_keep_the_answer(probed, monkeypatch):
    seen = []
    ask_ = ask

    def spy(arm, library, questions, prepare):
        seen.extend((arm, question.doc_id, question) for question in questions)
        return ask_(arm, library, questions, prepare)

    monkeypatch.setattr("parametric_memory.evaluation.probes.length.ask", spy)
    rows = PROBES["length"](probed).rows
    count = probed.parts.backend.count_tokens
    for _, doc_id, question in seen:
        wanted = int(doc_id.rpartition("@")[2])
        assert question.answers[0] in question.document
        assert count(question.document) <= wanted + 4
        assert wanted == 40 or count(question.document) > 0.7 * wanted
    by = {(row["arm"], row["tokens"]): row for row in rows}
    assert by["in_context", 120]["F1"] is not None
    # 400 tokens, the words around them and an answer do not fit into the 512 of the tiny base model.
    assert window(probed.parts.backend) == 512 and by["in_context", 400]["F1"] is None
    assert by["atoms", 400]["n"] == 4


def test_memories_are_filled_to_the_size_that_was_asked_for(probed):
    found = PROBES["stored"](probed)
    rows = rows_by(found, "stored")
    assert list(rows) == ["own document", 12, 30]
    assert rows["own document"]["atoms"] == 3.0
    for size in (12, 30):
        # A document is added as a whole; the longest has eight atoms.
        assert size <= rows[size]["atoms"] < size + 8
    assert {row["n"] for row in rows.values()} == {4}
    assert rows["own document"]["recall@4"] == 1.0
    recalls = [rows[30][f"recall@{k}"] for k in (1, 2, 4, 8, 16)]
    assert recalls == sorted(recalls)


def test_two_hops_find_the_places_of_the_supporting_sentences(probed):
    found = PROBES["two_hop"](probed)
    rows = rows_by(found, "arm")
    assert {row["level"] for row in found.rows} == {"sentence"}
    assert rows["atoms, all needed"]["all covered"] == rows["in_context, all needed"]["all covered"] == 1.0
    assert rows["closed_book"]["all covered"] is None
    assert rows["atoms"]["any covered"] >= rows["atoms"]["all covered"]


def test_without_supports_titles_tell_the_needed_paragraphs_or_else_the_answer_does(library, questions):
    text = "Lorn\nLorn is a port.\n\nRain\nRain falls.\n\nSkerry\nSkerry is an isle."
    named = replace(questions[0], title="Lorn; Skerry", document=text)
    found = needs(named, library)
    assert found.level == "paragraph"
    assert [span.of(text).split("\n")[0] for span in found.spans] == ["Lorn", "Skerry"]
    [span] = needs(questions[0], library).spans
    assert needs(questions[0], library).level == "answer" and "green" in span.of(questions[0].document)


def test_paraphrases_are_compared_with_the_same_questions_as_they_are(probed):
    found = PROBES["paraphrase"](probed)
    rows = rows_by(found, "family")
    assert list(rows) == list(FAMILIES)
    assert rows["polite"]["n"] == rows["subject first"]["n"] == 4
    assert rows["moved preposition"] == {"family": "moved preposition", "n": 0}
    assert rows["bare"]["recall as it is"] > 0.0


def test_disagreement_tells_whose_value_was_said_and_cited(probed):
    found = PROBES["disagreement"](probed)
    for row in found.rows:
        assert row["says newer"] + row["says older"] + row["says both"] + row["says neither"] == pytest.approx(1.0)
    rows = rows_by(found, "arm")
    assert rows["closed_book"]["first cites newer"] is None
    assert 0.0 <= rows["atoms"]["first cites newer"] <= 1.0
    firsts = [a["first"].rpartition(", ")[2] == "newer" for a in found.answers if a["arm"] == "atoms" and a["first"]]
    assert fmean(firsts) >= rows["atoms"]["first cites newer"]


# ---------------------------------------------------------------- controls


@pytest.mark.parametrize("name", list(CONTROLS))
def test_a_control_injects_atoms_of_other_documents_only(library, questions, name):
    given = CONTROLS[name](library, questions)
    for question, one in zip(questions, given, strict=True):
        assert one.atoms and one.adapter is not None and not one.abstained
        assert question.doc_id not in {library.memory.store.get(atom).metadata["doc_id"] for atom in one.atoms}
    shuffled = list(reversed(questions))
    assert [one.atoms for one in CONTROLS[name](library, shuffled)] == [one.atoms for one in reversed(given)]


@pytest.mark.parametrize("name", list(CONTROLS))
def test_a_control_that_has_no_other_document_is_closed_book(library, questions, name):
    [given] = CONTROLS[name](library, questions[:1])
    assert given.adapter is None and given.atoms == ()


def test_a_shuffled_atom_is_gated_and_composed_as_the_right_one_is(library, questions):
    right = {one.atoms: one for one in SYSTEMS["atoms_oracle"](library, questions)}
    for question, one in zip(questions, CONTROLS["shuffled_atoms"](library, questions), strict=True):
        assert one.atoms in right
        expected = with_atoms(lambda lib, _q, ids=one.atoms: [lib.memory.store.get(i) for i in ids])(
            library, [question]
        )
        for target, factors in expected[0].adapter.factors.items():
            np.testing.assert_array_equal(factors.B.numpy(), one.adapter.factors[target].B.numpy())


# ---------------------------------------------------------------- thrift


def test_deferred_atoms_answer_as_compiled_ones_do(probed, questions):
    documents = list(probed.filler(questions))[:6]
    answers = []
    for deferred in (False, True):
        with probed.library(documents, deferred=deferred) as library:
            asked = [replace(questions[0], question=f"What does bird {n} eat?", answers=("worms",)) for n in range(6)]
            answers.append([(one.text, one.prediction.atoms) for one in ask("", library, asked, SYSTEMS["atoms"])])
    assert answers[0] == answers[1]
    assert any(atoms for _, atoms in answers[0])


def test_only_what_is_used_is_compiled(parts, memory):
    class Counting(HypernetworkCompiler):
        compiled = 0

        def compile(self, atoms):
            Counting.compiled += len(atoms)
            return super().compile(atoms)

    backend = parts["backend"]
    compiler = DeferredCompiler(
        Counting(backend.model, backend.tokenizer, parts["compiler"].checkpoint, fingerprint=backend.fingerprint)
    )
    atoms = memory.store.atoms(scope(SimpleNamespace(doc_id="port")))
    codes = compiler.compile(atoms)
    assert Counting.compiled == 0
    compiler.materialise(codes[:1])
    compiler.materialise(codes)
    assert Counting.compiled == len(atoms) == 3


def test_keys_are_encoded_once(parts):
    class Counting:
        name, dim, seen = "counting", 4, []

        def encode_atoms(self, statements):
            self.seen += statements
            return np.stack([np.eye(4, dtype=np.float32)[len(one) % 4] for one in statements])

    keys = RememberingKeys(Counting())
    first = keys.encode_atoms(["a", "bb", "a"])
    np.testing.assert_array_equal(keys.encode_atoms(["bb", "ccc"])[0], first[1])
    assert Counting.seen == ["a", "bb", "ccc"]
    assert keys.encode_atoms([]).shape == (0, 4)


# ---------------------------------------------------------------- wordings, disagreements, figures


def test_wordings_say_the_same():
    drawn = random.Random(0)
    assert subject_first("Who is the keeper of Hall 4B?", drawn) == "The keeper of Hall 4B is who?"
    assert subject_first("How many are there?", drawn) is None
    assert moved_preposition("In what year did it open?", drawn) == "What year did it open in?"
    assert moved_preposition("What year did it open in?", drawn) == "In what year did it open?"
    assert synonyms("What kind of film began it?", drawn) == "What type of movie started it?"
    assert synonyms("Who is it?", drawn) is None
    assert FAMILIES["bare"]("Who is O'Neil, then?", drawn) == "who is oneil then"
    assert FAMILIES["typo"]("Who is it?", drawn) is None


@given(st.sampled_from(list(FAMILIES)), st.integers(), st.text(st.characters(codec="ascii"), min_size=1))
def test_a_family_changes_a_question_or_leaves_it_out(name, seed, question):
    changed = FAMILIES[name](question, random.Random(seed))
    assert changed != question
    assert changed == FAMILIES[name](question, random.Random(seed))
    if name == "typo" and changed:
        assert sorted(changed) == sorted(question)


def test_disagreements_are_about_things_of_their_own_and_disagree():
    made = disagreements(300, seed=3)
    assert disagreements(300, seed=3) == made and disagreements(300, seed=4) != made
    assert len({one.question.question for one in made}) == 300
    for one in made:
        assert one.old != one.new
        assert containment(one.older.document, one.old) and containment(one.newer.document, one.new)
        assert not containment(one.older.document, one.new) and not containment(one.newer.document, one.old)
        assert re.sub(r"\W", "", one.older.document) != re.sub(r"\W", "", one.newer.document)
    ids = [document.doc_id for one in made for document in (one.older, one.newer)]
    assert len(set(ids)) == 600
    assert not any(a.question.doc_id == b.question.doc_id for a, b in combinations(made, 2))


def test_a_ratio_is_of_means_and_its_interval_of_whole_documents():
    plain, changed, groups = [0.5, 0.5, 1.0, 0.2], [0.25, 0.25, 0.5, 0.1], ["a", "a", "b", "c"]
    found = ratio(changed, plain, groups)
    assert [found.value, *found.interval] == pytest.approx([0.5] * 3)
    assert ratio([1.0, 0.0], [0.0, 0.0], ["a", "b"]).value is None
    assert ratio([1.0, 0.0], [1.0, 1.0], ["a", "a"]).interval is None
    spread = ratio([1.0, 0.0, 1.0, 0.5], [1.0, 1.0, 0.5, 1.0], "abcd", seed=2)
    assert spread.interval[0] < spread.value < spread.interval[1]


def test_a_difference_is_over_questions_that_have_both():
    found = difference([1.0, None, 2.0], [0.5, 1.0, 1.0], ["a", "b", "c"])
    assert found.value == 0.75 and found.interval[0] <= 0.75 <= found.interval[1]
    assert difference([None], [1.0], ["a"]).value is None


def test_figures_are_shown_as_they_are():
    assert [cell(value) for value in (None, 0.12345, (0.1, 0.2), 3, "x")] == ["–", "0.123", "0.100–0.200", "3", "x"]
    settings = {"base_model": "b", "compiler": "c", "seed": 0}
    page = render([{"probe": "p", "measured": "This.", "settings": settings, "rows": [{"a": 1}, {"a": 2, "b": 0.5}]}])
    assert (
        "## p\n\nThis. Base model `b`, compiler `c`, seed 0.\n\n| a | b |\n|---|---|\n| 1 | – |\n| 2 | 0.500 |" in page
    )
