"""Follow-ups: what a question leans on ("and when was that?") is put into it, so that it can be looked up by itself.

A question and the turns before it come in, a question that stands alone goes out. The rules are small and English:

====================================  =========================================================================
"Where does **she** live?"            a pronoun becomes what the turn before was about: its answer, if that is of
                                      the right kind, else what its question named
"**What about** Hall 48?"             the question before, with what is of the same kind exchanged
"**And in 1990?**"                    likewise, with the time or the place
"When was **that**?", "Why?"          the question before and its short answer are put in front
====================================  =========================================================================

They know no grammar. Of two people in one turn the wrong one may be taken; what was named more than one topic ago is
not found again; "it" in "Is it far?" is taken to mean something. A model that rewrites questions is better, and takes
their place: any ``resolve(question, history) -> str`` (see `parametric_memory.ParametricMemory`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from parametric_memory.types import Message

#: Makes a question stand alone, given the turns before it.
Resolve: TypeAlias = Callable[[str, Sequence[Message]], str]

#: Questions that are looked back for one.
FARTHEST = 6
#: Longest answer, in words, that is taken for a name or a date; and that is put before a question.
SHORT, TELLING = 6, 12

_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_OPENING = re.compile(r"\s*(?:(?:ok|okay|and|but|or|also|so|then|well|now)\b[\s,]*)+", re.IGNORECASE)
_ABOUT = re.compile(r"(?:what|how)\s+about\s+|(?:what|how)\s+(?:if\s+it\s+is|of)\s+", re.IGNORECASE)
_ASKING = re.compile(
    r"(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|has|have|had|can|could|will|would|"
    r"should|may|must|am|shall|might|tell|name|list|give|whats|whos|\w+n['’]t)\b",
    re.IGNORECASE,
)
#: A question of question words alone: "When?", "Since when?", "By whom?", "How many?", "Why not?", "Which one?"
_BARE = re.compile(
    r"(?:(?:since|by|from|to|until|in|at|on|for|with|of)\s+)?(?:who|whom|whose|what|which|when|where|why|how)"
    r"(?:\s+(?:many|much|long|far|often|old|so|not|else|one|ones|exactly|year|day|come))*\s*\?*\s*",
    re.IGNORECASE,
)
_THAT = re.compile(
    r"\b(?:(?:is|was|were|are|does|did|do|about|of|for|after|before|to|like|at)\s+(?:that|this|these|those)"
    r"(?!\s+(?!happen|mean|work|take|cost|includ|cover|apply|count|help|matter|affect|change|do\b|say\b|be\b|called|so\b|true\b|in\b|on\b|at\b)\w)|"
    r"(?:what|who|where|anything)\s+else|which\s+ones?|the\s+same)\b",
    re.IGNORECASE,
)
_PERSON = frozenset(["he", "she", "him", "her", "his", "hers"])
_THING = frozenset(["it", "its"])
_MANY = frozenset(["they", "them", "their", "theirs"])
_POSSESSIVE = frozenset(["his", "her", "its", "their", "hers", "theirs"])
#: What asks nothing.
_IDLE = re.compile(
    r"\s*(?:thanks?|yes|yeah|no|great|good|fine|hello|hi|hey|bye|goodbye|please|sure|right)\b", re.IGNORECASE
)
#: What is said of the last answer before something is asked: "Thanks a lot!", "Great,", "Please".
_REACTION = re.compile(
    rf"(?:{_IDLE.pattern}(?:\s+(?:you|so|very|much|a|lot|again|there|all|morning|evening|day|to\s+know))*"
    rf"\s*(?:[,.!;:]+|\s[–—-]\s)\s*(?=\w)|\s*please\s+(?={_ASKING.pattern}))+",
    re.IGNORECASE,
)
#: "What time is it?" points at nothing.
_IDLE_IT = re.compile(
    r"\b(?:what (?:time|day|date) (?:is|was) it|(?:is|was) it (?:true|possible|raining|late|cold|warm|necessary)|"
    r"does it matter|it is said)\b",
    re.IGNORECASE,
)
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_TIME = re.compile(
    rf"\b(?:(?:in|on|at|by|since|before|after|during|until|around)\s+)?(?:the\s+)?(?:(?:\d{{1,2}}\s+)?(?:{_MONTHS}|{_DAYS})"
    r"(?:\s+\d{1,2})?(?:,?\s+\d{4})?|(?:1[0-9]|20)\d\d(?:s\b)?|spring|summer|autumn|winter|yesterday|today|tomorrow|"
    r"noon|midnight|\d{1,2}[:.]\d\d|(?:last|next|this)\s+(?:year|month|week|\w+day))\b(?!\w)",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?:(?:about|around|nearly|over|at least)\s+)?(?:\d|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|"
    r"twelve|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|half|a few|a dozen)\b).*",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\b(?:in|at|on|from|to|near)\s+(?:the\s+)?[A-Z][\w'’-]*(?:\s+[A-Z0-9][\w'’-]*)*")
#: A name behind any preposition: exchanged for another behind the same one ("And of Spain?").
_LINKED = re.compile(_PLACE.pattern.replace("in|at|on", "of|for|by|with|about|in|at|on"))
_NAME = re.compile(
    r"(?:\b[Tt]he\s+)?\b(?:[A-Z][\w'’-]*|[A-Z]{2,})(?:\s+(?:of\s+(?:the\s+)?)?(?:[A-Z][\w'’-]*|\d+\w?\b))*"
)
_VERB = (
    r"(?:is|are|was|were|be|been|do|does|did|has|have|had|can|could|will|would|may|must|born|built|made|written|sold|"
    r"found|kept|held|run|led|won|lost|sunk|begun|begin|begins|began|open|opens|close|closes|leave|leaves|start|starts|"
    r"end|ends|cost|costs|live|lives|work|works|die|go|goes|come|comes|arrive|arrives|carry|carries|weigh|weighs|"
    r"happen|happens|need|needs|have|take|takes|use|uses|keep|keeps|own|owns|look|looks|mean|means|\w{3,}ed)"
)
_PREPOSITION = r"(?:in|on|at|by|from|with|for|during|since|until|after|before|when|that|who|which|and|or|than)"
_PHRASE = re.compile(
    rf"\b(?:the|a|an|my|our|your|this)\s+(?:(?!{_VERB}\b|{_PREPOSITION}\b)[\w'’-]+\s*){{1,6}}", re.IGNORECASE
)
#: Capitalised at the start of a sentence only.
_FIRST = re.compile(
    rf"(?:{_ASKING.pattern}|(?:{_PREPOSITION}|to|of|it|he|she|they|we|you|yes|no|this|that|there|a|an)\b)\s*",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(r"\s*(?:i\s+(?:do\s+not|don['’]t|can['’]?t|cannot)\b|sorry\b|unknown\b|no idea\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A question that stands alone, and what was answered; empty if that is unknown or long."""

    question: str
    answer: str


