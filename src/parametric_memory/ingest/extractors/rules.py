"""Rules read one atom out of every sentence, list item, table row and short block of code.

What an atom needs to stand by itself is resolved into its statement: the title, the headings above it, the sentence
that introduces its list, the columns of its table. Nothing is rephrased, so nothing is invented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parametric_memory.ingest.extractors.kinds import kind_of
from parametric_memory.ingest.markup import mask, visible
from parametric_memory.ingest.passages import cut
from parametric_memory.ingest.sentences import sentences
from parametric_memory.types import Atom, AtomKind, Block, BlockKind, Passage, Span, stable_id, stated

#: Where a long sentence may be cut, best first; each match ends where the next piece starts.
_CLAUSE_ENDS = (
    re.compile(r"[;:][\s\v]+|[\r\n]+\s*"),
    re.compile(
        r"[,)][\s\v]+(?=(?:and|but|or|so|yet|while|which|who|whose|where|when|because|although|though|if|unless|until)\b)"
        r"|\s[–—-]+\s"
    ),
    re.compile(r"[,،、，][\s\v]*(?!\d)"),
    re.compile(r"[\s\v]+"),
)
# Scripts without spaces: each character counts as a word.
_WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\W\d_]+"
)
_ADDRESS = re.compile(r"\S@\S+\.\S|\w://\S|\bwww\.\S")
_TITLE_PARTS = re.compile(r"\s+[|·–—-]\s+")
#: File names that say nothing about what is in the file.
_BLANK_TITLES = frozenset(
    (
        "doc",
        "document",
        "file",
        "index",
        "main",
        "new",
        "note",
        "notes",
        "page",
        "readme",
        "test",
        "text",
        "tmp",
        "untitled",
    )
)
#: A cell that says nothing; a tick or a cross does.
_NO_VALUE = re.compile(r"[\s.·…_\-–—]*")
#: Columns whose value names the row all by itself.
_NAME_COLUMNS = frozenset({"", "#", "name", "item", "title"})


@dataclass(frozen=True, slots=True)
class RuleExtractor:
    """Extracts without a model; deterministic, and near linear in the length of the text.

    The ids of its atoms are provisional until `extract_document` has numbered them.

    Attributes:
        max_chars: Longer sentences are cut at clause boundaries; longer blocks of code are left out.
    """

    max_chars: int = 400

    def extract(self, passage: Passage) -> list[Atom]:
        """Return the passage's atoms in reading order; headings make none."""
        atoms: list[Atom] = []
        for block, following in zip(passage.blocks, [*passage.blocks[1:], None], strict=True):
            context = resolve_context(passage.title, block.headings)
            for text, kind, span in self._read(passage, block, following):
                atoms.append(_atom(passage.document_id, text, kind, span, context))
        return atoms

    def _read(self, passage: Passage, block: Block, following: Block | None) -> Iterator[tuple[str, AtomKind, Span]]:
        start = block.span.start - passage.span.start
        raw = passage.text[start : start + block.span.end - block.span.start]
        if block.kind is BlockKind.TABLE_ROW:
            for text in render_row(block.cells, lead=block.lead, max_chars=self.max_chars):
                yield text, AtomKind.ATTRIBUTE, block.span
        elif block.kind is BlockKind.CODE:
            code = "; ".join(line.strip() for line in raw.splitlines() if line.strip())
            if code and len(code) <= self.max_chars:
                yield _led(block.lead, code), AtomKind.PROCEDURE, block.span
        elif block.kind is not BlockKind.HEADING:
            yield from self._sentences(raw, block, following)

    def _left_out(self, block: Block) -> bool:
        """Return whether a block is code that is surely too long."""
        return block.kind is BlockKind.CODE and block.span.end - block.span.start > self.max_chars

    def _sentences(self, raw: str, block: Block, following: Block | None) -> Iterator[tuple[str, AtomKind, Span]]:
        body = mask(raw)
        for sentence in sentences(body):
            for piece in self._clauses(body, sentence):
                text = visible(piece.of(body))
                if block.kind is BlockKind.LIST_ITEM:
                    wanted = any(character.isalnum() for character in text)
                else:
                    # The sentence that introduces a list is part of each of its items.
                    repeated = following and not self._left_out(following) and _is_lead(text, following)
                    wanted = _says_something(text) and not repeated
                if wanted:
                    span = Span(block.span.start + piece.start, block.span.start + piece.end)
                    text = _led(block.lead, text)
                    yield text, kind_of(text), span

    def _clauses(self, body: str, sentence: Span) -> Iterator[Span]:
        """Yield a sentence, or its clauses if it is too long, without hidden characters at their ends."""
        start, end = sentence.start, sentence.end
        while end - start > self.max_chars:
            stop = _clause_end(body, start, start + self.max_chars)
            yield from _shown(body, start, stop)
            start = stop
        yield from _shown(body, start, end)


