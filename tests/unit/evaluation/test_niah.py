"""Needles in haystacks: what a haystack is whatever its numbers, and that the probe asks, keeps and draws."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parametric_memory.evaluation.probes import World, niah, run_probes
from parametric_memory.evaluation.probes.haystack import ARRANGEMENTS, DEPTHS, KINDS, OTHERS, haystack, noise
from parametric_memory.evaluation.report.curves import maps_of
from parametric_memory.evaluation.systems import Library, reading


def words(text):
    return len(text.split())


def made(tokens=400, number=0, seed=0):
    return haystack(tokens, seed=seed, number=number, count_tokens=words)


numbers = st.integers(0, 500)


@settings(max_examples=60, deadline=None)
@given(number=numbers, seed=st.integers(0, 9), tokens=st.integers(1, 3000))
def test_the_needle_stands_once_where_its_span_says_and_so_does_its_answer(number, seed, tokens):
    hay = made(tokens, number, seed)
    needle = hay.needles[0]
    assert hay.span.of(hay.text) == needle.statement
    assert hay.text.count(needle.statement) == hay.text.count(needle.answer) == 1
    assert needle.answer in needle.statement and needle.place in needle.question
    assert needle.answer not in needle.question


@settings(max_examples=30, deadline=None)
@given(number=numbers)
def test_the_needle_lies_at_its_depth(number):
    assert made(3000, number).depth == pytest.approx(DEPTHS[number % 10], abs=0.03)


@settings(max_examples=30, deadline=None)
@given(number=numbers, tokens=st.integers(120, 2000))
def test_a_haystack_is_as_long_as_it_is_to_be(number, tokens):
    assert tokens - 30 < words(made(tokens, number).text) <= tokens


def test_depths_kinds_and_arrangements_take_turns():
    hays = [made(400, number) for number in range(240)]
    kinds = {(number % 10, hay.needles[0].kind) for number, hay in enumerate(hays)}
    assert kinds == {(depth, kind) for depth in range(10) for kind in KINDS}
    assert {len(hay.needles) - 1 for hay in hays} == set(OTHERS.values()) and len(ARRANGEMENTS) == 3


def test_look_alikes_differ_in_whom_they_are_about_and_others_in_kind():
    for number in range(40):
        hay = made(400, number)
        others = hay.needles[1:]
        assert all(other.statement in hay.text for other in others)
        assert len({needle.place for needle in hay.needles}) == len({n.answer for n in hay.needles}) == len(hay.needles)
        kinds = {other.kind for other in others}
        if len(others) == OTHERS["look-alikes"]:
            assert kinds == {hay.needles[0].kind}
        elif others:
            assert len(kinds) == len(others) and hay.needles[0].kind not in kinds


def test_the_same_seed_gives_the_same_haystack_and_another_one_another():
    assert made(number=7) == made(number=7)
    assert made(number=7).text != made(number=7, seed=1).text
    lines = noise(3)
    assert [next(lines) for _ in range(5)] == [next(again) for again in [noise(3)] for _ in range(5)]


def test_noise_says_nothing_that_a_question_could_be_about():
    lines = noise(0)
    text = " ".join(next(lines) for _ in range(2000))
    assert not any(character.isdigit() for character in text)
    capitals = {word for sentence in text.split(". ") for word in sentence.split()[1:] if word[0].isupper()}
    assert not capitals


# ---------------------------------------------------------------- the probe


@pytest.fixture
def probed(memory, tmp_path):
    return World(memory, None, tmp_path / "memories", limit=10, seed=1, lengths=(200, 900), out=tmp_path / "out")


def test_every_arm_is_asked_at_every_length_it_can_read(probed):
    found = niah.niah(probed)
    rows = {(row["arm"], row["tokens"]): row for row in found.rows}
    assert set(rows) == {(arm, tokens) for arm in ("in_context", "rag_dense", "atoms") for tokens in (200, 900)}
    assert rows["in_context", 200]["n"] == 10 and rows["in_context", 900]["n"] == 0, "the window holds 512 tokens"
    assert rows["atoms", 900]["n"] == 10 and rows["atoms", 900]["ms"] > 0 and rows["atoms", 900]["add s"] > 0
    assert "no document compiler" in found.measured
    cells = maps_of(found.rows)["atoms"]
    assert len(cells) == 20 and {depth for _, depth in cells} == {round(depth, 2) for depth in DEPTHS}
    told = {(row["tokens"], row["depth"]): row["found"] for row in found.answers if row["system"] == "atoms"}
    assert cells == told, "ten haystacks are one a depth"


def test_a_probe_that_was_stopped_asks_only_what_is_missing(probed, monkeypatch):
    found = niah.niah(probed)
    path = probed.out / "niah.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-3]) + "\n" + lines[-1][:20])
    asked, answer = [], niah._answer
    monkeypatch.setattr(niah, "_answer", lambda library, arm, straw: asked.append(straw) or answer(library, arm, straw))
    again = niah.niah(probed)
    assert len(asked) == 3
    told = [[row["found"] for row in each.answers] for each in (found, again)]
    assert told[0] == told[1]


def test_answers_hold_for_their_own_parts_and_choices_alone(probed, monkeypatch):
    def asked():
        return {arm: niah._settings(probed, None, arm) for arm in ("in_context", "rag_dense", "atoms")}

    before = asked()
    choice = Library(probed.parts).reading
    other = replace(choice, dense=replace(choice.dense, passages=1))
    monkeypatch.setattr(reading, "reading_choice", lambda *_: other)
    assert [arm for arm, told in asked().items() if told != before[arm]] == ["rag_dense"]
    config = probed.parts.config
    probed.parts.config = replace(config, ingest=replace(config.ingest, max_atom_chars=50))
    assert all(told != before[arm] for arm, told in asked().items())


def test_the_probe_runs_without_data_and_draws_its_picture(open_memory, tmp_path):
    run = run_probes(["niah"], out=tmp_path, limit=10, seed=1, lengths=[150], open_memory=open_memory)
    assert json.loads((tmp_path / "niah.json").read_text()) == run["niah"]
    assert "![niah](niah.svg)" in (tmp_path / "probes.md").read_text()
    assert "in_context" in (tmp_path / "niah.svg").read_text()
