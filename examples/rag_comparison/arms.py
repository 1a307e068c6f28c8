"""Five ways to answer from the same documents, with the same base model, the same weights and the same key encoder.

RAG is as LangChain and as LlamaIndex have it: their splitters, their stores, their chains; the wording, the size of
chunks and how many of them are read are those that suit this base model best (see `pmem eval`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from langchain_chroma import Chroma
from langchain_core.documents import Document as Page
from langchain_core.prompts import ChatPromptTemplate
from langchain_parametric_memory import ChatParametricMemory, ParametricMemoryEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter
from llama_index.core import Document as IndexDocument
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.prompts import ChatPromptTemplate as IndexPrompt
from llama_index.memory.parametric import ParametricKeyEmbedding, ParametricMemoryLLM
from llama_index.memory.parametric.events import MemoryGenerateEvent

from parametric_memory import ParametricMemory
from parametric_memory.evaluation.bench.footprint import size_of
from parametric_memory.evaluation.prompts import RagChoice, reading_choice
from parametric_memory.evaluation.systems import GENERATION
from parametric_memory.types import Document

#: How `pmem eval` lets every system answer, in the frameworks' words.
ANSWER: dict[str, Any] = {
    "temperature": GENERATION.temperature,
    "max_tokens": GENERATION.max_new_tokens,
    "stop": list(GENERATION.stop),
}
#: Characters of English in a token, for splitters that count tokens.
CHARS_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Quote:
    """What an answer stands on: characters ``start`` to ``end`` of the document at ``source``."""

    source: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What an arm answered, and what it cost; the text of an arm that abstained says that it does not know."""

    text: str
    quotes: tuple[Quote, ...]
    prompt_tokens: int
    ms: float
    abstained: bool = False


class Arm(Protocol):
    """Holds documents and answers questions."""

    name: str
    about: str

    def put(self, document: Document) -> None:
        """Hold a document, in place of what was held of the same source."""
        ...

    def remove(self, source: str) -> None:
        """Forget a document."""
        ...

    def ask(self, question: str) -> Shown:
        """Answer."""
        ...

    def stored_bytes(self) -> int:
        """Return what the documents take on disk."""
        ...


def arms(memory: ParametricMemory, folder: Path) -> list[Arm]:
    """Return all arms, RAG's indexes in new folders under this one."""
    choice = reading_choice(memory.backend.fingerprint, memory.prompt).dense
    return [
        FromMemory(memory, "atoms", "Weights", "the question alone is read, what is known is injected"),
        FromMemory(memory, "hybrid", "Weights + text", "the same, and at most 64 tokens of the best source are read"),
        LangChainRag(memory, choice, folder / "langchain"),
        LlamaIndexRag(memory, choice, folder / "llama_index"),
        FromMemory(memory, "closed_book", "Closed-book", "the bare base model, which has seen no document"),
    ]


class FromMemory:
    """The memory itself, in one of its modes."""

    def __init__(
        self, memory: ParametricMemory, mode: Literal["atoms", "hybrid", "closed_book"], name: str, about: str
    ) -> None:
        self._memory, self._mode, self.name, self.about = memory, mode, name, about

    def put(self, document: Document) -> None:
        """Do nothing: the memory is shared, and holds it already."""

    def remove(self, source: str) -> None:
        """Do nothing, for the same reason."""

    def ask(self, question: str) -> Shown:
        """Answer, with citations as the memory has them."""
        began = time.perf_counter()
        answer = self._memory.ask(question, mode=self._mode, generation=GENERATION)
        quotes = [Quote(one.source, one.span.start, one.span.end, one.text) for one in answer.citations]
        return Shown(answer.text, tuple(quotes), answer.usage.prompt_tokens, _ms_since(began), answer.abstained)

    def stored_bytes(self) -> int:
        """Return the size of the memory's folder: text, keys, codes and indexes."""
        return 0 if self._mode == "closed_book" else size_of(self._memory.store.path)


