from __future__ import annotations

import builtins

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.errors import MissingDependencyError
from parametric_memory.evaluation.rag import ChunkIndex, KeyEmbeddings, split, words
from parametric_memory.testing.doubles import HashingKeyEncoder
from parametric_memory.types import Document

PORT = (
    "The harbour of Lorn opened in 1894. Its lighthouse is painted green.\n\n"
    "Ferries leave for Skerry every Tuesday. The fish market is in the old customs house."
)
BAKERY = "The bakery on Mill Street opened in 1921. Its owner is Maud Ferris. It sells rye bread every Tuesday."


@pytest.fixture
def documents():
    return [Document.of(PORT, source="port", title="Lorn"), Document.of(BAKERY, source="bakery")]


@pytest.fixture
def index(documents):
    return ChunkIndex(documents, HashingKeyEncoder(), chunk_chars=45)


def test_chunks_cite_what_they_say_and_carry_the_title(index, documents):
    for document in documents:
        chunks = index.chunks(document.source)
        assert len(chunks) > 2
        title = f"{document.title}: " if document.title else ""
        assert [chunk.text for chunk in chunks] == [title + chunk.span.of(document.text) for chunk in chunks]
        assert {chunk.doc_id for chunk in chunks} == {document.source}


@given(text=st.text(alphabet="ab .\n?é", max_size=200), limit=st.integers(5, 40))
def test_chunks_are_short_in_order_and_leave_out_only_blanks(text, limit):
    chunks = split(Document.of(text, source="any"), chunk_chars=limit)
    assert all(chunk.text == chunk.span.of(text) and 0 < len(chunk.text) <= limit for chunk in chunks)
    covered = {place for chunk in chunks for place in range(chunk.span.start, chunk.span.end)}
    assert all(letter.isspace() for place, letter in enumerate(text) if place not in covered)
    assert [chunk.span.start for chunk in chunks] == sorted(chunk.span.start for chunk in chunks)


def test_dense_order_is_that_of_the_cosines(index):
    encoder, question = HashingKeyEncoder(), "When does the harbour bakery open?"
    chunks = index.chunks()
    cosines = encoder.encode_atoms([chunk.text for chunk in chunks]) @ encoder.encode_query(question)
    found = index.dense(question, k=len(chunks))
    assert sorted(found, key=chunks.index) == chunks
    places = [chunks.index(chunk) for chunk in found]
    np.testing.assert_allclose(cosines[places], np.sort(cosines)[::-1], atol=1e-6)


def test_bm25_finds_the_chunk_with_the_rare_word(index):
    [best] = index.bm25("Who or what is Maud?", k=1)
    assert "Maud Ferris" in best.text
    [best] = index.bm25("the CUSTOMS, the house!", k=1, doc_id="port")
    assert "customs house" in best.text


def test_a_word_in_half_of_the_chunks_still_counts():
    texts = {"one": "green paint", "two": "red paint", "three": "green grass", "four": "blue sky"}
    index = ChunkIndex([Document.of(t, source=s) for s, t in texts.items()], HashingKeyEncoder(), chunk_chars=40)
    assert {chunk.doc_id for chunk in index.bm25("green", k=2)} == {"one", "three"}


@pytest.mark.parametrize("kind", ["bm25", "dense"])
def test_a_question_of_one_document_never_sees_another(index, kind):
    search = getattr(index, kind)
    for question in ("What happens every Tuesday?", "Who is Maud Ferris?", "?"):
        assert {chunk.doc_id for chunk in search(question, k=16, doc_id="port")} == {"port"}
        assert len(search(question, k=16, doc_id="port")) == len(index.chunks("port"))
    assert {chunk.doc_id for chunk in search("every Tuesday", k=16)} == {"port", "bakery"}
    assert search("every Tuesday", k=16, doc_id="nowhere") == []


def test_nothing_is_found_where_there_is_nothing():
    index = ChunkIndex([], HashingKeyEncoder(), chunk_chars=45)
    assert index.bm25("Who?", k=2) == index.dense("Who?", k=2) == []


def test_a_text_is_embedded_once():
    class Counting(HashingKeyEncoder):
        seen = 0

        def encode_atoms(self, statements):
            self.seen += len(statements)
            return super().encode_atoms(statements)

    encoder = Counting()
    embeddings = KeyEmbeddings(encoder)
    first = embeddings.embed_documents(["a", "b", "a"])
    again = embeddings.embed_documents(["b", "c"])
    assert encoder.seen == 3
    np.testing.assert_array_equal(first[1], again[0])


def test_words_are_compared_without_case_and_punctuation():
    assert words("Lorn's (old) Harbour, 1894!") == ["lorn", "s", "old", "harbour", "1894"]


def test_without_langchain_the_extra_is_named(monkeypatch, documents):
    imported = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("langchain"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match=r"parametric-memory\[eval\]"):
        ChunkIndex(documents, HashingKeyEncoder(), chunk_chars=45)
