"""Plots, pages and the verdict."""

from __future__ import annotations

import builtins
import json
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from evaluation_rows import STRENGTHS, rows_of, write_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from parametric_memory.errors import MissingDependencyError, UnreadableDocumentError
from parametric_memory.evaluation.report import figures, plots
from parametric_memory.evaluation.report.curves import curves_by_length, curves_of, curves_of_recall
from parametric_memory.evaluation.report.legend import KNOWN, entry, in_order, is_given
from parametric_memory.evaluation.report.markdown import notes
from parametric_memory.evaluation.report.pages import fill, write_benchmarks, write_reports
from parametric_memory.evaluation.report.results import read_results
from parametric_memory.evaluation.report.sections import SECTIONS, Material
from parametric_memory.evaluation.report.verdict import comparisons, decisive, verdict
from parametric_memory.evaluation.systems import SYSTEMS, Place
from parametric_memory.types import Span

PUBLISHED = {
    "sources": {"Paper": "https://example.org/paper"},
    "sets": {"source": "Paper", "what": "F1", "rows": [{"set": "S", "theirs": 0.5, "in_context": 0.8, "ours": "one"}]},
    "others": [{"source": "Paper", "what": "bytes", "theirs": "9,400", "ours": "bytes"}],
    "comparable": ["this"],
    "not_comparable": ["that"],
}
STORED = {
    "probe": "stored",
    "measured": "Ten questions.",
    "rows": [{"atoms": n, "F1": 1 / n, "95 %": [0.0, 1.0]} for n in (1, 10, 100)],
    "answers": [{"question": "Who sees this?"}],
}
LENGTH = {
    "probe": "length",
    "measured": "Padded.",
    "rows": [{"arm": arm, "tokens": n, "F1": f1} for arm, f1 in (("atoms", 0.4), ("rag_dense", 0.3)) for n in (9, 99)],
}
TWO_HOP = {"probe": "two_hop", "measured": "Two steps.", "rows": [{"arm": "atoms", "F1": 0.125}]}
NIAH = {
    "probe": "niah",
    "measured": "Needles.",
    "rows": [
        {"arm": arm, "tokens": n, "found": 0.5, "at 0%": 1.0, "at 100%": None if n > 100 else 0.0}
        for arm in ("in_context", "atoms")
        for n in (100, 1000)
    ],
}
DISTILLATION = {
    f"distillation, {s} steps": {"f1": 0.1 * s, "f1_interval": [0.0, 0.5], "seconds_per_atom": s, "answers": ["x"]}
    for s in (1, 2, 4)
} | {"in_context": {"f1": 0.25, "seconds_per_atom": None, "nll": 2.5}}
BENCH = {
    "parts": {
        "stages": {
            "command": "pmem bench --data /home/someone/x.jsonl --out b",
            "machine": {"platform": "somebox", "cores": 2},
            "systems": {"ask": {"stages": {"prefill": {"p50": 4.0}, "decode": {"p50": 9.0}, "total": {"p50": 13.0}}}},
            "ratios": {"ask/rag": {"p50": 0.5}},
        },
        "bytes": {"per_token": {"codes": 200.0, "keys": 50.0, "total": 300.0}, "kv_cache_per_token": 46080},
        "threads": {
            "command": "pmem bench --data /home/someone/x.jsonl --out b --parts threads",
            "questions": 5,
            "rounds": 2,
            "torch_threads": 1,
            "different": 0,
            "asks_per_second": {"1": {"p50": 3.0, "p25": 2.0, "p75": 4.0}},
            "speedup": {"1": {"p50": 1.0}},
        },
    },
    "aims": [{"measure": "ask ÷ RAG", "value": 0.7, "aim": 0.5, "met": False}],
}


@pytest.fixture(scope="module")
def results():
    rows = rows_of("one")
    ms = {name: [10.0, 20.0] for name in rows}
    return {"one": figures(rows, ms), "two": figures(rows_of("two", count=20), {})}


@pytest.fixture
def docs(tmp_path):
    """A folder with a page of all sections, and files of others and of probes."""
    folder = tmp_path / "docs"
    folder.mkdir()
    page = "".join(f"## {name}\n\nWritten by hand.\n\n<!-- {name} -->\n<!-- /{name} -->\n\n" for name in SECTIONS)
    (folder / "index.md").write_text(f"# Benchmarks\n\n{page}", encoding="utf-8")
    probes = {"stored": STORED, "length": LENGTH, "two_hop": TWO_HOP, "niah": NIAH}
    files = {"published": PUBLISHED, "probes": probes, "distillation": DISTILLATION, "bench": BENCH}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", {"one": rows_of("one"), "two": rows_of("two", count=20)})