def standalone_question(question: str, history: Sequence[Message]) -> str:
    """Return a question with what it leans on put into it; as it is, if it leans on nothing.

    Args:
        question: What is asked now.
        history: The turns before it, oldest first; turns of the system and of tools are ignored.
    """
    before: _Turn | None = None
    for asked, answer in _turns(history)[-FARTHEST:]:
        before = _Turn(_resolved(asked, before), answer)
    return _resolved(question, before)


def is_follow_up(question: str) -> bool:
    """Whether a question seems to lean on what was said before it."""
    question = _without_reaction(question)
    asked = question[opening.end() :] if (opening := _OPENING.match(question)) else question
    if _IDLE.match(asked):
        return False
    return bool(
        _short(asked) or (opening and opening.end()) or _ABOUT.match(asked) or _THAT.search(asked) or _pointers(asked)
        or (not _ASKING.match(asked) and len(_WORD.findall(asked)) < SHORT and asked.rstrip().endswith("?"))
    )  # fmt: skip


def _resolved(question: str, before: _Turn | None) -> str:
    question = question.strip()
    if before is None or not is_follow_up(question):
        return question
    question = _without_reaction(question)
    asked = _OPENING.sub("", question, count=1) if _OPENING.match(question) else question
    if _ABOUT.match(asked) or not _ASKING.match(asked):
        return _completed(question, asked, before)
    if _BARE.fullmatch(asked) or _THAT.search(asked):
        return _behind(_capital(asked), before)
    if not (pointers := _pointers(asked)):
        # An opening alone ("And who owns Hall 48?") leans on nothing else.
        return _behind(asked, before) if _short(asked) else _capital(asked)
    for pointer in pointers:
        meant = _meant(pointer, before)
        if not meant:
            return _behind(_capital(asked), before)
        asked = _put(asked, pointer, meant)
    return _capital(asked)


def _completed(question: str, asked: str, before: _Turn) -> str:
    """Return a question that is a part of one, made whole; as it is, if it may be whole in a language unknown here.

    Args:
        question: As it was put.
        asked: Without what opens it.
        before: What it leans on.
    """
    about = _ABOUT.match(asked)
    if exchanged := _exchanged(asked[about.end() :] if about else asked, before, about=bool(about)):
        return exchanged
    opened = asked != question and len(_WORD.findall(asked)) < SHORT
    return _behind(question, before) if about or opened or _short(asked) else question