class LangChainRag:
    """A RAG app of LangChain: pieces in Chroma, a retriever, a prompt with their text, the bare base model."""

    name = "RAG · LangChain"

    def __init__(self, memory: ParametricMemory, choice: RagChoice, folder: Path) -> None:
        self.about = f"chunks of {choice.chunk_chars} characters in Chroma, {choice.passages} read"
        self._folder = _new(folder)
        self._splitter = RecursiveCharacterTextSplitter(
            chunk_size=choice.chunk_chars, chunk_overlap=0, add_start_index=True
        )
        self._store = Chroma(
            "documents", ParametricMemoryEmbeddings(memory.key_encoder), persist_directory=str(self._folder)
        )
        self._retriever = self._store.as_retriever(search_kwargs={"k": choice.passages})
        turns = choice.wording.conversation("{question}", ["{context}"])
        names = {"system": "system", "user": "human", "assistant": "ai"}
        prompt = ChatPromptTemplate.from_messages([(names[turn["role"]], turn["content"]) for turn in turns])
        self._chain = prompt | ChatParametricMemory(memory=memory, **ANSWER).bind(mode="closed_book")

    def put(self, document: Document) -> None:
        """Split, embed, store."""
        self.remove(document.source)
        # LangChain's splitters keep metadata, and tell where each piece begins.
        about = {"source": document.source, "title": document.title}
        pieces = self._splitter.create_documents([document.text], metadatas=[about])
        if pieces:
            self._store.add_documents(pieces)

    def remove(self, source: str) -> None:
        """Delete the document's pieces."""
        held = self._store.get(where={"source": source})["ids"]
        if held:
            self._store.delete(held)

    def ask(self, question: str) -> Shown:
        """Retrieve, fill in the prompt, generate."""
        began = time.perf_counter()
        found: list[Page] = self._retriever.invoke(question)
        reply = self._chain.invoke({"question": question, "context": " ".join(map(_titled, found))})
        quotes = [
            Quote(one.metadata["source"], start, start + len(one.page_content), one.page_content)
            for one in found
            for start in [int(one.metadata["start_index"])]
        ]
        return Shown(reply.text, tuple(quotes), reply.usage_metadata["input_tokens"], _ms_since(began))

    def stored_bytes(self) -> int:
        """Return the size of Chroma's folder."""
        return size_of(self._folder)


class LlamaIndexRag:
    """LlamaIndex's starter app: a vector index, and a query engine on the bare base model."""

    name = "RAG · LlamaIndex"

    def __init__(self, memory: ParametricMemory, choice: RagChoice, folder: Path) -> None:
        tokens = choice.chunk_chars // CHARS_A_TOKEN
        self.about = f"nodes of {tokens} tokens in a vector index, {choice.passages} read"
        self._folder = _new(folder)
        llm = ParametricMemoryLLM(memory, mode="closed_book", **ANSWER)
        splitter = SentenceSplitter(chunk_size=tokens, chunk_overlap=0, tokenizer=llm.tokenizer, include_metadata=False)
        self._index = VectorStoreIndex(
            [],
            embed_model=ParametricKeyEmbedding(memory),
            transformations=[splitter],
            storage_context=StorageContext.from_defaults(),
        )
        turns = choice.wording.conversation("{query_str}", ["{context_str}"])
        prompt = IndexPrompt([ChatMessage(role=turn["role"], content=turn["content"]) for turn in turns])
        self._asking = {"llm": llm, "similarity_top_k": choice.passages, "text_qa_template": prompt}

    def put(self, document: Document) -> None:
        """Split, embed, store; what has not changed is left alone."""
        about = {"title": document.title} if document.title else {}
        self._index.refresh_ref_docs([IndexDocument(text=document.text, doc_id=document.source, metadata=about)])
        self._persist()

    def remove(self, source: str) -> None:
        """Delete the document's nodes."""
        self._index.delete_ref_doc(source, delete_from_docstore=True)
        self._persist()

    def ask(self, question: str) -> Shown:
        """Query the engine."""
        engine = self._index.as_query_engine(**self._asking)  # knows the nodes of this moment
        began = time.perf_counter()
        with _told() as spent:
            response = engine.query(question)
        quotes = [
            Quote(str(one.node.ref_doc_id), one.node.start_char_idx, one.node.end_char_idx, one.node.get_content())
            for one in response.source_nodes
        ]
        return Shown(str(response), tuple(quotes), sum(one.prompt_tokens for one in spent), _ms_since(began))

    def stored_bytes(self) -> int:
        """Return the size of the index's folder."""
        return size_of(self._folder)

    def _persist(self) -> None:
        self._index.storage_context.persist(str(self._folder))


class _Listener(BaseEventHandler):
    """Notes what the base model read and wrote."""

    heard: list[MemoryGenerateEvent] = []  # noqa: RUF012  # pydantic makes one for each

    def handle(self, event: Any, **_: Any) -> None:
        if isinstance(event, MemoryGenerateEvent):
            self.heard.append(event)


@contextmanager
def _told() -> Iterator[Sequence[MemoryGenerateEvent]]:
    """Give what LlamaIndex's instrumentation is told of generations within this block."""
    listener, dispatcher = _Listener(), get_dispatcher()
    dispatcher.add_event_handler(listener)
    try:
        yield listener.heard
    finally:
        dispatcher.event_handlers.remove(listener)


def _titled(page: Page) -> str:
    title = page.metadata["title"]
    return f"{title}: {page.page_content}" if title else page.page_content


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