def texts_of(path) -> set[str]:
    """Return the texts of an SVG, which is valid XML."""
    return {
        "".join(node.itertext()).strip() for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    }


# ---------------------------------------------------------------- plots


def test_every_system_is_named_in_the_pictures_that_show_it(results, tmp_path):
    assert texts_of(plots.f1_by_set(results, tmp_path / "f1.svg")) >= {*STRENGTHS, "one", "two"}
    assert texts_of(plots.against_rag(results, ["atoms"], tmp_path / "against.svg")) >= {"atoms"}
    recall = texts_of(plots.recall_by_k(curves_of_recall(results), tmp_path / "recall.svg"))
    assert recall >= set(STRENGTHS) - {"closed_book"}
    assert texts_of(plots.refusal(results["one"], tmp_path / "refusal.svg")) >= {"atoms"}
    unit, curves = curves_by_length(results)
    assert texts_of(plots.curve_plot(curves, tmp_path / "length.svg", x=unit)) >= {*STRENGTHS, "chars"}
    assert texts_of(plots.latency(BENCH["parts"]["stages"]["systems"], tmp_path / "l.svg")) >= {"ask", "decode"}
    assert texts_of(plots.bytes_against_f1({"atoms": (300.0, 0.2)}, tmp_path / "b.svg")) >= {"atoms"}


def test_a_picture_may_be_a_png_and_is_the_same_each_time(results, tmp_path):
    for name in ("f1.png", "f1.svg"):
        first = plots.f1_by_set(results, tmp_path / name).read_bytes()
        assert plots.f1_by_set(results, tmp_path / name).read_bytes() == first
    with Image.open(tmp_path / "f1.png") as picture:
        assert picture.format == "PNG"
        # Transparent, for pages of any colour, but not empty.
        assert picture.getpixel((0, 0))[3] == 0
        assert picture.getextrema()[3][1] == 255


def test_no_panel_cuts_off_what_another_one_shows(tmp_path, monkeypatch):
    ends = []
    real = plots._dots

    def seen(panel, estimates):
        real(panel, estimates)
        ends.append(panel)

    monkeypatch.setattr(plots, "_dots", seen)
    low, high = ({"systems": {"atoms": {"f1": f1, "intervals": {"f1": [0.0, f1 + 0.1]}}}} for f1 in (0.1, 0.8))
    plots.f1_by_set({"low": low, "high": high}, tmp_path / "f1.svg")
    assert all(panel.get_xlim()[1] > 0.9 for panel in ends)


