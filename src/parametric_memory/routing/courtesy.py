"""What a question asks, without what courtesy puts around it.

"Hi! Could you tell me who wrote Ulysses? Thanks." comes in, "who wrote Ulysses?" goes out and is looked up: words that
any question may have tell no atom from another, and draw its key away from what it asks. The rules are English and take
away whole phrases at the edges only; what they do not know stays. The base model is asked in the user's own words.
"""

from __future__ import annotations

import re


def _any_of(*phrases: str) -> str:
    """Return a pattern of phrases in which a space is any white space, and no bracket captures."""
    return re.sub(r"\((?!\?)", "(?:", "|".join(phrases)).replace(" ", r"\s+")


#: Phrases that end with a mark: "Hello there!", "Sorry to bother you, but", "A quick question:".
_MARKED = _any_of(
    "(hello|hi|hey|greetings|good (morning|afternoon|evening|day))( (there|all|again|everyone))?",
    "thanks( (in advance|for your help))?",
    "excuse me",
    "(i['’]m |i am )?(so |very )?sorry( (to|for) [^,.:;!?]{1,40})?",
    "(i have |here['’]s |just )?(a|an|one|another|my)( (quick|short|simple|small|other|last))* question( for you)?",
)
#: Phrases before what is asked, whatever that begins with: "Could you please tell me", "I would like to know".
_TELLING = _any_of(
    "(please|kindly)(?! (please|me)\\b)",
    "(can|could|would|will) (you|someone|anyone|somebody|anybody)( (please|kindly))?"
    " (tell|explain|say|remind|inform|show)( (to )?(me|us))?",
    "(can|could|would|will) you( please)? let (me|us) know",
    "(would|do) you mind (telling|explaining|reminding|showing)( (to )?(me|us))?",
    "(tell|remind) (me|us)",
    "i( would|['’]d)?( really)? (like|love|want|need) to (know|learn|find out|ask)( you)?( (this|something))?",
)
#: Phrases before a question word: "Do you know who", "I was wondering when".
_WONDERING = _any_of(
    "(do|does|would) (you|anyone|anybody)( happen to)? (know|remember)",
    "(i['’]m |i am |i was |just )*(curious|wondering)",
    "i wonder",
    "((do|would) you have |have you )?any idea",
    "(may|can|could) (i|we) ask( you)?",
)
_MARK, _ASKING = r"(?:\s*[,.:;!]+|\s+[–—-]\s)", _any_of("(who|whom|whose|what|which|when|where|why|how|if|whether)")
_OPENING = re.compile(
    rf"\s*(?:(?:{_MARKED}){_MARK}(?:\s*but\b)?"
    rf"|(?:{_TELLING})\b(?:{_MARK})?"
    rf"|(?:{_WONDERING})(?:{_MARK}|(?=\s+{_ASKING}\b)))",
    re.IGNORECASE,
)
_THANKING = _any_of("((many )?thanks|thank you|please|cheers)( (so|very) much| a lot| in advance)?")
#: "…, please?", "… Thanks a lot!" Spaces are taken once and for all, or a pasted table would be searched for minutes.
_ENDING = re.compile(
    rf"(?:(?<=\S)(?>\s*)(?:,(?>\s*)|(?<=\s))please|(?<=[?.!,;])(?>\s*)(?:{_THANKING}))(?>\s*)(?P<mark>[?]?)[\s.!]*$",
    re.IGNORECASE,
)


def without_courtesy(question: str) -> str:
    """Return what is asked; the question as it is if that would leave nothing."""
    asked = question
    while found := _OPENING.match(asked):
        asked = asked[found.end() :]
    while found := _ENDING.search(asked):
        asked = asked[: found.start()] + found["mark"]
    return asked.strip() if re.search(r"\w", asked) else question