def resolve_context(title: str, headings: Sequence[str]) -> str:
    """Return the path that a sentence stands under ("Handbook > Offices"), without repetitions and empty file names."""
    path: list[str] = []
    name = _title_in_words(title)
    if name:
        path.append(name)
    said = {part.casefold() for part in [title, *_TITLE_PARTS.split(title)]}
    for heading in headings:
        if heading.casefold() not in said:
            path.append(heading)
            said.add(heading.casefold())
    return " > ".join(path)


def render_row(cells: Sequence[tuple[str, str]], *, lead: str = "", max_chars: int = 400) -> list[str]:
    """Return a table row as sentences, like "Aurora (room) – floor: 3; seats: 12.".

    Each begins with the row's first cell; there are several only if one would be longer than ``max_chars``.
    """
    filled = [(column, value) for column, value in cells if not _NO_VALUE.fullmatch(value)]
    if not any(character.isalnum() for _, value in filled for character in value):
        return []
    (column, subject), *rest = filled
    if column.casefold() not in _NAME_COLUMNS and column.casefold() not in subject.casefold():
        subject = f"{subject} ({_lowered(column)})"
    subject = _led(lead, subject)
    facts = [f"{_lowered(column)}: {value}" if column else value for column, value in rest]
    if not facts:
        return [_ended(subject)]
    link = " – " if any(column for column, _ in rest) else ": "
    rows = [facts[0]]
    for fact in facts[1:]:
        if len(subject) + len(link) + len(rows[-1]) + len(fact) + 3 <= max_chars:
            rows[-1] = f"{rows[-1]}; {fact}"
        else:
            rows.append(fact)
    return [_ended(f"{subject}{link}{row}") for row in rows]


def _atom(document_id: str, text: str, kind: AtomKind, span: Span, context: str) -> Atom:
    statement = stated(text, context)
    return Atom(stable_id(document_id, statement, str(span.start)), kind, statement, text, document_id, span, context)


def _clause_end(body: str, start: int, stop: int) -> int:
    """Return where to cut ``body`` between ``start`` and ``stop``: after the last of the best clause ends."""
    # Sooner, and the piece would be a stump.
    earliest = start + (stop - start) // 3
    for pattern in _CLAUSE_ENDS:
        ends = [match.end() for match in pattern.finditer(body, start, stop) if match.end() > earliest]
        if ends:
            return ends[-1]
    return start + cut(body[start:stop], stop - start)[0].end


def _shown(body: str, start: int, end: int) -> Iterator[Span]:
    piece = body[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    if left < right:
        yield Span(start + left, start + right)


def _says_something(text: str) -> bool:
    """Return whether a sentence is more than an exclamation or a label: three words, a number or an address."""
    return (
        any(character.isdigit() for character in text) or len(_WORD.findall(text)) >= 3 or bool(_ADDRESS.search(text))
    )


def _is_lead(text: str, following: Block) -> bool:
    return bool(following.lead) and following.lead.startswith(text.rstrip(":："))


def _led(lead: str, text: str) -> str:
    return f"{lead} {text}" if lead else text


def _lowered(column: str) -> str:
    """Return a column name as it reads inside a sentence; abbreviations and names of several capitals stay."""
    return column[0].lower() + column[1:] if column[1:].islower() else column


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?", "。")) else f"{text}."


def _title_in_words(title: str) -> str:
    """Return a title as words ("office_rules" → "office rules"), empty if it has none that mean something."""
    words = title if " " in title.strip() else title.replace("_", " ").replace("-", " ")
    meant = [word for word in re.split(r"[\W_]+", words) if word.isalpha() and len(word) > 1]
    return words.strip() if any(word.casefold() not in _BLANK_TITLES for word in meant) else ""
