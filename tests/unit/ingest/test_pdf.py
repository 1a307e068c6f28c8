import sys
from io import BytesIO

import pytest
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

from parametric_memory.errors import MissingDependencyError, UnreadableDocumentError
from parametric_memory.ingest.pdf import read_pdf
from parametric_memory.types import BlockKind

WRAPPED = "A second paragraph fol-\nlows here and goes on for so long that the program that writes it has to wrap it."
PARAGRAPH = (
    "The Lisbon office has 34 desks on the third floor, next to the library, and it was opened by Dr. Smith in 2019. "
    "It is closed on Sundays and on all public holidays of the city and of the country."
)


def write(pdf, text, *, style="", size=11):
    pdf.set_font("Helvetica", style, size)
    pdf.multi_cell(0, 6, text, new_x="LMARGIN", new_y="NEXT")


def guide():
    pdf = FPDF()
    pdf.set_title("Guide to the offices")
    for number in (1, 2):
        pdf.add_page()
        write(pdf, f"Chapter {number}", style="B", size=18)
        write(pdf, f"{PARAGRAPH}\n\n{WRAPPED}")
        write(pdf, "To reset the router:\n- hold the button\n- wait ten seconds")
        write(pdf, "Rooms", style="B")
        pdf.set_font("Helvetica", size=11)
        with pdf.table() as table:
            for cells in (("Room", "Floor"), ("Aurora", "3")):
                table.row(cells)
        pdf.set_y(-20)
        write(pdf, f"Orrin Sound - page {number} of 2")
    return bytes(pdf.output())


def encrypted(raw, **options):
    writer, out = PdfWriter(clone_from=PdfReader(BytesIO(raw))), BytesIO()
    writer.encrypt(algorithm="RC4-128", **options)
    writer.write(out)
    return out.getvalue()


def test_lines_become_blocks_with_headings_leads_and_columns():
    content = read_pdf(guide(), name="guide.pdf")
    first = [block for block in content.blocks if "Chapter 1" in (*block.headings, block.span.of(content.text))]
    assert content.title == "Guide to the offices"
    assert [(block.kind.value, block.span.of(content.text)) for block in first] == [
        ("heading", "Chapter 1"),
        ("paragraph", PARAGRAPH),
        ("paragraph", WRAPPED.replace("-\n", "")),
        ("paragraph", "To reset the router:"),
        ("list_item", "hold the button"),
        ("list_item", "wait ten seconds"),
        ("heading", "Rooms"),
        ("table_row", "Aurora | 3"),
    ]
    row = next(block for block in first if block.kind is BlockKind.TABLE_ROW)
    assert row.cells == (("Room", "Aurora"), ("Floor", "3"))
    assert row.headings == ("Chapter 1", "Rooms")


def test_running_heads_and_page_numbers_are_left_out():
    assert "page" not in read_pdf(guide(), name="guide.pdf").text


def test_a_paragraph_goes_on_over_the_page_break():
    pdf = FPDF()
    for line in ("The office in Lisbon has thirty-four desks and", "they stand on the third floor of the house."):
        pdf.add_page()
        write(pdf, line)
    assert read_pdf(bytes(pdf.output()), name="x.pdf").text == (
        "The office in Lisbon has thirty-four desks and they stand on the third floor of the house."
    )


def test_a_pdf_that_only_restricts_printing_is_read():
    raw = encrypted(guide(), user_password="", owner_password="owner")
    assert PARAGRAPH in read_pdf(raw, name="guide.pdf").text


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (encrypted(guide(), user_password="secret"), "is encrypted"),
        (b"%PDF-1.7\nrubbish", "not a PDF"),
        (guide()[:400], "not a PDF"),
    ],
    ids=["encrypted", "rubbish", "truncated"],
)
def test_a_pdf_that_cannot_be_opened_says_why(raw, found):
    with pytest.raises(UnreadableDocumentError, match=rf"guide\.pdf.*{found}"):
        read_pdf(raw, name="guide.pdf")


def test_a_pdf_of_pictures_asks_for_ocr():
    pdf = FPDF()
    pdf.add_page()
    pdf.rect(10, 10, 50, 50, style="F")
    with pytest.raises(UnreadableDocumentError, match=r"scan\.pdf.*OCR"):
        read_pdf(bytes(pdf.output()), name="scan.pdf")


def test_without_pypdf_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(MissingDependencyError, match=r"guide\.pdf.*parametric-memory\[pdf\]"):
        read_pdf(guide(), name="guide.pdf")


def test_the_pages_own_headings_are_no_running_heads_even_if_they_count():
    pdf = FPDF()
    for number in (101, 102, 103):
        pdf.add_page()
        write(pdf, f"Room {number}", style="B", size=16)
        write(pdf, f"It seats {number} people and is cleaned on every working day.")
        write(pdf, f"page {number}", style="B")
    content = read_pdf(bytes(pdf.output()), name="rooms.pdf")
    headings = [block.span.of(content.text) for block in content.blocks if block.kind is BlockKind.HEADING]
    assert headings == ["Room 101", "Room 102", "Room 103"]


def test_pages_of_numbers_alone_are_not_taken_for_empty():
    pdf = FPDF()
    for number in (1998, 1999):
        pdf.add_page()
        write(pdf, str(number))
    assert read_pdf(bytes(pdf.output()), name="years.pdf").text.split() == ["1998", "1999"]
