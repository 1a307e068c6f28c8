import pytest

from parametric_memory.ingest import RuleExtractor, extract_document
from parametric_memory.ingest.extractors.rules import render_row, resolve_context
from parametric_memory.ingest.html import read_html
from parametric_memory.ingest.markdown import read_markdown
from parametric_memory.ingest.plain import read_plain
from parametric_memory.protocols import Extractor
from parametric_memory.types import AtomKind, Document


def atoms(text, *, read=read_markdown, title="", max_chars=400):
    content = read(text)
    document = Document.of(content.text, title=title or content.title, blocks=content.blocks)
    return extract_document(document, RuleExtractor(max_chars=max_chars))


def statements(text, **options):
    return [atom.statement for atom in atoms(text, **options)]


def test_a_sentence_is_resolved_by_title_and_headings():
    text = "# Handbook\n\n## Offices\n\n### Lisbon\n\nIt has **34 desks**\nand no lift. It opened in 2019.\n"
    first, second = atoms(text)
    assert first.statement == "Handbook > Offices > Lisbon: It has 34 desks and no lift."
    assert first.text == "It has 34 desks and no lift."
    assert first.context == "Handbook > Offices > Lisbon"
    assert first.span.of(text) == "It has **34 desks**\nand no lift."
    assert second.kind is AtomKind.EVENT


@pytest.mark.parametrize(
    ("title", "headings", "context"),
    [
        ("Handbook", ("Handbook", "Offices"), "Handbook > Offices"),
        ("Offices – Orrin Sound", ("offices", "Lisbon"), "Offices – Orrin Sound > Lisbon"),
        ("opening_hours-2031", (), "opening hours 2031"),
        ("readme", ("Offices",), "Offices"),
        ("3fa9bcde0112", ("Offices", "Offices"), "Offices"),
        ("doc1", (), ""),
        ("手册", ("办公室",), "手册 > 办公室"),
        ("", (), ""),
    ],
)
def test_context_holds_no_repetitions_and_no_empty_names(title, headings, context):
    assert resolve_context(title, headings) == context


def test_a_question_as_heading_is_followed_by_its_answer():
    assert statements("# What is the password?\n\nThe password is heron four.\n") == [
        "What is the password? The password is heron four."
    ]


def test_list_items_stand_by_themselves():
    text = "# Router\n\nTo reset the router:\n\n1. Hold the button. Wait for the lamp.\n2. Close it\n   - softly\n"
    assert [(atom.statement, atom.span.of(text)) for atom in atoms(text)] == [
        ("Router: To reset the router: Hold the button.", "Hold the button."),
        ("Router: To reset the router: Wait for the lamp.", "Wait for the lamp."),
        ("Router: To reset the router: Close it", "Close it"),
        ("Router: To reset the router: Close it: softly", "softly"),
    ]
    assert {atom.kind for atom in atoms(text)} == {AtomKind.PROCEDURE}


def test_table_rows_stand_by_themselves_and_cite_their_row():
    text = "# Rooms\n\n| Room | Floor | Seats |\n|---|---|---|\n| Aurora | 3 | 12 |\n| Borealis | | 4 |\n| | | |\n"
    assert [(atom.text, atom.span.of(text)) for atom in atoms(text)] == [
        ("Aurora (room) – floor: 3; seats: 12.", "Aurora | 3 | 12"),
        ("Borealis (room) – seats: 4.", "Borealis | | 4"),
    ]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ([("Name", "Mira"), ("Post", "Cook"), ("VHF", "72")], "Mira – post: Cook; VHF: 72."),
        ([("", "Opening"), ("", "9 am")], "Opening: 9 am."),
        ([("Label", "Violet label"), ("Meaning", "plants")], "Violet label – meaning: plants."),
        ([("Note", "Closed today!")], "Closed today! (note)."),
        ([("A", "–"), ("B", "")], None),
    ],
)
def test_a_row_reads_like_a_sentence(cells, sentence):
    assert render_row(cells) == ([sentence] if sentence else [])


def test_a_long_row_becomes_several_sentences_about_its_first_cell():
    cells = [("Room", "Aurora"), *((f"Column {i}", "value " * 8) for i in range(6))]
    rows = render_row(cells, lead="In Lisbon:", max_chars=150)
    assert len(rows) > 1
    assert all(row.startswith("In Lisbon: Aurora (room) – column") and len(row) <= 150 for row in rows)


def test_short_code_is_a_step_and_long_code_is_left_out():
    text = "To install it, run:\n\n```sh\nmake setup\nmake demo\n```\n\n```\n" + "x = 1\n" * 200 + "```\n"
    (atom,) = atoms(text)
    assert (atom.kind, atom.text) == (AtomKind.PROCEDURE, "To install it, run: make setup; make demo")


def test_headings_and_exclamations_make_no_atom_but_numbers_and_addresses_do():
    text = "# A heading of many words\n\nYes. Thank you! Call 4417. We agree today. Ask mira@example.org.\n"
    assert [atom.text for atom in atoms(text)] == ["Call 4417.", "We agree today.", "Ask mira@example.org."]


def test_a_list_of_single_words_keeps_every_word():
    assert statements("# Rooms\n\n- Aurora\n- Borealis\n") == ["Rooms: Aurora", "Rooms: Borealis"]


@pytest.mark.parametrize("read", [read_plain, read_markdown, read_html])
def test_no_sentence_with_three_words_is_lost(read):
    text = "\n\n".join(
        f"Sentence {i} says something; it is short. And {i} more words follow (see page {i})." for i in range(60)
    )
    found = " ".join(atom.text for atom in atoms(text, read=read))
    assert found.split() == text.split()


def test_long_sentences_are_cut_between_clauses():
    clauses = [f"the keeper of hall number {i} carries a heavy green key" for i in range(24)]
    text = f"{'; '.join(clauses[:12])}, and {', which '.join(clauses[12:])}."
    pieces = atoms(text, read=read_plain)
    assert all(len(piece.text) <= 400 for piece in pieces)
    assert " ".join(piece.text for piece in pieces) == text
    assert all(piece.text.endswith((";", ",", ".")) for piece in pieces)


def test_a_sentence_without_clauses_is_cut_between_words_and_a_word_between_letters():
    text = "word " * 200 + "ñ̃👨‍👩‍👧‍👦" * 120
    pieces = atoms(text.strip(), read=read_plain, max_chars=100)
    assert all(len(piece.span.of(text)) <= 100 for piece in pieces)
    assert {word for piece in pieces[:9] for word in piece.text.split()} == {"word"}


@pytest.mark.parametrize(
    "text",
    [
        "营业时间是九点到五点。周末不营业。",
        "يفتح المكتب في الساعة التاسعة. وهو مغلق يوم الأحد.",
        "Das Büro öffnet um neun. Es schließt um fünf Uhr.",
    ],
)
def test_other_languages_have_sentences_too(text):
    found = atoms(text, read=read_plain)
    assert len(found) == 2
    assert all(atom.kind is AtomKind.FACT and atom.span.of(text) == atom.text for atom in found)


def test_the_rule_extractor_is_an_extractor():
    assert isinstance(RuleExtractor(), Extractor)


def test_a_tick_and_a_cross_are_values():
    assert render_row([("Feature", "SSO"), ("Free", "✗"), ("Pro", "✓"), ("Old", "–")]) == [
        "SSO (feature) – free: ✗; pro: ✓."
    ]
    assert render_row([("Feature", "✗"), ("Free", "✓")]) == []
