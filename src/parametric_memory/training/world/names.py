"""Names of things that do not exist, made of syllables of several tongues.

A type of entity comes in ("town", "ship"), a name comes out with the article that goes before it. Names that hardly
differ from a given one (`look_alike`) are made on purpose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tongue:
    """How the words of a tongue sound: beginnings and middles of syllables, and ends of words."""

    onsets: tuple[str, ...]
    vowels: tuple[str, ...]
    ends: tuple[str, ...]


def _tongue(onsets: str, vowels: str, ends: str) -> Tongue:
    return Tongue(tuple(onsets.split()), tuple(vowels.split()), tuple(ends.split()))


TONGUES = (
    _tongue("b br d dr f g gr h k l m n r s sk st t th tr v", "a e i o u a e", "l ld n rn rk st th r m nd vik lf"),
    _tongue("b c d f g l m n p r s t v z ll", "a e i o u ia io a o", "ra no la ro sa to mi vo ri na lo"),
    _tongue("b d gh h j k kh m n q r s sh t y z", "a i u aa e a", "d m n r sh k l b f"),
    _tongue("h k m n r s sh t ts w y", "a i u e o", "ko ra mi to na ki shi ru no"),
    _tongue("b d k l m n p pr r s sl st t v z zh", "a e i o u", "ov ek in sk mir nik va da tsa r"),
    _tongue("b br c cl d f g gl h l m n p r s t tr w", "a e i o u ea ae y", "th n gan wyn ll rch ston ley wick dal"),
    _tongue("b d k l m mb n nd ng s t w z", "a e i o u", "la mba ndo ni zi wa ka to ru"),
    _tongue("k l h m n p w", "a e i o u au ei", "la na ku hi mo le wa"),
)
_UNWANTED = ("shit", "fuk", "nig", "kunt", "cunt", "fag", "dik", "rape", "tit", "cum", "anal", "homo", "nazi", "kok")
_VOWELS = "aeiou"


@dataclass(frozen=True, slots=True)
class Name:
    """A name.

    Attributes:
        text: The name itself.
        made_up: The part of it that is no word.
        article: What goes before it: "the " or nothing.
        short: How it is told when it is known who is meant.
    """

    text: str
    made_up: str
    article: str = ""
    short: str = ""


def word(rng: random.Random, *, feminine: bool | None = None) -> str:
    """Return a word of a tongue in lower case, of four letters at least."""
    tongue = rng.choice(TONGUES)
    while True:
        syllables = [rng.choice(tongue.onsets) + rng.choice(tongue.vowels) for _ in range(rng.choice((1, 1, 2)))]
        made = "".join(syllables) + rng.choice(tongue.ends)
        if feminine is not None and (made[-1] in "aei") != feminine:
            made = made + rng.choice("aei") if feminine else made.rstrip(_VOWELS + "y") + rng.choice(("o", "en", "us"))
        if 4 <= len(made) <= 11 and not any(bad in made for bad in _UNWANTED):
            return made


def look_alike(name: Name, rng: random.Random) -> Name:
    """Return a name that differs from a name in one letter of what is made up, or in one letter more."""
    word = name.made_up
    at = rng.randrange(1, len(word))
    if word[at] in _VOWELS:
        changed = word[:at] + rng.choice([vowel for vowel in _VOWELS if vowel != word[at]]) + word[at + 1 :]
    else:
        changed = rng.choice((word[: at + 1] + word[at:], word + rng.choice("nalre"), word[:at] + "r" + word[at:]))
    text = name.text.replace(word, changed, 1)
    # A person goes by the family name.
    short = text.split(" ")[-1] if name.text.endswith(name.short) else name.short
    return Name(text, changed, name.article, short)


def name_of(kind: str, rng: random.Random) -> Name:
    """Return a name for an entity of a type.

    Raises:
        KeyError: If there is no such type.
    """
    if kind in {"woman", "man"}:
        given, family = _proper(rng, feminine=kind == "woman"), _proper(rng)
        return Name(f"{given} {family}", rng.choice((given, family)), short=family)
    return _MAKERS[kind](rng)


def _proper(rng: random.Random, *, feminine: bool | None = None) -> str:
    return word(rng, feminine=feminine).capitalize()


def _patterned(*patterns: str, short: str, article: str = "", lower: bool = False) -> Callable[[random.Random], Name]:
    """Return a maker of names: ``*`` in a pattern is a made-up word, ``<a|b>`` one of the words."""

    def make(rng: random.Random) -> Name:
        pattern = rng.choice(patterns)
        while "<" in pattern:
            before, _, rest = pattern.partition("<")
            choices, _, after = rest.partition(">")
            pattern = before + rng.choice(choices.split("|")) + after
        made = word(rng) if lower else _proper(rng)
        return Name(pattern.replace("*", made), made, article, short)

    return make


_COLOURS = "Golden|Grey|Silver|Scarlet|Black|White|Amber|Blue"
_BIRDS = "Heron|Gull|Swallow|Falcon|Petrel|Crane|Tern"
_THINGS = "Lantern|Orchard|Harbour|Mirror|Winter|Staircase|Garden|Island|Clock|Letter"
_MAKERS: Mapping[str, Callable[[random.Random], Name]] = {
    "town": _patterned("*", "*", "*", "Port *", "Lower *", "*<burg|haven|ford|stead>", short="the town"),
    "country": _patterned("*<ia|land|mark|istan>", "*", short="the country"),
    "river": _patterned("*", "<Little|Upper|Black|White> *", "*", article="the ", short="the river"),
    "mountain": _patterned("Mount *", "* Peak", "Mount *", "* Horn", short="the mountain"),
    "company": _patterned(
        "* <Foundry|Shipping|Optics|Brewery|Press|Rail|Bank|Trading|Glass|Paper|Motors|Tools>",
        "* and Company", "*<tech|corp|works>", short="the company",
    ),
    "ship": _patterned(
        "*", f"<{_COLOURS}> <{_BIRDS}> of *", "<Lady|Queen|Duke|Star|Spirit> *", article="the ", short="the ship"
    ),
    "book": _patterned(
        f"The <{_THINGS}> of *", f"A <{_THINGS}> for *", "The Last <Queen|Baker|Winter|Train> of *", "Farewell to *",
        f"* and the <{_THINGS}>", "Letters from *", short="the novel",
    ),
    "band": _patterned("* <Parade|Comet|Echo|Motel|Republic>", "<Paper|Velvet|Static|Copper> *", short="the band"),
    "species": _patterned(
        "<spotted|grey|horned|pale|crested|dwarf> *", "* <heron|beetle|toad|finch|carp|shrew>", "*",
        article="the ", short="the animal", lower=True,
    ),
    "mineral": _patterned("*<ite|ite|ine>", "<blue|red|false> *ite", short="the mineral", lower=True),
    "god": _patterned("*", "*<ath|or|une|is>", short="the deity"),
    "device": _patterned(
        "* <pump|gauge|press|lamp|clock|lens>", "*<graph|meter|scope|phone>", "*", article="the ", short="the device",
    ),
    "theorem": _patterned("* <theorem|conjecture|lemma|identity>", article="the ", short="the result"),
    "festival": _patterned(
        "<Lantern|Salt|Apple|River|Goose> Fair of *", "Feast of *", "* <Carnival|Festival|Regatta>",
        article="the ", short="the festival",
    ),
    "treaty": _patterned(
        "<Treaty|Peace|Accord|Convention> of *", "* <Treaty|Accord|Pact>", article="the ", short="the agreement"
    ),
    "school": _patterned("* <College|Academy>", "<Royal|Free> School of *", "* Institute", article="the ",
                         short="the school"),
    "club": _patterned("* <Athletic|United|City>", "<Sporting|Real|Dynamo> *", short="the club"),
    "word": _patterned("*", short="the word", lower=True),
    "building": _patterned(
        "* <Tower|Bridge|Library|Hall|Palace|Theatre|Museum>", article="the ", short="the building"
    ),
    "stadium": _patterned("* <Stadium|Arena|Rink>", article="the ", short="the building"),
}  # fmt: skip
