"""The kind of a sentence, by an ordered table of named rules: the first that matches decides, FACT if none does.

The rules know English; sentences of other languages are facts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parametric_memory.types import AtomKind


def _any(words: str) -> str:
    """Return a pattern for any of the words, which are separated by white space; ``_`` stands for a space."""
    return f"(?:{'|'.join(word.replace('_', ' ') for word in words.split())})"


_MONTH = _any(
    "jan(?:uary)? feb(?:ruary)? mar(?:ch)? apr(?:il)? may june? july? aug(?:ust)? sept?(?:ember)? "
    "oct(?:ober)? nov(?:ember)? dec(?:ember)?"
)
_DATE = (
    rf"(?:\b(?:1\d|20)\d\d(?:s|\b)|\b\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH}\b|\b{_MONTH}\.? \d{{1,2}}\b"
    r"|\byesterday\b|\blast (?:week|month|year|spring|summer|autumn|winter)\b|\b(?:days|weeks|months|years) ago\b)"
)
_PAST_VERB = _any(
    "was were had did became began bought broke brought built came fell found gave got grew held joined "
    "kept left lost made met moved paid ran rose sank sent set signed sold spent split spoke stood stole "
    "struck swam took tore went won wrote [a-z]{3,}ed"
)
#: In "is kept", "are paid", "will be named" the same form is no past tense.
_HAPPENED = rf"\b(?<!is )(?<!are )(?<!be )(?<!being ){_PAST_VERB}\b"
_NUMBER = (
    r"(?:[$€£¥]?\s?\d[\d.,:]*|"
    + _any(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand "
        "half no several many"
    )
    + ")"
)
_ABOUT = "(?:(?:up to|at least|at most|about|around|at|for|only|exactly|open|closed|set to|limited to|an?) )*"
_MEASURE_VERB = _any(
    "costs? measures? weighs? weigh holds? seats? contains? lasts? spans? covers? takes? took opens? "
    "closes? earns? carry carries needs?"
)
_DIMENSION = _any(
    "length height width depth weight size capacity area population price colou?r diameter volume speed extension"
)
_ROLE = _any(
    "head manager director owner chief leader lead chair chairman chairwoman chairperson president "
    "(?:co-?)?founder deputy assistant secretary member part subsidiary branch division successor "
    "predecessor supervisor boss partner husband wife spouse son daughter brother sister father mother "
    "parent child capital author creator inventor supplier customer client sponsor trustee captain ceo "
    "cto cfo coo"
)
_RELATION_VERB = _any(
    "owns owned_by manages leads supervises runs employs works?_for works?_at works?_with works?_in "
    "works?_under married_to acquired founded invented supplies replaces succeeds succeeded depends_on "
    "lives_in connects?_(?:\\S+_)?to connects?_(?:\\S+_)?with borders teaches represents"
)
_PLACED = r"(?:located|based|situated|headquartered|housed) (?:in|at|on|near|next to|between)"
_BY = r"(?:\w+ly )?\w+(?:ed|en|ade|ept|ld|lt|nt|ought|run|led) by"
_IMPERATIVE = _any(
    "add adjust allow always apply ask attach avoid back_up begin book bring build call carry change "
    "charge check choose clean clear click close collect combine complete configure confirm connect "
    "contact copy count cover create cut delete deliver dial disable disconnect do_not don['’]t download "
    "drag drain draw drop edit email empty enable ensure enter evacuate fill find fit fold follow get "
    "give go hand hang heat hold insert inspect install keep label launch leave let lift list load lock "
    "log look lower make mark measure mix mount move navigate never notify open pack paste pay photograph "
    "pick place plug point pour press print provide pull push put read reboot record register release "
    "remove repeat replace report request reset restart return review rinse rotate run save scan scroll "
    "seal select send set shake shout sign slide start stay stir stop store submit switch tap take tell "
    "test throw tighten touch turn type unlock unplug update upload use verify visit wait walk wash wear "
    "wipe write"
)
#: "Call volume is high" and "Report 7 was late" open with a noun: a finite verb follows within a few words.
_ORDER = (
    rf"{_IMPERATIVE}\b(?!(?:\s+[\w'’-]+){{0,5}}\s+(?:is|are|was|were|has|have|had|will|would|can|could|may|must|should"
    r"|costs?|contains?|includes?)\b)(?!\s*[:–-]\s)"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """If ``pattern`` is found in a sentence in lower case, the sentence is of ``kind``."""

    name: str
    kind: AtomKind
    pattern: re.Pattern[str]


def _rule(name: str, kind: AtomKind, *patterns: str) -> Rule:
    return Rule(name, kind, re.compile("|".join(patterns)))


#: What to do, what a word means, who belongs to whom, what happened, what a thing has, who acts on whom.
RULES = (
    _rule("numbered step", AtomKind.PROCEDURE, r"^step \d+\b"),
    _rule("instructions", AtomKind.PROCEDURE, r"^(?:(?:in order )?to|how to|when|if|before|after) [^.:]+: "),
    _rule(
        "order",
        AtomKind.PROCEDURE,
        rf"^(?:(?:first|second|third|then|next|finally|afterwards|now|please|also),? )*{_ORDER}",
        rf"^(?:(?:in order )?to|before|after|when|if|once|from|[^.:,]+:)"
        rf" ?[^.:,]*[,:]? (?<=[,:] )(?:please |then |first )?{_ORDER}",
    ),
    _rule(
        "meaning",
        AtomKind.DEFINITION,
        r"\b(?:means|refers? to|stands? for|denotes?)\b",
        r"\b(?:is|are) (?:called|defined as|known as|understood as|short for|an acronym for|another name for)\b",
        r"\b(?:is|are) (?:an abbreviation|the term|the name) (?:for|of)\b",
    ),
    _rule(
        "place in a hierarchy",
        AtomKind.RELATION,
        r"(?<!is )(?<!are )(?<!was )(?<!be )\breport(?:s|ed|ing)? (?:directly )?to\b",
        r"\banswers to\b|\bbelong(?:s|ed)? to\b",
        r"\b(?:is|are|was|were) (?:an? )?(?:part|member|subsidiary|branch|division)s? of\b",
    ),
    _rule(
        "role of",
        AtomKind.RELATION,
        rf"\b(?:is|are|was|were) (?:(?:the|an?|our|its|his|her|their) )?(?:[\w-]+ )?{_ROLE} (?:of|at|for)\b",
        rf"['’]s (?:[\w-]+ )?{_ROLE} (?:is|are|was|were)\b",
        rf"^(?:the )?(?:[\w-]+ )?{_ROLE} (?:of|at|for) [^,;:]{{1,60}}? (?:is|are|was|were)\b",
    ),
    _rule(
        "is a",
        AtomKind.DEFINITION,
        r"^(?:(?!\b(?:is|are|has|had|was|were)\b)[^,;:.]){1,80} (?:is|are) (?:an?|any|one of the) (?![\d.,]+ )",
    ),
    _rule("dated happening", AtomKind.EVENT, rf"^(?=.*{_DATE}).*{_HAPPENED}"),
    _rule("measure", AtomKind.ATTRIBUTE, rf"\b{_MEASURE_VERB} {_ABOUT}{_NUMBER}\b"),
    _rule(
        "possession",
        AtomKind.ATTRIBUTE,
        rf"\b(?:has|have|had) {_ABOUT}(?:[\w-]+ ){{0,3}}?{_NUMBER}\b",
        rf"\b(?:has|have|had) (?:(?:the|an?) )?{_DIMENSION}\b",
    ),
    _rule(
        "acts on",
        AtomKind.RELATION,
        rf"\b{_RELATION_VERB}\b",
        rf"\b(?:is|are|was|were) (?:{_PLACED}|{_BY})\b",
    ),
    _rule(
        "property",
        AtomKind.ATTRIBUTE,
        r"^(?:(?:the|our|its|his|her|their) )?(?:[\w-]+ ){0,3}[\w-]+ (?:of|for) [^,;:]{1,60}? (?:is|are|was|were)\b",
        r"^[^,;:]{1,60}['’]s? (?:[\w-]+ ){1,4}(?:is|are|was|were)\b",
    ),
    _rule("is a number", AtomKind.ATTRIBUTE, rf"\b(?:is|are|was|were) {_ABOUT}{_NUMBER}\b"),
)


def kind_of(text: str) -> AtomKind:
    """Return the kind of a sentence."""
    # Lower case once: ignoring case makes each of these patterns two to three times slower.
    text = text.lower()
    return next((rule.kind for rule in RULES if rule.pattern.search(text)), AtomKind.FACT)