def _without_reaction(question: str) -> str:
    return question[found.end() :] if (found := _REACTION.match(question)) else question


def _short(asked: str) -> bool:
    """Whether a question is too short to stand alone; not to be told of a script without spaces."""
    return len(_WORD.findall(asked)) < 3 and not _UNSPACED.search(asked)


# ---------------------------------------------------------------- what there was before


def _turns(history: Sequence[Message]) -> list[tuple[str, str]]:
    """Return every question with its short answer: an empty one, if it was long, a refusal, or none."""
    turns: list[tuple[str, str]] = []
    for message in history:
        text = message["content"].strip()
        if message["role"] == "user" and text:
            turns.append((text, ""))
        elif message["role"] == "assistant" and turns and text and not _UNKNOWN.match(text):
            short = len(_WORD.findall(text)) <= TELLING
            turns[-1] = (turns[-1][0], text if short else turns[-1][1])
    return turns


def _behind(question: str, before: _Turn) -> str:
    """Return a question behind the turn that it leans on."""
    return " ".join(part for part in (before.question, _sentence(before.answer), question) if part)


def _sentence(answer: str) -> str:
    return answer if not answer or answer[-1] in ".!?" else f"{answer}."


# ---------------------------------------------------------------- pronouns


def _pointers(question: str) -> list[str]:
    """Return the pronouns that nothing in the question itself explains, each once, in order."""
    found = []
    for match in _WORD.finditer(question):
        word = match.group().lower()
        before = question[: match.start()]
        if word in _THING | _MANY:
            pointing = not _PHRASE.search(before) and not _IDLE_IT.search(question)
            pointing = pointing and not (word in _MANY and _names(before))
        elif word in _PERSON:
            pointing = not _PHRASE.search(before) and not _names(before)
        else:
            pointing = (word == "there" and not re.match(r"\s*(?:is|are|was|were)\b", question[match.end() :])
                        and not re.search(r"\b(?:is|are|was|were)\s*$", before, re.IGNORECASE)) or (
                word == "then" and match.start() > 0
            )  # fmt: skip
        if pointing and word not in found:
            found.append(word)
    return found


def _meant(pointer: str, before: _Turn) -> str:
    """Return what a pronoun stands for; empty if nothing fits."""
    kind, answer = _asked_kind(before.question), _entity(before.answer)
    if pointer == "there":
        places = _PLACE.findall(before.question)
        found = (answer if kind == "place" else "") or (places[-1] if places else "")
        return found if not found or re.match(r"(?:in|at|on|near|from|to)\b", found) else f"in {found}"
    if pointer == "then":
        times = [match.group() for match in _TIME.finditer(before.answer + " " + before.question)]
        return (times[0] if re.match(r"[a-z]", times[0]) else f"in {times[0]}") if times else ""
    wanted = {"person"} if pointer in _PERSON else {"thing", "place"} if pointer in _THING else {"person", "thing"}
    if answer and kind in wanted:
        return answer
    return _named(before.question, person=pointer in _PERSON)


def _put(question: str, pointer: str, meant: str) -> str:
    """Return a question with a pronoun replaced wherever it stands, in the possessive where it is one."""

    def replaced(match: re.Match[str]) -> str:
        owns = pointer in _POSSESSIVE and (
            pointer != "her" or re.match(rf"\s+(?!{_PREPOSITION}\b|to\b)[a-z]", question[match.end() :])
        )
        return f"{meant}{'’' if meant.endswith('s') else '’s'}".replace("’", "'") if owns else meant

    return re.sub(rf"\b{pointer}\b", replaced, question, flags=re.IGNORECASE)


def _asked_kind(question: str) -> str:
    """Return what a question asks for: person, place, time, number, thing; empty if its words do not say."""
    kinds = (
        (
            "person",
            r"\bwho(?:m|se)?\b|\b(?:what|which) (?:person|man|woman|king|queen|artist|author|captain|engineer)\b",
        ),
        ("place", r"\bwhere\b|\b(?:what|which) (?:city|country|town|village|place|port|harbour|state|island|street)\b"),
        ("time", r"\bwhen\b|\b(?:what|which) (?:year|day|date|month|time|century)\b"),
        ("number", r"\bhow (?:many|much|long|old|far|tall|high|big|often)\b"),
        ("thing", r"\b(?:what|which)\b"),
    )
    return next((kind for kind, words in kinds if re.search(words, question, re.IGNORECASE)), "")


