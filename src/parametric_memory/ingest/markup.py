"""Inline markup of running text: emphasis, links, code spans, tags, entities.

`mask` hides it without moving a character, so that spans found in masked text are spans of the original; `visible`
then drops what was hidden. Only pairs that Markdown itself would read as markup are hidden: ``2 * 3`` and
``snake_case`` stay.
"""

from __future__ import annotations

import html
import re

#: Stands for a hidden character: white space to every splitter, and all but unknown in real text.
HIDDEN = "\v"

_ANY = re.compile(r"[*_`\[<&\\~\v>]")
_SHIELD = str.maketrans("*_~", "\ufdd0\ufdd1\ufdd2")
_UNSHIELD = str.maketrans("\ufdd0\ufdd1\ufdd2", "*_~")
_TAGS = (
    "a|abbr|b|big|br|center|cite|code|del|details|div|em|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|p|pre|q|s|small|span|"
    "strong|sub|summary|sup|table|tbody|td|th|thead|tr|tt|u|ul|var"
)

#: One pass over constructs whose inside is literal or that hold other markup in their label; the named group is kept.
_ATOMIC = re.compile(
    r"(?P<ticks>`+)(?P<code>[^`]{1,1000})(?P=ticks)"
    r"|\\(?P<escaped>[*_`\[\]#|<>~.!()-])"
    r"|<!--.{0,2000}?-->"
    r"|<(?P<url>(?:https?://|mailto:)[^<>\s]+|[^<>\s@]+@[^<>\s@]+)>"
    rf"|(?P<tag></?(?:{_TAGS})(?:\s[^<>]{{0,500}})?/?>)"
    r"|(?P<entity>&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});)"
    # A picture in the text itself is longer than other tags are.
    r"|(?P<picture><img\s[^<>]*>)"
    r"|\[\^[^\]\s]{1,40}\]",
    re.DOTALL,
)
_PAIRS = (
    re.compile(r"!?\[(?P<keep>[^\[\]]{0,1000})\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+(?:\"[^\"]*\"|'[^']*'))?\)"),
    re.compile(r"!\[(?P<keep>[^\[\]]{0,300})\]\[[^\[\]]{0,200}\]"),
    re.compile(r"\[(?P<keep>[^\[\]]{0,300}[^\W\d_][^\[\]]{0,300})\]\[[^\[\]]{0,200}\]"),
    re.compile(r"(?<![\w*])\*(?![\s*])(?P<keep>[^*]{1,500})(?<![ \t\r\n])\*(?![\w*])"),
    re.compile(r"\*{2,3}(?![ \t\r\n*])(?P<keep>[^*]{1,1000})(?<![ \t\r\n])\*{2,3}"),
    re.compile(r"(?<!\w)_(?![\s_])(?P<keep>[^_]{1,500})(?<![ \t\r\n])_(?!\w)"),
    # A single word between double underscores is more often a name of Python than bold text.
    re.compile(r"(?<!\w)__(?![\s_])(?P<keep>[^_]{0,500}[^\w][^_]{0,500})(?<![ \t\r\n])__(?!\w)"),
    re.compile(r"~~(?![ \t\r\n~])(?P<keep>[^~]{1,500})(?<![ \t\r\n])~~"),
)
_QUOTE_MARK = re.compile(r"(?<=[\r\n])[ \t]*>[> \t]*")
_TASK_BOX = re.compile(r"\A\[[ xX]\](?=\s)")
_BROKEN_COMPOUND = re.compile(r"(?<=\w)-(?>\r\n|\r|\n)\s*(?=\w)")


def mask(text: str) -> str:
    """Return ``text`` with its inline markup hidden, character for character of the same length."""
    if not _ANY.search(text):
        return text
    text = _TASK_BOX.sub(_hide, text.replace(HIDDEN, " "))
    text = _QUOTE_MARK.sub(_hide, _ATOMIC.sub(_hide_atomic, text))
    for pair in _PAIRS:
        text = pair.sub(_hide_around, text)
    return text.translate(_UNSHIELD)


def visible(text: str) -> str:
    """Return what a reader sees of masked text, on one line: nothing hidden, every run of white space one space."""
    text = _BROKEN_COMPOUND.sub("-", text.replace(HIDDEN, "").replace("\xad", ""))
    return " ".join(text.split())


def _hide(match: re.Match[str]) -> str:
    return HIDDEN * len(match[0])


def _hide_around(match: re.Match[str]) -> str:
    before, after = match.start("keep") - match.start(), match.end() - match.end("keep")
    return HIDDEN * before + match["keep"] + HIDDEN * after


def _hide_atomic(match: re.Match[str]) -> str:
    whole = match[0]
    if match["code"] is not None:
        ticks = HIDDEN * len(match["ticks"])
        return ticks + match["code"].translate(_SHIELD) + ticks
    if match["escaped"]:
        return HIDDEN + match["escaped"].translate(_SHIELD)
    if match["url"]:
        return HIDDEN + match["url"].translate(_SHIELD) + HIDDEN
    if match["entity"]:
        character = html.unescape(whole)
        return character + HIDDEN * (len(whole) - len(character)) if len(character) < len(whole) else whole
    if match["tag"] and re.match(r"</?(?:br|p|div|li|t[dhr]|h\d)\b", whole):
        return " " + HIDDEN * (len(whole) - 1)
    return HIDDEN * len(whole)