def test_without_matplotlib_the_error_names_the_extra(results, tmp_path, monkeypatch):
    real = builtins.__import__

    def no_matplotlib(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(MissingDependencyError, match=r"parametric-memory\[eval\]"):
        plots.f1_by_set(results, tmp_path / "f1.svg")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_are_moved_apart_and_stay_in_order(values):
    moved = plots.apart(values, gap=0.1, within=(0.0, 1.5))
    order = sorted(range(len(values)), key=lambda place: values[place])
    steps = [moved[b] - moved[a] for a, b in pairwise(order)]
    assert all(step >= 0.1 - 1e-6 for step in steps)
    assert min(moved) >= -1e-9
    assert max(moved) <= 1.5 + 1e-9


def test_labels_that_are_far_apart_stay_where_they_are():
    assert plots.apart([0.9, 0.1, 0.5], gap=0.1) == [0.9, 0.1, 0.5]


@given(st.sampled_from([*KNOWN]) | st.text(min_size=1))
def test_a_system_has_one_colour_whatever_stands_beside_it(name):
    assert entry(name) == entry(name)
    assert re.fullmatch("#[0-9a-f]{6}", entry(name).colour)
    assert in_order([name, "atoms"]).index(name) <= 1


def test_a_system_is_given_the_gold_sentence_or_finds_what_it_answers_from():
    found = {"closed_book", "atoms", "atoms_or_base", "hybrid", "hybrid_unsure", "extract", "document"}
    rag = {"rag_bm25", "rag_dense", "rag_dense_64", "rag_reader"}
    assert {name for name in SYSTEMS if not is_given(name)} == found | rag | {"document_whole"}
    assert not is_given("mystery_oracle")


def test_points_are_read_as_probes_and_distillation_write_them():
    curves = curves_of(STORED, x="atoms") | curves_of(DISTILLATION, x="seconds_per_atom")
    assert curves["atoms"].x == [1.0, 10.0, 100.0]
    assert curves["atoms"].intervals == [[0.0, 1.0]] * 3
    assert curves["distillation"].at(4.0) == pytest.approx(0.4)
    assert set(curves) == {"atoms", "distillation"}
    assert set(curves_of(LENGTH, x="tokens")) == {"atoms", "rag_dense"}
    assert curves_of({}, x="atoms") == {}


# ---------------------------------------------------------------- the verdict


def compared(mean: float, p: float = 0.01) -> dict:
    return {"mean": mean, "interval": [mean - 0.05, mean + 0.05], "p": p, "won": 0, "tied": 0, "lost": 0, "n": 9}


def world(**against) -> dict:
    """Return a set on which `atoms` differ from RAG arms by so much."""
    arms = {arm: {"f1": 0.3, "knowledge_tokens": 140.0} for arm in against}
    atoms = {"f1": 0.4, "knowledge_tokens": 0.0, "against": {arm: {"f1": one} for arm, one in against.items()}}
    return {"datasets": {"one": {"rag": "rag_dense", "systems": {"atoms": atoms, **arms}}}}


def test_atoms_win_only_against_every_rag_arm():
    said = verdict(world(rag_dense=compared(0.2), rag_reader=compared(0.1)))
    assert "wins today against `atoms`**: clearly in 0 of 1" in said
    assert "clearly better than every RAG arm in 1" in said
    assert "`one` +0.10 [+0.05, +0.15] against `rag_reader`" in said
    assert "`atoms` puts 0 tokens of knowledge into the prompt" in said


def test_rag_wins_if_one_arm_is_clearly_better():
    said = verdict(world(rag_dense=compared(0.2), rag_reader=compared(-0.1)))
    assert "wins today against `atoms`**: clearly in 1 of 1" in said
    assert "`one` −0.10 [−0.15, −0.05] against `rag_reader`" in said


def test_what_is_not_sure_is_undecided():
    for unsure in (compared(0.01), compared(0.2, p=0.2)):
        assert "**Undecided**: 1." in verdict(world(rag_dense=unsure))


def test_a_run_without_a_reader_admits_that_style_is_part_of_a_lead():
    assert "style, not knowledge" in verdict(world(rag_dense=compared(0.2)))
    assert "style, not knowledge" not in verdict(world(rag_reader=compared(0.2)))


def test_the_verdict_says_what_the_figures_say(results):
    for one in decisive(list(comparisons(results, "atoms"))):
        arms = results[one.dataset]["systems"]["atoms"]["against"]
        assert one.mean == arms[one.arm][one.measure]["mean"]
        if one.clear > 0:
            assert all(arm[one.measure]["interval"][0] > 0 for arm in arms.values())
    assert verdict({"datasets": {"one": {"systems": {"closed_book": {"f1": 0.0}}}}}) == ""


# ---------------------------------------------------------------- pages


def test_the_benchmarks_page_is_the_same_however_often_it_is_made(run, docs, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Us\n\n<!-- figures -->\nold\n<!-- /figures -->\n\nAfter.\n", encoding="utf-8")
    write_benchmarks(read_results([run]), docs, readme=readme)
    first = {path.name: path.read_bytes() for path in docs.iterdir()} | {"README": readme.read_bytes()}
    # From the JSON that was kept, too.
    write_benchmarks(read_results([run]), docs, readme=readme)
    assert {path.name: path.read_bytes() for path in docs.iterdir()} | {"README": readme.read_bytes()} == first
    kept = docs / "results.json"
    write_benchmarks(read_results([kept]), docs, readme=readme, sources=[kept])
    assert {path.name: path.read_bytes() for path in docs.iterdir()} | {"README": readme.read_bytes()} == first
    assert b"old" not in first["README"] and b"After." in first["README"]


def test_the_benchmarks_page_has_every_section_and_names_no_machine(run, docs):
    write_benchmarks(read_results([run]), docs)
    page = (docs / "index.md").read_text(encoding="utf-8")
    assert page.count("Written by hand.") == len(SECTIONS)
    assert "Not measured" not in page
    for name in STRENGTHS:
        assert f"| `{name}` |" in page
    for picture in re.findall(r"\]\((\w+\.svg)\)", page):
        ElementTree.parse(docs / picture)
    assert "| `atoms` | 300 |" in page and "9,400" in page and "| atoms | 0.125 |" in page
    assert "| ask ÷ RAG | 0.7 | ≤ 0.5 | no |" in page and "5 questions, 2 rounds" in page
    everything = "".join(path.read_text(encoding="utf-8") for path in docs.iterdir() if path.suffix in {".md", ".json"})
    assert not any(told in everything for told in ("someone", "somebox", "/home/", "Who sees"))


def section(name, folder, *, bench, **settings):
    """Return a section of a page of one run of these settings and one bench."""
    run = write_run(folder / "run", {"one": rows_of("one")}, **settings)
    return SECTIONS[name](Material(read_results([run]), extras={"bench": bench}), folder)


def test_the_bytes_of_rag_are_those_of_its_chunks_or_else_at_most_so_many(tmp_path):
    measured = {"parts": {"bytes": {**BENCH["parts"]["bytes"], "rag_per_token": {"rag_bm25": 4.6, "rag_dense": 20.0}}}}
    older, newer = tmp_path / "older", tmp_path / "newer"
    bounded, exact = section("bytes", older, bench=BENCH), section("bytes", newer, bench=measured)
    assert "| `rag_bm25` | at most 100 |" in bounded and "| `atoms` | 300 |" in bounded
    assert "rag_dense (at most)" in texts_of(older / "bytes.svg")
    assert "| `rag_bm25` | 5 |" in exact and "| `rag_dense` | 20 |" in exact and "at most" not in exact
    assert "rag_dense" in texts_of(newer / "bytes.svg")


@pytest.mark.parametrize("run_of", [{"compiler": "c:2", "token_router": "t:1"}, {"compiler": "c:1"}])
def test_a_part_of_a_bench_names_its_checkpoint_and_says_if_it_is_another_one(tmp_path, run_of):
    used = {"compiler": "c:1", "token_router": "t:1"}
    bench = {"parts": {"threads": {**BENCH["parts"]["threads"], **used}}}
    named = "--parts threads`, compiler `c:1`, token router `t:1`"
    assert f"{named}, of another checkpoint than the tables above." in section(
        "costs", tmp_path / "other", bench=bench, **run_of
    )
    assert f"{named}." in section("costs", tmp_path / "same", bench=bench, **used)
    assert "checkpoint" not in section("costs", tmp_path / "older", bench=BENCH, **used)


def test_the_notes_say_that_a_chunk_counts_only_if_it_holds_the_whole_sentence():
    sentence, chunk = Place("d", Span(10, 60)), Place("d", Span(0, 50))
    assert not chunk.covers(sentence) and Place("d", Span(0, 60)).covers(sentence)
    told = " ".join(notes().split())
    assert "lies whole in one of the first k places" in told and "easier to hit" not in told


def test_what_was_not_measured_is_said(run, docs):
    for name in ("probes", "bench", "distillation"):
        (docs / f"{name}.json").unlink()
    write_benchmarks(read_results([run]), docs)
    page = (docs / "index.md").read_text(encoding="utf-8")
    assert page.count("Not measured in these runs.") == 8


def test_the_files_of_probes_are_taken_from_their_folder(run, docs, tmp_path):
    folder = tmp_path / "probes"
    folder.mkdir()
    (docs / "probes.json").unlink()
    for found in (STORED, TWO_HOP):
        (folder / f"{found['probe']}.json").write_text(json.dumps(found), encoding="utf-8")
    (folder / "other.json").write_text("{}", encoding="utf-8")
    write_benchmarks(read_results([run]), docs, extras={"probes": folder})
    assert set(json.loads((docs / "probes.json").read_text())) == {"stored", "two_hop"}
    assert "Two steps." in (docs / "index.md").read_text(encoding="utf-8")


def test_several_settings_stand_beside_one_another(run, docs, tmp_path):
    corpus = write_run(tmp_path / "corpus", {"one": rows_of("one")}, setting="corpus")
    write_benchmarks(read_results([run, corpus]), docs)
    page = (docs / "index.md").read_text(encoding="utf-8")
    assert "**Own document** (`one`, `two`)" in page and "**Whole corpus** (`one`)" in page
    assert (docs / "f1.svg").exists() and (docs / "f1_corpus.svg").exists()


def test_a_page_without_sections_is_an_error_that_shows_one(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Nothing here.", encoding="utf-8")
    with pytest.raises(UnreadableDocumentError, match="<!-- figures -->…<!-- /figures -->"):
        fill(page, {"figures": "x"})


def test_reports_are_numbered_from_the_second_setting_on(run, tmp_path):
    corpus = write_run(tmp_path / "corpus", {"one": rows_of("one")}, setting="corpus")
    written = write_reports(read_results([run, corpus]), tmp_path / "out")
    assert [path.name for path in written] == ["report.md", "results.json", "report_2.md", "results_2.json"]
    assert "questions asked of all documents of the set" in written[2].read_text(encoding="utf-8")
