"""Systems whose knowledge is in weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parametric_memory.config import Mode
from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.systems.library import Library
from parametric_memory.evaluation.systems.system import LOOKED, Given, Place
from parametric_memory.memory.answers import best_first
from parametric_memory.routing.span_router import SpanRouter
from parametric_memory.types import Atom, Route, RoutedAtom

#: Atoms beside the right one, where it stands among its neighbours.
NEIGHBOURS = 3


def atoms(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Inject the routed atoms; abstain if there are none."""
    return [injected(library, library.route(question)) for question in questions]


def atoms_or_base(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Inject the routed atoms; where there are none, leave the answer to the bare base model (``fallback="base"``)."""
    return [replace(given, abstained=False) for given in atoms(library, questions)]


def atoms_oracle(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Inject the gold sentence's atom: the compiler without the router."""
    return [injected(library, oracle_route(library, question)) for question in questions]


def atoms_among(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Inject the gold sentence's atom among its neighbours: how well the right tokens are found, and believed."""
    return [injected(library, to_atoms(library, question, _among(library, question))) for question in questions]


def hybrid(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Inject the routed atoms, and show a snippet of the best one's source."""
    return [injected(library, library.route(question), mode="hybrid") for question in questions]


def hybrid_unsure(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Inject the routed atoms, and show the snippet where the memory is not sure of the route."""
    return [injected(library, library.route(question), mode="hybrid_unsure") for question in questions]


def extract(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Copy the routed atoms' most probable span: the token router alone, without the base model and the adapters."""
    return [_extracted(library, library.route(question), question) for question in questions]


def extract_oracle(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Copy the gold sentence's most probable span."""
    return [_extracted(library, oracle_route(library, question), question) for question in questions]


def _extracted(library: Library, route: Route, question: Question) -> Given:
    router = library.memory.token_router
    if not isinstance(router, SpanRouter):
        raise ConfigError(
            "copying spans: the memory has no token router; leave out the systems that copy (extract, extract_oracle), "
            "or train one for its key encoder with `pmem train router`"
        )
    said = "" if route.abstained else router.extract(question.question, [one.atom for one in route.selected])
    return replace(_looked(library, route), said=said)


def oracle_route(library: Library, question: Question) -> Route:
    """Return the route to the gold sentence's atom alone, gates included."""
    gold = library.gold(question)
    return to_atoms(library, question, [gold] if gold else [])


def _among(library: Library, question: Question) -> list[Atom]:
    """Return the gold sentence's atom, and the `NEIGHBOURS` nearest ones of its document."""
    gold = library.gold(question)
    if gold is None:
        return []
    atoms = library.memory.store.atoms_of(gold.document_id)
    place = next(number for number, atom in enumerate(atoms) if atom.id == gold.id)
    nearest = sorted(range(len(atoms)), key=lambda number: abs(number - place))
    return [atoms[number] for number in nearest[: NEIGHBOURS + 1]]


def to_atoms(library: Library, question: Question, chosen: Sequence[Atom]) -> Route:
    """Return the route to these atoms, whatever a router would say, gates included."""
    route = Route(question.question, tuple(RoutedAtom(atom, 0.0, reason="oracle") for atom in chosen))
    return library.memory.gate(question.question, route)


def injected(library: Library, route: Route, *, mode: Mode = "atoms") -> Given:
    """Return a route as what it gives: its atoms composed, and in the prompt what the mode shows of their sources."""
    passages = tuple(library.memory.passages(route, mode))
    return replace(_looked(library, route), passages=passages, adapter=library.memory.compose(route))


def _looked(library: Library, route: Route) -> Given:
    """Return a route as what it says of itself: the atoms that it stands on, and where it looked for them."""
    # Citations are part of an answer, so they are part of its time.
    library.memory.cite(route)
    routed = bool(route.rejected) or route.threshold > 0.0
    ranked = [one.atom for one in best_first(route, LOOKED)] if routed else []
    return Given(
        atoms=tuple(one.atom.id for one in route.selected),
        abstained=route.abstained,
        confidence=route.confidence if routed else None,
        evidence=tuple(Place(str(atom.metadata["doc_id"]), atom.span) for atom in ranked),
    )
