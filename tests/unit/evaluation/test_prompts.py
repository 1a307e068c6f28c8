from __future__ import annotations

import json
from dataclasses import replace

import pytest

from parametric_memory.config import PromptConfig
from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.prompts import (
    CANDIDATES,
    SHIPPED,
    Shot,
    Wording,
    load_choice,
    reading_choice,
    shipped_choice,
    wording_from,
    wording_row,
)

SHOTS = [Shot("The sky is blue.", "Which colour is the sky?", "blue"), Shot("Ann sings.", "Who sings?", "Ann")]
ASKED = ("Who bakes?", ["Maud bakes.", "Bread is baked."])
[SHIPPED_FILE] = SHIPPED.glob("*.json")


def said(turns, role):
    return [turn["content"] for turn in turns if turn["role"] == role]


def test_the_librarys_wording_asks_as_the_library_does():
    prompt = PromptConfig()
    assert Wording.of(prompt).conversation(*ASKED) == prompt.conversation(*ASKED)


def test_a_wording_fills_in_its_places_and_opens_the_answer():
    wording = Wording(name="any", system="Be brief.", user="{question} <{passages}>", prefix="So:", joint=" | ")
    assert wording.conversation(*ASKED) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who bakes? <Maud bakes. | Bread is baked.>"},
        {"role": "assistant", "content": "So:"},
    ]
    bare = replace(wording, system=None, prefix="")
    assert [turn["role"] for turn in bare.conversation(*ASKED)] == ["user"]


def test_braces_of_a_passage_are_text():
    [shown] = said(Wording(name="any").conversation("{question}?", ["{passages} {0}"]), "user")
    assert shown == "Passage: {passages} {0}\nQuestion: {question}?"


def test_examples_are_turns_of_their_own_or_stand_in_the_same_prompt():
    wording = Wording(name="any", user="{passages} {question}", prefix="A:")
    turns = wording.with_shots(SHOTS).conversation(*ASKED)
    assert said(turns, "user") == [
        "The sky is blue. Which colour is the sky?",
        "Ann sings. Who sings?",
        "Maud bakes. Bread is baked. Who bakes?",
    ]
    assert said(turns, "assistant") == ["A: blue", "A: Ann", "A:"]
    inline = wording.with_shots(SHOTS, inline=True).conversation(*ASKED)
    assert inline == [
        {
            "role": "user",
            "content": "The sky is blue. Which colour is the sky?\nA: blue\n\nAnn sings. Who sings?\nA: Ann\n\n"
            "Maud bakes. Bread is baked. Who bakes?",
        },
        {"role": "assistant", "content": "A:"},
    ]


@pytest.mark.parametrize("user", ["{passages}", "{question}", "{passages} {question} {more}", "{passages {question}"])
def test_a_users_turn_needs_both_places_and_no_other(user):
    with pytest.raises(ValueError, match="any"):
        Wording(name="any", user=user)


def test_candidates_have_names_of_their_own_and_ask_differently():
    assert len(CANDIDATES) >= 8
    assert len({wording.name for wording in CANDIDATES} | {"library"}) == len(CANDIDATES) + 1
    asked = {json.dumps(wording.conversation(*ASKED)) for wording in (*CANDIDATES, Wording.of(PromptConfig()))}
    assert len(asked) == len(CANDIDATES) + 1


def test_a_wording_survives_being_written():
    for wording in (*CANDIDATES, CANDIDATES[0].with_shots(SHOTS, inline=True)):
        assert wording_from(json.loads(json.dumps(wording_row(wording)))) == wording


def test_a_base_without_a_choice_gets_the_librarys_prompt(caplog):
    caplog.set_level("INFO")
    choice = reading_choice("another", PromptConfig(prefix="A:"))
    assert choice.zero_shot == choice.few_shot == choice.dense.wording == Wording.of(PromptConfig(prefix="A:"))
    assert "another" in caplog.text and shipped_choice("another") is None


def test_the_shipped_choice_is_what_its_table_says_is_best():
    file = json.loads(SHIPPED_FILE.read_text(encoding="utf-8"))
    choice = load_choice(SHIPPED_FILE)
    assert shipped_choice(file["base_fingerprint"]) == SHIPPED_FILE

    def best(shown, with_shots=(False, True)):
        rows = [row for row in file["table"] if row["shown"] == shown and ("+" in row["wording"]) in with_shots]
        most = max(row["questions"] for row in rows)
        return max((row for row in rows if row["questions"] == most), key=lambda row: row["f1"])

    assert choice.zero_shot.name == best("gold", [False])["wording"]
    assert choice.few_shot.name == best("gold", [True])["wording"]
    for kind, rag in (("bm25", choice.bm25), ("dense", choice.dense), ("reader", choice.reader)):
        row = best(kind)
        assert (rag.wording.name, rag.chunk_chars, rag.passages) == (
            row["wording"],
            row["chunk_chars"],
            row["passages"],
        )
    assert not choice.zero_shot.shots and choice.few_shot.shots


def test_a_choice_made_without_a_reader_shows_it_what_the_base_model_reads(tmp_path):
    file = json.loads(SHIPPED_FILE.read_text(encoding="utf-8"))
    file["chosen"].pop("reader", None)
    (tmp_path / "older.json").write_text(json.dumps(file), encoding="utf-8")
    choice = load_choice(tmp_path / "older.json")
    assert choice.reader == choice.dense == load_choice(SHIPPED_FILE).dense


def test_only_training_files_were_read_for_the_shipped_choice():
    file = json.loads(SHIPPED_FILE.read_text(encoding="utf-8"))
    assert all(".train" in name for name in [*file["questions"], file["shots_from"]])


@pytest.mark.parametrize("broken", ["{", "{}", '{"format": 99}', '{"format": 1, "wordings": [], "chosen": {}}'])
def test_a_broken_choice_says_which_file(tmp_path, broken):
    path = tmp_path / "broken.json"
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.json"):
        load_choice(path)
    with pytest.raises(ConfigError, match=r"missing\.json"):
        load_choice(tmp_path / "missing.json")
