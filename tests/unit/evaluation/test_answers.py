from __future__ import annotations

import json

import pytest

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.answers import AnswerFile


def signing(**of_system):
    return lambda dataset, system, _: of_system.get(system) if dataset == "d" else None


SETTINGS = signing(s="h", t="h")


def row(number, *, dataset="d", system="s", **more):
    return {"dataset": dataset, "system": system, "id": str(number), "prediction": "caf\u2028é", **more}


def test_answers_are_there_again_in_the_next_run(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, signature=SETTINGS).append([row(1), row(2)])
    AnswerFile(path, signature=SETTINGS).append([row(1, system="t")])
    again = AnswerFile(path, signature=SETTINGS)
    assert again.of("d", "s") == {"1": row(1, settings="h"), "2": row(2, settings="h")}
    assert list(again.of("d", "t")) == ["1"]
    assert again.of("e", "s") == {}


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_dropped_and_written_again(tmp_path, cut):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, signature=SETTINGS).append([row(1), row(2)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    again = AnswerFile(path, signature=SETTINGS)
    assert list(again.of("d", "s")) == ["1"]
    again.append([row(2)])
    assert path.read_bytes() == whole


def test_answers_of_other_settings_move_aside_and_other_datasets_stay(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, signature=lambda *_: "old").append([row(1), row(2, dataset="e")])
    again = AnswerFile(path, signature=signing(s="new"))
    assert again.of("d", "s") == {}
    assert json.loads(path.read_text()) == row(2, dataset="e", settings="old")
    assert json.loads((tmp_path / "answers.earlier.jsonl").read_text()) == row(1, settings="old")


def test_answers_of_other_settings_of_one_system_move_aside_and_other_systems_stay(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, signature=SETTINGS).append([row(1), row(1, system="t")])
    again = AnswerFile(path, signature=signing(s="h", t="new"))
    assert list(again.of("d", "s")) == ["1"]
    assert again.of("d", "t") == {}


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"name": "x"}\n')
    with pytest.raises(UnreadableDocumentError, match=r"answers\.jsonl, line 1"):
        AnswerFile(path, signature=SETTINGS)
    assert path.read_text() == '{"name": "x"}\n'


def test_a_question_may_have_a_signature_of_its_own(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, signature=lambda _, __, question: question).append([row(1), row(2)])
    again = AnswerFile(path, signature=lambda _, __, question: "1")
    assert list(again.of("d", "s")) == ["1"]