def _entity(answer: str) -> str:
    """Return an answer as the name or thing that it is; empty if it is a number, a date or a whole sentence."""
    answer = answer.strip().rstrip(".!")
    if not answer or len(_WORD.findall(answer)) > SHORT or _NUMBER.fullmatch(answer) or _TIME.fullmatch(answer):
        return ""
    if re.search(rf"\s{_VERB}\b", answer):
        names = _names(answer)
        return names[0] if len(names) == 1 else ""
    return answer[0].lower() + answer[1:] if re.match(r"(?:The|An?)\s", answer) else answer


def _named(question: str, *, person: bool) -> str:
    """Return what a question names: of people, a name before a description; of things, whichever comes first."""
    names, phrases = _names(question), [match.group().strip() for match in _PHRASE.finditer(question)]
    phrases = [phrase for phrase in phrases if len(phrase.split()) > 1]
    if re.match(r"\s*(?:what|who|which)\s+(?:is|was|are|were)\b", question, re.IGNORECASE):
        # "What is the price of the lamp?" is about the lamp.
        phrases = [phrase.partition(" of ")[2] or phrase for phrase in phrases]
    if person or not phrases:
        return (names or phrases or [""])[0]
    first_name = question.find(names[0]) if names else len(question)
    # "the keeper of Hall 4B" is the whole of it, "Hall 4B" a part.
    return phrases[0] if question.find(phrases[0]) <= first_name else names[0]


def _names(text: str) -> list[str]:
    """Return the names in a text: capitalised runs, but for a question's first word and for "I"."""
    found = []
    for match in _NAME.finditer(text):
        name = _FIRST.sub("", match.group()) if match.start() == 0 else match.group()
        name = re.sub(r"['’]s$", "", name.strip())
        if name and name.lower() not in {"i", "the"} and not _TIME.fullmatch(name):
            found.append(name)
    return found


# ---------------------------------------------------------------- ellipsis


def _exchanged(rest: str, before: _Turn, *, about: bool) -> str:
    """Return the question before, with what is of the same kind as the rest of a follow-up exchanged for it.

    Empty if there is no such thing, or if the rest is no name and no thing; of what was asked about, all is.
    """
    rest, question = rest.strip().rstrip("?!. "), before.question
    if re.match(rf"(?:{_PREPOSITION}|of|to)\b", rest, re.IGNORECASE):
        rest = rest[0].lower() + rest[1:]
    if not rest or re.match(r"(?:that|this|these|those|it|else)\b", rest, re.IGNORECASE):
        return ""
    if _TIME.fullmatch(rest):
        return _swapped(question, [match.group() for match in _TIME.finditer(question)], rest, time=True)
    if _LINKED.fullmatch(rest):
        word = rest.split()[0].lower()
        same = [linked for linked in _LINKED.findall(question) if linked.split()[0].lower() == word]
        return _swapped(question, same, rest, time=bool(_PLACE.fullmatch(rest)))
    if re.match(rf"{_PREPOSITION}\b|to\b|of\b", rest):
        return ""
    return (
        _renamed(rest, before) if about or _NAME.fullmatch(rest) or _PHRASE.fullmatch(rest) or _pointers(rest) else ""
    )


def _renamed(rest: str, before: _Turn) -> str:
    """Return the question before, about another name or thing."""
    for pointer in _pointers(rest):
        if not (meant := _meant(pointer, before)):
            return ""
        owns = rest.lower().startswith(pointer) and pointer in _POSSESSIVE
        rest = _put(rest, pointer, meant)
        if owns:
            return f"What is {rest}?"
    names, phrases = _names(before.question), [found.group().strip() for found in _PHRASE.finditer(before.question)]
    described = re.match(r"(?:the|an?|my|our|your)\s", rest, re.IGNORECASE)
    same = phrases if described and phrases else names
    return _swapped(before.question, [_likest(same, rest)] if same else [], rest)


def _swapped(question: str, old: Sequence[str], new: str, *, time: bool = False) -> str:
    """Return a question with the last of the old parts exchanged; a time or place that it had none of is added."""
    if old:
        at = question.rfind(old[-1])
        bare = time and not re.match(r"[a-z]", new) and re.match(r"([a-z]+)\s", old[-1])
        new = f"{bare.group(1)} {new}" if bare else new
        return _capital(question[:at] + new + question[at + len(old[-1]) :])
    if not time:
        return ""
    return f"{question.rstrip('?!. ')} {new if re.match(r'[a-z]', new) else f'in {new}'}?"


def _likest(parts: Sequence[str], new: str) -> str:
    """Return the part that shares most words with the new one; of equal ones the last."""
    words = set(new.lower().split()) - {"the", "a", "an", "of"}
    return max(reversed(parts), key=lambda part: len(words & set(part.lower().split())))


def _capital(question: str) -> str:
    return question[:1].upper() + question[1:]
