"""`ParametricMemory`: the verbs. It wires the rooms together and does nothing clever of its own.

add:  read → extract → encode_keys → compile → store.put
ask:  encode_query → candidates → rerank → route → gate → adapters → compose → inject + generate → Answer

Every arrow is a public method, so that one can stop, look, change, and go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from parametric_memory.adapters import compose
from parametric_memory.backends import BUILTIN_BASE, BUILTIN_KEY_ENCODER, HuggingFaceBackend, resolve_key_encoder
from parametric_memory.config import Fallback, GenerationConfig, MemoryConfig, Mode, PromptConfig
from parametric_memory.conversation import Resolve, count, standalone_question
from parametric_memory.errors import IngestError, ScopeConflictError
from parametric_memory.ingest import extract_document
from parametric_memory.memory.adding import Progress, add_document, event
from parametric_memory.memory.answers import (
    MODES,
    AnswerStream,
    Prepared,
    Stopwatch,
    best_first,
    citation,
    said_instead,
    undisturbed,
    with_scores,
)
from parametric_memory.memory.calibrating import (
    Calibrated,
    CalibrationReport,
    Labelled,
    calibrate,
    gated,
    labelled,
)
from parametric_memory.memory.compiler import CompilerKind, compiler_for, compiler_kind, extractor_for, token_router_for
from parametric_memory.memory.exporting import export
from parametric_memory.memory.reranking import found_in, read_candidates, reranking_of, router_for
from parametric_memory.memory.snippet import passages
from parametric_memory.memory.sources import documents_of, several
from parametric_memory.protocols import (
    Backend,
    Compiler,
    Extractor,
    GatingCompiler,
    KeyEncoder,
    Router,
    TokenRouter,
)
from parametric_memory.routing import SentenceTransformerEncoder
from parametric_memory.routing.courtesy import without_courtesy
from parametric_memory.routing.hops import join, next_question
from parametric_memory.store import AtomStore, Stats
from parametric_memory.store.rows import plain
from parametric_memory.types import (
    Answer,
    Atom,
    AtomAdapter,
    AtomCode,
    AtomKey,
    Candidate,
    Citation,
    ComposedAdapter,
    Conversation,
    Document,
    Message,
    Metadata,
    Query,
    Route,
    Scalar,
    TokenGates,
    Usage,
    stated,
    whole,
)

Filters: TypeAlias = Mapping[str, Scalar | Sequence[Scalar]]


class ParametricMemory:
    """Documents compiled into weights, and answers from them.

    Safe to use from several threads. Close it, or use it in a ``with``, so that the key index is written.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        compiler: Compiler,
        key_encoder: KeyEncoder,
        path: Path | str,
        router: Router | None = None,
        token_router: TokenRouter | None = None,
        extractor: Extractor | None = None,
        prompt: PromptConfig | None = None,
        config: MemoryConfig | None = None,
        resolve: Resolve = standalone_question,
    ) -> None:
        """Wire the parts and open the store at `path`, making it if it is not there.

        `token_router` finds which tokens of atoms answer; without one, a compiler's own gates do. `resolve` makes a
        follow-up stand alone, given the turns before it: rules for English, unless something better is passed, here or
        later as the attribute.

        Raises:
            AdapterMismatchError: If the store was made for another base model, compiler or key encoder.
            StoreVersionError: If it was written by a newer version.
        """
        self.config = config or MemoryConfig()
        self.backend, self.compiler, self.key_encoder = backend, compiler, key_encoder
        self.token_router = token_router
        self.router: Router = router or router_for(token_router or compiler, self.config.routing)
        self.extractor: Extractor = extractor or extractor_for(compiler, self.config.ingest)
        self.prompt = prompt or PromptConfig()
        self.resolve: Resolve = resolve
        self.store = AtomStore.open(
            Path(path),
            spec=compiler.spec,
            key_encoder=key_encoder.name,
            dim=key_encoder.dim,
            compiler=compiler.name,
            config=self.config.store,
        )
        self.calibrated = Calibrated.read(self.store.path)
        self._disabled: ContextVar[bool] = ContextVar("parametric_memory_disabled", default=False)

    @classmethod
    def from_pretrained(
        cls,
        base: str | Path = BUILTIN_BASE,
        *,
        path: str | Path,
        key_encoder: str | Path = BUILTIN_KEY_ENCODER,
        compiler: CompilerKind | None = None,
        checkpoint: str | Path | None = None,
        config: MemoryConfig | None = None,
        device: str | None = None,
        dtype: Any = None,
        device_map: Any = None,
        cache_dir: str | Path | None = None,
    ) -> Self:
        """Load a base model, its atom compiler and a key encoder, and open the memory at `path`.

        Args:
            base: The built-in alias, a local folder, or a hub id.
            path: Folder of the memory; made if it is not there.
            key_encoder: The built-in alias, a local folder, or a hub id of a sentence-transformers model.
            compiler: ``hypernetwork``: one forward pass, with a checkpoint trained on this base model.
                ``document``: one adapter per chunk of a document, also in one pass, with a checkpoint of its own.
                ``distillation``: seconds of gradient steps an atom, on any base model. By default what the memory at
                `path` was made with, and the hypernetwork for a new one.
            checkpoint: Folder of a hypernetwork trained on this base model; by default the one in the package.
            config: All other settings.
            device: ``cpu``, ``cuda`` or ``mps``; by default the best there is.
            dtype: Of the base model; by default bfloat16 on a GPU and float32 elsewhere.
            device_map: Passed to accelerate, for base models larger than one device.
            cache_dir: Where the built-in models are unpacked; by default the user's cache directory.

        Raises:
            BackendError: If a model cannot be found or loaded.
            CheckpointError: If there is no hypernetwork for this base model.
            ConfigError: If the compiler is unknown, or has no use for a checkpoint.
            UnsupportedModelError: If the base model has no modules that distillation can adapt.
            AdapterMismatchError: If the memory or the checkpoint belongs to another base model.
        """
        backend = HuggingFaceBackend.from_pretrained(
            base, device=device, dtype=dtype, device_map=device_map, cache_dir=cache_dir
        )
        config = config or MemoryConfig()
        kind = compiler_kind(path, compiler)
        made, prompt = compiler_for(backend, kind, checkpoint=checkpoint, config=config)
        folder = resolve_key_encoder(key_encoder, cache_dir=cache_dir)
        encoder_device = device or str(backend.model.device)
        encoder = SentenceTransformerEncoder(folder, name=str(key_encoder), device=encoder_device)
        return cls(
            backend=backend,
            compiler=made,
            key_encoder=encoder,
            path=path,
            token_router=token_router_for(
                made, str(key_encoder), folder, config=config, device=encoder_device, cache_dir=cache_dir
            ),
            prompt=prompt,
            config=config,
        )

    def beside(self, path: Path | str, **others: Any) -> Self:
        """Return a memory at another path with the parts of this one: models are loaded once for both.

        Args:
            path: Folder of the other memory; made if it is not there.
            others: Parts that the other one has of its own, named as when a memory is made of parts.

        Raises:
            AdapterMismatchError: If the memory at `path` was made with other parts.
        """
        parts: dict[str, Any] = {
            "backend": self.backend,
            "compiler": self.compiler,
            "key_encoder": self.key_encoder,
            "router": self.router,
            "token_router": self.token_router,
            "extractor": self.extractor,
            "prompt": self.prompt,
            "config": self.config,
            "resolve": self.resolve,
        }
        return type(self)(path=path, **parts | others)

    # ---------------------------------------------------------------- the write path

    def add(
        self,
        content: Any,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Metadata | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Compile documents into the memory: what is there already is left alone, what changed is replaced.

        Args:
            content: A text; a `pathlib.Path` of a file or a folder; messages; LangChain or LlamaIndex documents; or a
                sequence of these.
            user_id: Whose knowledge it is.
            agent_id: Which agent's it is.
            run_id: Which conversation it comes from.
            metadata: Kept with every atom, for filters and citations.
            progress: Called with a document, the number of its atoms that are stored, and of all its atoms.

        Returns:
            ``{"results": [{"id", "memory", "event", "source"}], "errors": [{"source", "error"}]}``: one result an
            atom, its event ADD, UPDATE, DELETE or NONE (it was there already); one error per document
            that could not be read or compiled.

        Raises:
            ScopeConflictError: If `content` is a single document, and one of its id is there already with another
                user_id, agent_id or run_id.
            StoreLockedError: If another process is writing to the memory for too long.
            UnreadableDocumentError: If `content` is a single text or file that cannot be read.
            ValueError: If a value of `metadata` is not a string, a bool or a finite number.
        """
        given = plain(_filters(metadata, user_id=user_id, agent_id=agent_id, run_id=run_id))
        results: list[dict[str, Any]] = []
        errors: list[dict[str, str]] = []
        for document in self.read(content, metadata=given):
            if isinstance(document, IngestError):
                errors.append({"source": getattr(document, "source", ""), "error": str(document)})
                continue
            try:
                events = add_document(self, document, progress)
            except (IngestError, ScopeConflictError) as error:
                if isinstance(error, ScopeConflictError) and not several(content):
                    raise
                # One document's trouble is not the others'; what of it was stored stays, and adding it again goes on.
                errors.append({"source": document.source, "error": str(error)})
                continue
            results += events
            if not events:
                errors.append({"source": document.source, "error": "nothing in it to remember"})
        return {"results": results, "errors": errors}

    def read(self, content: Any, *, metadata: Metadata | None = None) -> Iterator[Document | IngestError]:
        """Yield the documents in `content`; one of several that cannot be read yields its error instead."""
        return documents_of(content, metadata=metadata or {}, config=self.config.ingest)

    def extract(self, document: Document) -> list[Atom]:
        """Return a document's atoms, in order."""
        return extract_document(document, self.extractor, self.config.ingest)

    def encode_keys(self, atoms: Sequence[Atom]) -> list[AtomKey]:
        """Return one key per atom."""
        vectors = self.key_encoder.encode_atoms([atom.statement for atom in atoms])
        return [AtomKey(atom.id, vector) for atom, vector in zip(atoms, vectors, strict=True)]

    def compile(self, atoms: Sequence[Atom]) -> list[AtomCode]:
        """Return one code per atom."""
        return list(self.compiler.compile(atoms)) if atoms else []

    # ---------------------------------------------------------------- the read path

    def ask(
        self,
        question: str,
        *,
        mode: Mode = "atoms",
        history: Sequence[Message] = (),
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        abstain_at: float | None = None,
        fallback: Fallback | None = None,
        generation: GenerationConfig | None = None,
    ) -> Answer:
        """Answer a question.

        Args:
            question: In plain words.
            mode: ``atoms``: from weights, nothing in the prompt. ``hybrid``: from weights and a snippet of the best
                atom's source. ``hybrid_unsure``: the same, but only where the memory is not sure of its route.
                ``in_context``: the retrieved sentences in the prompt, as RAG does. ``closed_book``: the bare base
                model.
            history: The turns before, oldest first, if the question may lean on them ("and when was that?"). What it
                means in full is asked, and is the route's ``query``; the base model does not read the turns.
            filters: Only atoms whose metadata has these values (of a list, any).
            user_id: A filter, spelled for short.
            agent_id: Another.
            run_id: Another.
            abstain_at: Target error rate of a calibrated memory: of the questions that it cannot answer, at most this
                share is taken on. None for the one that is configured, or that it was calibrated with.
            fallback: What happens if nothing answers: ``unknown`` (the words of `MemoryConfig.unknown`), ``base`` (the
                bare base model answers), ``raise``. None for what is configured.
            generation: Length, temperature, stop strings.

        Raises:
            ValueError: If the mode or the fallback is unknown, or the question empty.
            ConfigError: If `abstain_at` is given and the memory was not calibrated for it.
            AbstainedError: If nothing answers and the fallback is ``raise``.
            StoreError: If what answers is changed again and again meanwhile.
            GenerationError: If the base model fails.
        """
        scope = _filters(filters, user_id=user_id, agent_id=agent_id, run_id=run_id)
        prepared = self.prepare(
            question, mode=mode, history=history, filters=scope, abstain_at=abstain_at, fallback=fallback
        )
        if prepared.said is not None:
            return replace(prepared.answer, text=prepared.said)
        watch = Stopwatch(prepared.answer.timings)
        with watch("generate"):
            [made] = self.backend.generate(
                [prepared.conversation], adapters=[prepared.adapter], config=generation or self.config.generation
            )
        usage = replace(made.usage, knowledge_tokens=prepared.answer.usage.knowledge_tokens)
        return replace(prepared.answer, text=made.text.strip(), usage=usage, timings=watch.stages)

    def stream(
        self,
        question: str,
        *,
        mode: Mode = "atoms",
        history: Sequence[Message] = (),
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        abstain_at: float | None = None,
        fallback: Fallback | None = None,
        generation: GenerationConfig | None = None,
    ) -> AnswerStream:
        """Answer a question piece by piece; takes what `ask` takes. The route is known before the first piece."""
        scope = _filters(filters, user_id=user_id, agent_id=agent_id, run_id=run_id)
        prepared = self.prepare(
            question, mode=mode, history=history, filters=scope, abstain_at=abstain_at, fallback=fallback
        )
        if prepared.said is not None:
            return AnswerStream(iter([prepared.said]), prepared.answer)
        watch = Stopwatch(prepared.answer.timings)
        pieces = self.backend.stream(
            prepared.conversation, adapter=prepared.adapter, config=generation or self.config.generation
        )

        def usage(text: str) -> Usage:
            knowledge = prepared.answer.usage.knowledge_tokens
            return Usage(count(self.backend, prepared.conversation), self.backend.count_tokens(text), knowledge)

        answer = replace(prepared.answer, timings=watch.stages)
        return AnswerStream(watch.over("generate", pieces), answer, usage=usage)

    def prepare(
        self,
        question: str,
        *,
        mode: Mode = "atoms",
        history: Sequence[Message] = (),
        filters: Filters | None = None,
        abstain_at: float | None = None,
        fallback: Fallback | None = None,
        **scope: str | None,
    ) -> Prepared:
        """Do everything of `ask` before the base model speaks: for callers who run it on their own prompts or batches.

        Raises:
            ValueError: If the mode or the fallback is unknown, or the question empty.
            ConfigError: If `abstain_at` is given and the memory was not calibrated for it.
            AbstainedError: If nothing answers and the fallback is ``raise``.
            StoreError: If what answers is changed again and again meanwhile.
        """
        watch = Stopwatch()
        asked = self.standalone(question, history)
        draft, conversation, adapter = self._prepare(asked, mode, _filters(filters, **scope), watch, abstain_at)
        said = said_instead(draft.route, self.config, fallback)
        return Prepared(replace(draft, timings=watch.stages), conversation, adapter, said)

    def explain(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        filters: Filters | None = None,
        abstain_at: float | None = None,
        **scope: str | None,
    ) -> Route:
        """Return the route of a question, gates, scores and times included, and stop before any adapter is made."""
        watch, asked, wanted = Stopwatch(), self.standalone(question, history), _filters(filters, **scope)

        def read() -> Route:
            route, found = self._find(asked, wanted, watch, abstain_at)
            with watch("gate"):
                route = self.gate(asked, route)
            return with_scores(route, found)

        return replace(undisturbed(self.store, read, lambda route: route), timings=watch.stages)

    def standalone(self, question: str, history: Sequence[Message] = ()) -> str:
        """Return what a question means in full, given the turns before it (see `resolve`)."""
        return whole(self.resolve(question, history) if history else question)

    def encode_query(self, question: str) -> Query:
        """Return what a question asks, without courtesy, with its key."""
        asked = without_courtesy(question)
        return Query(asked, self.key_encoder.encode_query(asked))

    def candidates(self, query: Query, *, filters: Filters | None = None) -> list[Candidate]:
        """Return the atoms that the similarity stage finds, by keys and by words, and those beside them."""
        routing = self.config.routing
        return self.store.search(
            query.text, query.vector, routing.candidates, filters=filters or None, neighbours=routing.neighbours
        )

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates, the most similar with what was found in their tokens (see `RoutingConfig`)."""
        routing = self.config.routing
        if reranking_of(self.token_router or self.compiler, routing) is None:
            return list(candidates)
        return read_candidates(lambda atoms: self.locate(query.text, atoms), query, candidates, routing)

    def locate(self, question: str, atoms: Sequence[Atom]) -> TokenGates:
        """Return where some atoms answer a question, among all of them at once.

        The token router says it, and no ranks; without one, the compiler's own gates do.

        Raises:
            TypeError: If the memory has neither.
        """
        if self.token_router is not None:
            return self.token_router.read(question, atoms)
        if not isinstance(self.compiler, GatingCompiler):
            raise TypeError(
                f"reading atoms for a question: {self.compiler.name} has no gates, and there is no token router; pass "
                "token_router="
            )
        return self.compiler.gate(question, self.store.codes([atom.id for atom in atoms]))

    def route(
        self,
        query: Query,
        candidates: Sequence[Candidate],
        *,
        abstain_at: float | None = None,
        calibrated: bool = True,
    ) -> Route:
        """Return which candidates answer the query, once they are reranked.

        Args:
            query: The question and its key.
            candidates: What it found.
            abstain_at: As for `ask`.
            calibrated: Whether the calibrated threshold counts; else the router's own does.
        """
        rate = self.config.routing.abstain_at if abstain_at is None else abstain_at
        router = gated(self.router, self.calibrated, rate) if calibrated else self.router
        return router.route(query, self.rerank(query, candidates))

    def follow(self, route: Route, *, filters: Filters | None = None, abstain_at: float | None = None) -> Route:
        """Return the route joined with those of further hops, if the memory takes any (`RoutingConfig.hops`)."""
        rounds = [route]
        while len(rounds) < self.config.routing.hops and rounds[-1].selected:
            question = next_question(route.query, [found.selected[0].atom.statement for found in rounds])
            # A hop that leads nowhere new would be asked again.
            if question is None or question == rounds[-1].query:
                break
            query = self.encode_query(question)
            taken = {routed.atom.id for found in rounds for routed in found.selected}
            left = [one for one in self.candidates(query, filters=filters) if one.atom.id not in taken]
            rounds.append(self.route(query, left, abstain_at=abstain_at))
        return join(rounds, self.config.routing) if len(rounds) > 1 else route

    def gate(self, question: str, route: Route) -> Route:
        """Return the route with rank gates and shares, if the compiler can find them."""
        if not isinstance(self.compiler, GatingCompiler) or not route.selected:
            return route
        if self.config.routing.gates == "reranked" and all(routed.rank_gates for routed in route.selected):
            return route
        atoms = [routed.atom for routed in route.selected]
        found = self._found(question, route, atoms)
        gates = self.compiler.gate(question, self.store.codes([atom.id for atom in atoms]), found)
        tokens = gates.tokens or ((),) * len(route.selected)
        # In the router's order: it knows better than the gates alone which atom answers.
        gated = [
            replace(routed, rank_gates=ranks, share=share, tokens=places)
            for routed, ranks, share, places in zip(route.selected, gates.ranks, gates.shares, tokens, strict=True)
        ]
        return replace(route, selected=tuple(gated))

    def _found(self, question: str, route: Route, atoms: Sequence[Atom]) -> TokenGates | None:
        """Return what the token router finds in a route's atoms, if there is one."""
        if self.token_router is None:
            return None
        if route.hops:
            # Atoms of several hops were read for several questions: the last tells what all of them have led to.
            return self.token_router.read(route.hops[-1], atoms)
        return found_in(route) or self.token_router.read(without_courtesy(question), atoms)

    def adapters(self, route: Route) -> list[AtomAdapter]:
        """Return the adapters of the route's atoms, made from their codes."""
        return list(self.compiler.materialise(self.store.codes([routed.atom.id for routed in route.selected])))

    def compose(self, route: Route, adapters: Sequence[AtomAdapter] | None = None) -> ComposedAdapter | None:
        """Return the route's adapters as one; None for an empty route."""
        if not route.selected:
            return None
        return compose(
            self.adapters(route) if adapters is None else adapters,
            weights=[routed.weight for routed in route.selected],
            rank_gates=[routed.rank_gates for routed in route.selected],
            max_rank=self.config.max_rank,
        )

    def _prepare(
        self, question: str, mode: Mode, filters: Filters, watch: Stopwatch, abstain_at: float | None
    ) -> tuple[Answer, Conversation, ComposedAdapter | None]:
        """Do everything before the base model speaks: return the answer without its text, the prompt, the adapter."""
        if mode not in MODES:
            raise ValueError(f"asking in mode {mode!r}: expected one of {', '.join(MODES)}")
        if not question.strip():
            raise ValueError("asking the memory: the question is empty; pass one in plain words")
        if mode == "closed_book" or self._disabled.get():
            empty = Answer("", Route(question, ()), Usage(0, 0), mode="closed_book")
            return empty, self.prompt.conversation(question), None
        return undisturbed(
            self.store,
            lambda: self._draft(question, mode, filters, watch, abstain_at),
            lambda draft: draft[0].route,
        )

    def _draft(
        self, question: str, mode: Mode, filters: Filters, watch: Stopwatch, abstain_at: float | None
    ) -> tuple[Answer, Conversation, ComposedAdapter | None]:
        """Do what `_prepare` does once the question is to be looked up; every step looks into the store anew."""
        route, _ = self._find(question, filters, watch, abstain_at)
        if mode == "in_context":
            route = replace(route, selected=tuple(best_first(route, self.config.routing.max_atoms)), abstained=False)
        adapter = None
        if mode != "in_context":
            with watch("gate"):
                route = self.gate(question, route)
            with watch("materialise"):
                adapters = self.adapters(route)
            with watch("compose"):
                adapter = self.compose(route, adapters)
        passages = self.passages(route, mode)
        knowledge = sum(self.backend.count_tokens(passage) for passage in passages)
        draft = Answer("", route, Usage(0, 0, knowledge), self.cite(route), watch.stages, mode)
        return draft, self.prompt.conversation(question, passages), adapter

    def _find(
        self, question: str, filters: Filters, watch: Stopwatch, abstain_at: float | None
    ) -> tuple[Route, list[Candidate]]:
        """Return the route of a question, further hops included and without gates, and the first hop's candidates."""
        with watch("encode"):
            query = self.encode_query(question)
        with watch("search"):
            found = self.candidates(query, filters=filters)
        with watch("route"):
            route = self.route(query, found, abstain_at=abstain_at)
        if self.config.routing.hops > 1:
            with watch("hops"):
                route = self.follow(route, filters=filters, abstain_at=abstain_at)
        return route, found

    def passages(self, route: Route, mode: Mode) -> list[str]:
        """Return what of the route's sources the base model reads in a mode."""
        known = self.calibrated if self.calibrated and self.calibrated.fits(self.router) else None
        sure = known.probability(route.confidence) if known else route.confidence
        return passages(route, mode, sure=sure, config=self.config, count=self.backend.count_tokens)

    def cite(self, route: Route) -> tuple[Citation, ...]:
        """Return where the route's atoms were read, best first."""
        documents = {d: self.store.document(d) for d in dict.fromkeys(r.atom.document_id for r in route.selected)}
        return tuple(citation(routed, documents[routed.atom.document_id]) for routed in route.selected)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Answer from the bare base model inside the block, in this thread or task only: same weights, memory off."""
        token = self._disabled.set(True)
        try:
            yield
        finally:
            self._disabled.reset(token)

    @property
    def is_disabled(self) -> bool:
        """Whether this thread or task is inside a `disabled` block."""
        return self._disabled.get()

    # ---------------------------------------------------------------- looking and keeping

    def search(
        self, query: str, *, top_k: int = 8, filters: Filters | None = None, **scope: str | None
    ) -> dict[str, Any]:
        """Return the atoms nearest to a query, best first: ``{"results": [{"id", "memory", "score", …}]}``. No gate."""
        encoded = self.encode_query(query)
        k = max(top_k, self.config.routing.candidates)
        found = self.store.search(encoded.text, encoded.vector, k, filters=_filters(filters, **scope) or None)
        # By similarity alone: gates take longer than all the rest of a search.
        best = best_first(self.router.route(encoded, found), top_k)
        return {"results": [routed.atom.record() | {"score": routed.score} for routed in best]}

    def get(self, memory_id: str) -> dict[str, Any]:
        """Return one atom.

        Raises:
            AtomNotFoundError: If there is none of this id.
        """
        return self.store.get(memory_id).record()

    def get_all(
        self, *, filters: Filters | None = None, limit: int | None = None, offset: int = 0, **scope: str | None
    ) -> dict[str, Any]:
        """Return the atoms that match, in the order of their documents: ``{"results": [...]}``."""
        atoms = self.store.atoms(filters=_filters(filters, **scope) or None, limit=limit, offset=offset)
        return {"results": [atom.record() for atom in atoms]}

    def update(self, memory_id: str, text: str) -> dict[str, Any]:
        """Replace an atom's text and compile it anew; its id stays.

        Raises:
            AtomNotFoundError: If there is none of this id.
            ValueError: If the text is empty.
        """
        if not text.strip():
            raise ValueError(f"updating atom {memory_id}: the text is empty; to remove it, use delete")
        old = self.store.get(memory_id)
        text = whole(text)
        atom = replace(old, text=text, statement=stated(text, old.context))
        self.store.update(atom, self.encode_keys([atom])[0], self.compile([atom])[0])
        return event(atom, "UPDATE")

    def delete(self, memory_id: str) -> dict[str, Any]:
        """Remove an atom.

        Raises:
            AtomNotFoundError: If there is none of this id.
        """
        atom = self.store.get(memory_id)
        self.store.delete([memory_id])
        return event(atom, "DELETE")

    def delete_all(self, *, filters: Filters | None = None, **scope: str | None) -> dict[str, Any]:
        """Remove all atoms that match.

        Raises:
            ValueError: If nothing narrows it down: to remove everything, use `reset`.
        """
        wanted = _filters(filters, **scope)
        if not wanted:
            raise ValueError("delete_all needs a filter, such as user_id=…; to remove everything, use reset()")
        return {"deleted": len(self.store.delete_where(wanted).deleted)}

    def erase(self, *, ids: Sequence[str] = (), filters: Filters | None = None, **scope: str | None) -> dict[str, Any]:
        """Remove atoms so that no file of the memory holds them any more, and prove it by reading the files.

        Returns:
            A receipt: ``deleted`` ids, ``files_scanned``, and ``residuals``, which is empty if nothing was found.

        Raises:
            TypeError: If `ids` is one string: its letters are no ids.
            ValueError: If nothing narrows it down: to remove everything, use `reset`.
        """
        wanted = _filters(filters, **scope)
        if not wanted and not ids:
            raise ValueError("erase needs ids or a filter, such as user_id=…; to remove everything, use reset()")
        receipt = asdict(self.store.erase(ids, filters=wanted or None))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in receipt.items()}

    def history(self, memory_id: str) -> list[dict[str, Any]]:
        """Return what happened to an atom, oldest first."""
        return [
            {"id": e.atom_id, "event": str(e.change), "old": e.old, "new": e.new, "time": e.time.isoformat()}
            for e in self.store.history(memory_id)
        ]

    def reset(self) -> None:
        """Remove everything, history included."""
        self.store.reset()

    def stats(self) -> Stats:
        """Return how much the memory holds."""
        return self.store.stats()

    def verify(self) -> list[str]:
        """Check every checksum and the key index against the database; return what is wrong, empty if nothing is."""
        return list(self.store.verify())

    def calibrate(
        self,
        questions: Iterable[Labelled],
        *,
        abstain_at: float = 0.1,
        test: Iterable[Labelled] | None = None,
    ) -> CalibrationReport:
        """Find the threshold that keeps an error rate, and abstain by it from now on, also when opened again.

        Args:
            questions: Such as users will ask, each with whether this memory answers it: ``(question, answerable)``,
                a mapping with these keys and maybe ``filters`` and ``group``, or a `LabelledQuestion`.
            abstain_at: Of the questions that the memory cannot answer, at most this share is to be taken on (see
                `parametric_memory.routing.calibration` for what is guaranteed).
            test: Other questions, to measure with; without, each half of the questions is measured by the other's.

        Raises:
            ConfigError: If there are too few questions for that rate; then everything stays as it is.
        """
        others = None if test is None else labelled(test)
        made, report = calibrate(self, labelled(questions), rate=abstain_at, test=others)
        made.save(self.store.path)
        self.calibrated = made
        return report

    def export(
        self,
        path: str | Path,
        *,
        question: str | None = None,
        memory_id: str | None = None,
        filters: Filters | None = None,
    ) -> Path:
        """Write an atom's adapter, or a question's composed one, as a PEFT folder.

        Raises:
            ValueError: If not exactly one of question and memory_id is given, or nothing answers the question.
        """
        return export(self, Path(path), question=question, memory_id=memory_id, filters=filters)

    def close(self) -> None:
        """Write what is pending and let go of the files."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _filters(filters: Filters | None, **scope: str | None) -> dict[str, Any]:
    """Return filters, or metadata, with the scope keys that were given.

    Raises:
        ValueError: If a value holds half a character, which nothing that is stored does.
    """
    wanted = {**(filters or {}), **{key: value for key, value in scope.items() if value is not None}}
    try:
        json.dumps(wanted, ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"reading the metadata or filters {list(wanted)}: there is half a character (a lone surrogate) in them, "
            "which can be neither stored nor found; decode what they come from again"
        ) from error
    return wanted
