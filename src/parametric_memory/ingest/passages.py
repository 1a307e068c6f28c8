"""Documents to passages: runs of blocks under one heading, with exact offsets.

A passage never cuts a sentence, unless the sentence alone is longer than a passage. Table rows and blocks of code
are never cut at all: one that is longer is a passage of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from semantic_text_splitter import TextSplitter

from parametric_memory.ingest.markup import mask
from parametric_memory.ingest.plain import read_plain
from parametric_memory.ingest.sentences import sentences
from parametric_memory.types import Block, BlockKind, Document, Passage, Span

_WHOLE = (BlockKind.HEADING, BlockKind.TABLE_ROW, BlockKind.CODE)


def split(document: Document, *, max_chars: int = 1600) -> list[Passage]:
    """Return the passages of a document in reading order: ``passage.text == passage.span.of(document.text)``.

    A document without blocks is read as plain text.

    Raises:
        ValueError: If ``max_chars`` is not positive.
    """
    if max_chars < 1:
        raise ValueError(f"a passage needs at least one character, got max_chars={max_chars}")
    blocks = document.blocks or read_plain(document.text).blocks
    pieces = (piece for block in blocks for piece in _pieces(document.text, block, max_chars))
    return [_passage(document, group) for group in _groups(pieces, max_chars)]


def cut(text: str, max_chars: int) -> list[Span]:
    """Cut text into trimmed spans of at most ``max_chars``: at lines, else words, else letters as people see them."""
    chunks = TextSplitter(max_chars).chunk_indices(text)
    return [Span(start, start + len(chunk)) for start, chunk in chunks]


def _passage(document: Document, blocks: list[Block]) -> Passage:
    span = Span(blocks[0].span.start, blocks[-1].span.end)
    return Passage(document.id, span.of(document.text), span, document.title, tuple(blocks))


def _groups(blocks: Iterator[Block], max_chars: int) -> Iterator[list[Block]]:
    group: list[Block] = []
    for block in blocks:
        if group and _closes(group, block, max_chars):
            # The sentence that introduces a list stays with its first item.
            kept = [group.pop()] if len(group) > 1 and _introduces(group[-1], block) else []
            yield group
            group = kept
        group.append(block)
    if any(block.kind is not BlockKind.HEADING for block in group):
        yield group


def _closes(group: list[Block], block: Block, max_chars: int) -> bool:
    """Return whether ``block`` starts a new passage: it stands under another heading, or does not fit."""
    if all(before.kind is BlockKind.HEADING for before in group):
        return False
    new_section = block.kind is BlockKind.HEADING or block.headings != group[-1].headings
    return new_section or block.span.end - group[0].span.start > max_chars


def _introduces(before: Block, block: Block) -> bool:
    return bool(block.lead) and before.kind is BlockKind.PARAGRAPH and before.headings == block.headings


def _pieces(text: str, block: Block, max_chars: int) -> Iterator[Block]:
    """Yield a block, or runs of its sentences if it is longer than a passage."""
    if block.span.end - block.span.start <= max_chars or block.kind in _WHOLE:
        yield block
        return
    body = mask(block.span.of(text))
    start = end = 0
    for sentence in sentences(body):
        for part in _parts(body, sentence, max_chars):
            if end and part.end - start > max_chars:
                yield replace(block, span=Span(block.span.start + start, block.span.start + end))
                start = part.start
            end = part.end
    if end:
        yield replace(block, span=Span(block.span.start + start, block.span.start + end))


def _parts(text: str, sentence: Span, max_chars: int) -> list[Span]:
    if sentence.end - sentence.start <= max_chars:
        return [sentence]
    return [Span(sentence.start + part.start, sentence.start + part.end) for part in cut(sentence.of(text), max_chars)]
