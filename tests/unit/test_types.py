"""The nouns: identities, spans, and that records cannot be changed."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory import types
from parametric_memory.types import (
    SCOPE_KEYS,
    Answer,
    Atom,
    AtomKind,
    Citation,
    Document,
    Route,
    RoutedAtom,
    Span,
    Usage,
    stable_id,
)

RECORDS = [kind for _, kind in inspect.getmembers(types, dataclasses.is_dataclass) if kind.__module__ == types.__name__]
spans = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted).map(lambda ends: Span(*ends))


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_is_frozen_and_slotted(kind):
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)


@given(st.lists(st.text(), min_size=1))
def test_a_stable_id_depends_on_the_parts_alone(parts):
    assert stable_id(*parts) == stable_id(*parts)
    assert len(stable_id(*parts)) == 32
    assert stable_id(*parts) != stable_id(*parts, "more")


def test_a_stable_id_is_the_same_in_every_release():
    # Stores hold these ids: another value means that every document would be added twice.
    assert stable_id("handbook.md", "user_id=anna") == "4549e143d5f0d31d8f1be314bf0e3a60"


def test_parts_of_a_stable_id_do_not_run_together():
    assert stable_id("ab", "c") != stable_id("a", "bc")


@given(st.text(), spans)
def test_a_span_cuts_as_a_slice_does(text, span):
    assert span.of(text) == text[span.start : span.end]


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (-2, -1)])
def test_a_span_that_runs_backwards_or_from_before_the_text_is_refused(start, end):
    with pytest.raises(ValueError, match=f"got {start}..{end}"):
        Span(start, end)


def test_a_document_is_the_same_when_its_source_is():
    assert Document.of("old text", source="a.md").id == Document.of("new text", source="a.md").id
    assert Document.of("text", source="a.md").id != Document.of("text", source="b.md").id


def test_a_document_without_a_source_is_the_same_when_its_text_is():
    assert Document.of("text").id == Document.of("text", title="a title").id
    assert Document.of("text").id != Document.of("other text").id


@pytest.mark.parametrize("key", SCOPE_KEYS)
def test_the_same_text_of_two_owners_is_two_documents(key):
    anna, bert = (Document.of("text", source="a.md", metadata={key: name}) for name in ("anna", "bert"))
    assert len({anna.id, bert.id, Document.of("text", source="a.md").id}) == 3


def test_metadata_outside_the_scope_does_not_change_a_document_s_identity():
    assert Document.of("text", metadata={"topic": "ships"}).id == Document.of("text").id


def test_a_document_keeps_its_own_copy_of_the_metadata():
    metadata = {"topic": "ships"}
    document = Document.of("text", metadata=metadata)
    metadata["topic"] = "trains"
    assert document.metadata == {"topic": "ships"}


@pytest.mark.parametrize("abstained", [True, False])
def test_an_answer_abstains_when_its_route_does(abstained):
    answer = Answer("", Route("q", (), abstained=abstained), Usage(1, 0))
    assert answer.abstained is abstained


def test_an_answer_s_record_is_its_route_and_its_citations_as_json():
    atom = Atom("a", AtomKind.EVENT, "Ships: it sank.", "It sank.", "d", Span(3, 11), source="ships.md")
    route = Route("q", (RoutedAtom(atom, 1.5, share=0.9),), confidence=0.8, threshold=0.5)
    citation = Citation("a", "d", "ships.md", Span(3, 11), "It sank.")
    record = Answer("1912", route, Usage(9, 1, 4), (citation,), {"route": 0.5}, "hybrid").record()
    assert json.loads(json.dumps(record)) == record
    assert record["atoms"] == [
        {"id": "a", "statement": "Ships: it sank.", "kind": "event", "source": "ships.md", "score": 1.5, "share": 0.9}
    ]
    assert record["citations"][0]["span"] == [3, 11] and record["citations"][0]["text"] == "It sank."
    assert (record["mode"], record["knowledge_tokens"], record["timings_ms"]) == ("hybrid", 4, {"route": 0.5})


def test_half_a_character_is_replaced_and_the_others_stay_where_they_are():
    made = Document.of("a\ud83db", source="caf\udce9.txt", title="\ud800")
    assert (made.text, made.source, made.title) == ("a\ufffdb", "caf\ufffd.txt", "\ufffd")
