import json
import os

import pytest
from fpdf import FPDF

from parametric_memory.config import IngestConfig
from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.ingest import find_files, read_folder, read_path


@pytest.fixture
def put(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.rst", "README"])
def test_text_is_kept_to_the_character(put, name):
    text = "# Überblick\r\n\r\nDas Büro öffnet um neun.\r\n\tالنص العربي هنا.\r\n"
    (document,) = read_path(put(name, text))
    assert document.text == text


def test_a_document_knows_its_path_title_and_metadata(put, monkeypatch, tmp_path):
    put("docs/offices.md", "# Offices\n\nLisbon has 34 desks.\n")
    monkeypatch.chdir(tmp_path)
    (document,) = read_path("docs/offices.md", metadata={"user_id": "mira"})
    assert (document.source, document.title, document.metadata) == ("docs/offices.md", "Offices", {"user_id": "mira"})


def test_a_file_without_a_title_is_called_by_its_name(put):
    (document,) = read_path(put("opening_hours.txt", "the office opens at nine.\n"))
    assert document.title == "opening_hours"


def test_the_same_file_for_another_user_is_another_document(put):
    path = put("a.txt", "The office opens at nine.")
    ids = {
        read_path(path, metadata=metadata)[0].id
        for metadata in ({}, {"user_id": "a"}, {"user_id": "b"}, {"topic": "x"})
    }
    assert len(ids) == 3


def test_a_pdf_is_known_by_its_first_bytes_too(put):
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    pdf.multi_cell(0, 6, "The office opens at nine.")
    assert read_path(put("letter.bin", bytes(pdf.output())))[0].text == "The office opens at nine."


def test_every_line_of_jsonl_is_a_document(put):
    lines = [
        {
            "text": "Lisbon has 34 desks.",
            "title": "Offices",
            "source": "wiki/offices",
            "metadata": {"year": 2031, "note": None},
        },
        {"text": "Porto has two.", "id": 7},
        {"text": "Line\u2028separated."},
        {"text": "Same source again.", "source": "wiki/offices"},
    ]
    path = put("a.jsonl", "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n")
    documents = read_path(path, metadata={"user_id": "mira"})
    name = path.as_posix()
    assert [document.text for document in documents] == [line["text"] for line in lines]
    assert [document.source for document in documents] == ["wiki/offices", f"{name}#7", f"{name}#3", "wiki/offices#4"]
    assert documents[0].metadata == {"year": 2031, "user_id": "mira"}
    assert len({document.id for document in documents}) == 4


def test_a_line_of_jsonl_cannot_claim_another_user(put):
    path = put("a.jsonl", json.dumps({"text": "Words.", "metadata": {"user_id": "root"}}))
    assert read_path(path, metadata={"user_id": "mira"})[0].metadata == {"user_id": "mira"}


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "a"',
        '["text"]',
        '{"title": "no text"}',
        '{"text": " "}',
        '{"text": "a", "metadata": {"x": [1]}}',
        '{"text": "a", "source": 1}',
    ],
)
def test_a_broken_line_of_jsonl_is_named(put, line):
    with pytest.raises(UnreadableDocumentError, match=r"a\.jsonl, line 3"):
        read_path(put("a.jsonl", f'{{"text": "fine"}}\n\n{line}\n'))


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("empty.txt", b"", "is empty"),
        ("blank.md", b" \r\n\t", "white space"),
        ("photo.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is binary"),
        ("photo.txt", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is binary"),
        ("app.html", b"<html><body><script>render()</script></body></html>", "no text"),
        ("broken.pdf", b"not a pdf", "not a PDF"),
        ("big.txt", b"x" * 101, "101 bytes is over the limit of 100"),
    ],
)
def test_an_unreadable_file_is_named_with_what_was_found(put, name, content, found):
    with pytest.raises(UnreadableDocumentError, match=rf"{name}.*{found}"):
        read_path(put(name, content), config=IngestConfig(max_bytes=100))


def test_missing_files_and_folders_are_not_documents(tmp_path):
    with pytest.raises(UnreadableDocumentError, match=r"nowhere\.txt.*no such file"):
        read_path(tmp_path / "nowhere.txt")
    with pytest.raises(UnreadableDocumentError, match="read_folder"):
        read_path(tmp_path)
    with pytest.raises(UnreadableDocumentError, match=r"nowhere.*check the path"):
        read_folder(tmp_path / "nowhere")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UnreadableDocumentError, match="not a regular file"):
        read_path(tmp_path / "pipe.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else_asks_for_permission(put):
    path = put("secret.txt", "Words.")
    path.chmod(0)
    with pytest.raises(UnreadableDocumentError, match="permission denied"):
        read_path(path)


def test_an_error_of_the_disk_is_reported_with_its_cause(put, monkeypatch):
    def fail(self):
        raise PermissionError(13, "Permission denied")

    path = put("secret.txt", "Words.")
    monkeypatch.setattr(type(path), "read_bytes", fail)
    with pytest.raises(UnreadableDocumentError, match=r"secret\.txt: permission denied") as caught:
        read_path(path)
    assert isinstance(caught.value.__cause__, PermissionError)


def test_a_folder_is_read_in_sorted_order_and_one_bad_file_stops_nothing(put, tmp_path):
    for name, content in (
        ("b.txt", "Second file here."),
        ("a/z.md", "# First"),
        (".git/x.txt", "no"),
        ("c.png", b"\0\1"),
        ("d.txt", "Last one."),
    ):
        put(name, content)
    results = list(read_folder(tmp_path))
    assert [result.path.relative_to(tmp_path).as_posix() for result in results] == ["a/z.md", "b.txt", "c.png", "d.txt"]
    assert [len(result.documents) for result in results] == [1, 1, 0, 1]
    assert [result.path.name for result in results if result.error] == ["c.png"]


def test_a_single_file_is_a_folder_of_one(put):
    path = put("a.txt", "Words are here.")
    assert find_files(path) == [path]


def test_a_missing_library_is_an_error_of_its_files_alone(put, tmp_path, monkeypatch):
    put("a.pdf", b"%PDF-1.7")
    put("b.txt", "Words are here.")
    monkeypatch.setitem(__import__("sys").modules, "pypdf", None)
    first, second = read_folder(tmp_path)
    assert "parametric-memory[pdf]" in str(first.error)
    assert second.documents


def test_a_file_whose_name_is_no_text_is_read_like_the_others(put, tmp_path):
    put("a.txt", "The office is in Berlin.")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("The café is in Ghent.", encoding="utf-8")
    put("lines.jsonl", '{"text": "Half a \\ud83d character."}\n{"text": "It is.", "id": 0}')
    results = list(read_folder(tmp_path))
    assert [result.error for result in results] == [None, None, None]
    assert [document.text for result in results for document in result.documents] == [
        "The office is in Berlin.", "The café is in Ghent.", "Half a \ufffd character.", "It is.",
    ]  # fmt: skip
    assert results[2].documents[1].source.endswith("lines.jsonl#0")
