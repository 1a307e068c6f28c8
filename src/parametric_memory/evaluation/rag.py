"""Retrieval as a RAG app of LangChain has it: documents in, chunks that cite them out, best first.

LangChain's own splitter cuts the documents, its `InMemoryVectorStore` searches them with the memory's key encoder, its
`BM25Retriever` by words. Every chunk has its document's title before its text, as atoms' statements do, and the span of
the document that it was cut from, so that what was found can be compared with a gold sentence. Needs the extra
``eval``; nothing is downloaded.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from parametric_memory.errors import MissingDependencyError
from parametric_memory.protocols import KeyEncoder
from parametric_memory.types import Document, Span

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

#: Where texts are cut, best first: LangChain's own places, and ends of sentences before those between words.
SEPARATORS = ("\n\n", "\n", ". ", "? ", "! ", " ", "")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document; ``text`` is what is searched and shown: the title, and what the span covers."""

    doc_id: str
    span: Span
    text: str


class KeyEmbeddings:
    """A key encoder as LangChain's `Embeddings`; what was embedded once is not embedded again.

    Vectors are rows of an array, not the lists of floats that LangChain's signature names: its stores turn them into an
    array with every search, which from lists takes a hundred times as long.
    """

    def __init__(self, encoder: KeyEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def embed_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return one vector per text."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known |= dict(zip(new, self._encoder.encode_atoms(new), strict=True))
        return [self._known[text] for text in texts]

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a question."""
        return self._encoder.encode_query(text)


class ChunkIndex:
    """The chunks of some documents, found by words or by keys; embedded once, when they are searched or by `embed`.

    A question is searched in the chunks of one document, or of all. BM25 counts its words over all of them either way:
    in a document of three chunks it could not tell rare words from frequent ones.

    Args:
        documents: Each is known by its ``source``.
        encoder: Gives chunks and questions their vectors.
        chunk_chars: Longest chunk, without its title.

    Raises:
        MissingDependencyError: If the extra ``eval`` is not installed.
    """

    def __init__(self, documents: Iterable[Document], encoder: KeyEncoder, *, chunk_chars: int) -> None:
        self._chunks = [chunk for document in documents for chunk in split(document, chunk_chars=chunk_chars)]
        self._of: defaultdict[str, list[int]] = defaultdict(list)
        for number, chunk in enumerate(self._chunks):
            self._of[chunk.doc_id].append(number)
        self._embeddings = KeyEmbeddings(encoder)
        self._stores: dict[str | None, InMemoryVectorStore] = {}
        self._words = _bm25_retriever(self._chunks)

    def embed(self) -> None:
        """Embed all chunks now, as a RAG app does before it is asked anything."""
        self._embeddings.embed_documents([chunk.text for chunk in self._chunks])

    def chunks(self, doc_id: str | None = None) -> list[Chunk]:
        """Return the chunks of a document, or of all, in reading order."""
        return [self._chunks[number] for number in self._numbers(doc_id)]

    def bm25(self, question: str, *, k: int, doc_id: str | None = None) -> list[Chunk]:
        """Return up to ``k`` chunks by BM25, of a document or of all."""
        # The retriever knows no filters: it ranks everything, and the document's chunks are taken out of that.
        wanted = set(self._numbers(doc_id))
        if not wanted:
            return []
        ranked = (int(found.id) for found in self._words.invoke(question))
        return [self._chunks[number] for number in ranked if number in wanted][:k]

    def dense(self, question: str, *, k: int, doc_id: str | None = None) -> list[Chunk]:
        """Return up to ``k`` chunks by the cosine of keys, of a document or of all."""
        found = self._store(doc_id).similarity_search(question, k=k)
        return [self._chunks[int(cast("str", one.id))] for one in found]

    def _numbers(self, doc_id: str | None) -> Sequence[int]:
        return range(len(self._chunks)) if doc_id is None else self._of.get(doc_id, ())

    def _store(self, doc_id: str | None) -> InMemoryVectorStore:
        """Return the vector store of a document, or of all; one each, because its filters look at every chunk."""
        if doc_id not in self._stores:
            from langchain_core.vectorstores import InMemoryVectorStore

            store = InMemoryVectorStore(cast("Embeddings", self._embeddings))
            store.add_documents(_documents(self._chunks, self._numbers(doc_id)))
            self._stores[doc_id] = store
        return self._stores[doc_id]


def split(document: Document, *, chunk_chars: int) -> list[Chunk]:
    """Return a document's chunks in reading order, none of blanks alone.

    Raises:
        MissingDependencyError: If the extra ``eval`` is not installed.
    """
    try:
        from langchain_text_splitters import RecursiveCharacterTextSplitter
    except ImportError as error:
        raise _missing("langchain-text-splitters") from error
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=chunk_chars,
        chunk_overlap=0,
        separators=list(SEPARATORS),
        keep_separator="end",
        add_start_index=True,
    )
    chunks = []
    for piece in splitter.create_documents([document.text]):
        start = int(piece.metadata["start_index"])
        text = f"{document.title}: {piece.page_content}" if document.title else piece.page_content
        chunks.append(Chunk(document.source, Span(start, start + len(piece.page_content)), text))
    return chunks


def words(text: str) -> list[str]:
    """Return the words of a text as BM25 compares them: lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


def _bm25_retriever(chunks: Sequence[Chunk]) -> Any:
    """Return LangChain's retriever over all chunks; Any because the package is optional."""
    try:
        with warnings.catch_warnings():
            # The package says with every import that it is no longer looked after.
            warnings.simplefilter("ignore", DeprecationWarning)
            from langchain_community.retrievers import BM25Retriever
        from rank_bm25 import BM25Plus
    except ImportError as error:
        raise _missing("langchain-community and rank-bm25") from error
    # BM25+: with the retriever's default a word that half of the chunks hold counts for nothing.
    vectorizer = BM25Plus([words(chunk.text) for chunk in chunks] or [[""]])
    pages = _documents(chunks, range(len(chunks)))
    return BM25Retriever(vectorizer=vectorizer, docs=pages, k=len(chunks), preprocess_func=words)


def _documents(chunks: Sequence[Chunk], numbers: Iterable[int]) -> list[Any]:
    """Return chunks as LangChain's documents, under their numbers as ids."""
    try:
        from langchain_core.documents import Document as Page
    except ImportError as error:
        raise _missing("langchain-core") from error
    return [Page(page_content=chunks[number].text, id=str(number)) for number in numbers]


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(package, extra="eval", purpose="comparing with retrieval by LangChain")
