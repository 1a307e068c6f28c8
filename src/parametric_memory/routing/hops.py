"""Further hops: what the best atom names, and the question does not, may lead to the atom that answers.

Iterative retrieval (Qi et al. 2019, arXiv 1910.07000), without a model: names are runs of capitalised words. Routes and
statements in, a next question or a joined route out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from parametric_memory.config import RoutingConfig
from parametric_memory.routing.evidence import STOP_WORDS, Words
from parametric_memory.types import Route, RoutedAtom

#: Small words within a name: Joan of Arc, Ludwig van Beethoven.
_PARTICLES = frozenset({"of", "the", "de", "la", "von", "van", "and"})
#: A word, an initial with its point, or a mark.
_PIECE = re.compile(r"\b[^\W\d_]\.|\w[\w'’-]*|[^\w\s]")


def next_question(question: str, statements: Sequence[str]) -> str | None:
    """Return the question with the names that the statements add to it; None if there is no further hop.

    There is none if they name nothing new, or already have all words of the question: then nothing of it is open.
    """
    asked = Words.of(question).stems
    said = [Words.of(statement).stems for statement in statements]
    if asked <= frozenset().union(*said):
        return None
    names = dict.fromkeys(name for statement in statements for name in names_in(statement))
    new = [name for name in names if not Words.of(name).stems <= asked]
    return " ".join([question, *new]) if new else None


def join(rounds: Sequence[Route], config: RoutingConfig) -> Route:
    """Return one route of several rounds: the best of each, then the second of each, `RoutingConfig.max_atoms` in all.

    Question, confidence and gate are the first round's. What is in two rounds is taken in the first.
    """
    first = rounds[0]
    in_turns = chain.from_iterable(zip_longest(*(round_.selected for round_ in rounds)))
    found: dict[str, RoutedAtom] = {}
    for routed in in_turns:
        if routed is not None:
            found.setdefault(routed.atom.id, routed)
    number = {routed.atom.id: n for n, round_ in reversed(list(enumerate(rounds))) for routed in round_.selected}
    selected = [
        replace(routed, reason=f"{routed.reason} of hop {number[id_] + 1}") if number[id_] else routed
        for id_, routed in list(found.items())[: config.max_atoms]
    ]
    taken = {routed.atom.id for routed in selected}
    rejected = {
        routed.atom.id: routed
        for round_ in reversed(rounds)
        for routed in (*round_.selected, *round_.rejected)
        if routed.atom.id not in taken
    }
    left = [
        replace(routed, reason=f"beyond {config.max_atoms} atoms of {len(rounds)} hops") if id_ in found else routed
        for id_, routed in rejected.items()
    ]
    hops = tuple(round_.query for round_ in rounds[1:] if round_.selected)
    beyond = tuple(sorted(left, key=lambda r: (-r.score, r.atom.id)))
    return replace(first, selected=tuple(selected), rejected=beyond, hops=hops)


def names_in(text: str) -> list[str]:
    """Return runs of capitalised words; those of stop words alone only begin a sentence."""
    names, run = [], list[str]()
    for piece in [*_PIECE.findall(text), "."]:
        if piece[0].isupper() or (run and piece in _PARTICLES):
            run.append(piece)
            continue
        while run and run[-1] in _PARTICLES:
            run.pop()
        if run and not STOP_WORDS.issuperset(word.lower() for word in run):
            names.append(" ".join(run))
        run = []
    return names
