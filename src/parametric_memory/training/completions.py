"""Completions: a sentence's beginning as the question, its end as the answer, the sentence itself as the atom.

They need no questions, so there is no end of them, and they teach a micro-LoRA to say what its atom says before any
question has to be understood.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from parametric_memory.training.corpus import Corpus, Example, Place

#: Shortest sentence that is completed, in words, and the shares of it that may be given away.
MIN_WORDS = 6
GIVEN = (0.3, 0.7)
#: Longest answer, in words: the rest of a long sentence teaches no more than its beginning.
MAX_WORDS = 12
_WORDINGS = ("{}", "Complete: {}", "Continue the sentence: {}", "{} ...")


def completions(corpus: Corpus, atoms: Iterable[int], *, seed: int = 0) -> list[Example]:
    """Return one completion for every one of these atoms that is long enough; which part is given, the seed decides."""
    made = (_completion(corpus.texts[atom], atom, random.Random(f"{seed}/{atom}")) for atom in atoms)
    return [example for example in made if example]


def _completion(text: str, atom: int, rng: random.Random) -> Example | None:
    starts = [place for place in range(1, len(text)) if text[place - 1] == " " != text[place]]
    if len(starts) + 1 < MIN_WORDS:
        return None
    cut = max(1, round(rng.uniform(*GIVEN) * len(starts)))
    begin = starts[cut - 1]
    end = starts[cut - 1 + MAX_WORDS] if cut - 1 + MAX_WORDS < len(starts) else len(text)
    answer = text[begin:end].rstrip(" .")
    if not answer:
        return None
    given = rng.choice(_WORDINGS).format(text[:begin].rstrip())
    return Example(given, answer, (atom,), (Place(atom, begin, begin + len(answer)),))
