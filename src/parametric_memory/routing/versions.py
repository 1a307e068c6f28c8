"""Versions of a fact: statements of several documents that say the same, or give what is asked different values.

Words alone cannot tell a fact that changed from one that is true twice ("Ada likes tea", "Ada likes coffee"). So two
statements are versions only if most of their words are the same, the question is about these words and about none of
the others, and it asks for what there is one of: a number, a date, or whatever "the … of" something *is*. The lists are
English; in other languages only statements that say the same word for word are versions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from parametric_memory.routing.evidence import Words, asks_number
from parametric_memory.types import SCOPE_KEYS, Candidate

#: "Who is the …", "What colour was the …", "Where's the …": questions that one thing answers.
_ASKS_ONE = re.compile(
    r"\b(?:who|what|which|where)\b[^?]*?(?:\b(?:is|was)|['’]s)\s+(?:the|its|his|her|their|my|our|your)\b", re.IGNORECASE
)
_DENIALS = frozenset({"not", "no", "never", "nor", "without", "cannot", "t"})
#: Words that a statement may have and its other version not.
_MOST_OWN = 3


@dataclass(frozen=True, slots=True)
class Silenced:
    """An atom that a newer one makes obsolete: their ids, and why."""

    atom: str
    by: str
    reason: str


def newest(question: str, candidates: Sequence[Candidate]) -> list[Silenced]:
    """Return which candidates are silenced by a newer version of what they say; of one age, by an earlier one.

    Args:
        question: In words.
        candidates: Those of different documents that belong to the same user, agent and run are compared.
    """
    asked = Words.of(question)
    asks_one = asks_number(question) or bool(_ASKS_ONE.search(question))
    read = [Words.of(candidate.atom.statement) for candidate in candidates]
    # The newest first, so that whoever silences is itself heard.
    order = sorted(range(len(candidates)), key=lambda n: (-candidates[n].updated, n))
    silenced: dict[int, Silenced] = {}
    for newer, older in combinations(order, 2):
        if newer in silenced or older in silenced or not _comparable(candidates[newer], candidates[older]):
            continue
        later = candidates[newer].updated > candidates[older].updated > 0.0
        reason = _reason(asked, read[newer], read[older], asks_one=asks_one, later=later)
        if reason:
            by = candidates[newer].atom.id
            silenced[older] = Silenced(candidates[older].atom.id, by, reason.format(by))
    return list(silenced.values())


def _comparable(one: Candidate, other: Candidate) -> bool:
    """Return whether two candidates come from different documents of one user, agent and run."""
    here, there = one.atom.metadata, other.atom.metadata
    return one.atom.document_id != other.atom.document_id and all(here.get(k) == there.get(k) for k in SCOPE_KEYS)


def _reason(asked: Words, new: Words, old: Words, *, asks_one: bool, later: bool) -> str:
    """Return why the one statement silences the other, with a place for its id; empty if it does not."""
    if new.all == old.all:
        return "atom {} says the same"
    shared = new.stems & old.stems
    own, others = new.stems - shared, old.stems - shared
    about = len(asked.stems & shared) >= 2 and not asked.stems & (own | others)
    if not later or not about:
        return ""
    if not own and not others:
        denied = bool(_DENIALS.intersection(new.all)) != bool(_DENIALS.intersection(old.all))
        return "the newer atom {} denies it" if denied else ""
    alike = own and others and max(len(own), len(others)) <= min(_MOST_OWN, len(shared))
    return "the newer atom {} says otherwise" if asks_one and alike else ""
