import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from parametric_memory.memory import route_page
from parametric_memory.types import Atom, AtomKind, Route, RoutedAtom, Span, TokenShare

NASTY = '<script>alert("x")</script> & </mark> "quoted" \' é'
VOID = {"meta", "br"}


class Page(HTMLParser):
    """The page as a browser takes it apart: elements with their attributes, and text, all properly nested."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.text, self._open = [], "", []
        self.feed(source)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in {"style", "script"}:
            self.text += data

    def all(self, tag):
        return [attrs for found, attrs in self.elements if found == tag]


def atom(name, text, *, context="", source=""):
    statement = f"{context}: {text}" if context else text
    return Atom(name, AtomKind.FACT, statement, text, "d", Span(0, len(text)), context=context, source=source)


def tokens(text, shares):
    words = [found.span() for found in re.finditer(r"\S+", text)]
    return tuple(TokenShare(Span(*word), share) for word, share in zip(words, shares, strict=True))


BUILT = "It was built in 1887."
TAKEN = RoutedAtom(
    atom("a", BUILT, context="Lighthouse", source="skarvik.md"), 2.3, reason="best", share=0.8, dense=0.81, lexical=6.2,
    tokens=tokens(BUILT, [0.0, 0.01, 0.02, 0.1, 0.67]),
)  # fmt: skip
LEFT = RoutedAtom(atom("b", "The ferry leaves at 6:40."), -1.4, reason="3.7 below the best", dense=0.2, lexical=0.0)
ROUTE = Route(
    "When was the lighthouse built?", (TAKEN,), (LEFT,), confidence=0.91, threshold=0.4,
    timings={"encode": 3.0, "search": 2.0, "route": 1.0, "gate": 4.0},
)  # fmt: skip


def test_a_page_is_one_file_that_asks_for_nothing():
    source = route_page(ROUTE)
    page = Page(source)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "form"}
    assert not re.search(r"https?:|@import|url\(", source)
    assert page.all("meta")[1]["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_it_shows_the_question_what_was_taken_what_was_left_and_why():
    page = Page(route_page(ROUTE))
    rows = [attrs.get("class") for attrs in page.all("tr")]
    assert rows == [None, "taken", "left"]
    for words in (ROUTE.query, "Of 2 candidates 1 is taken.", "✓ taken", "best", "✗ left", "3.7 below the best",
                  "skarvik.md", "Lighthouse: ", "threshold 0.400", "confidence 0.910", "10.0 ms", "search 2.0 ms",
                  "holds the answer: 80%", "0.81", "6.20"):  # fmt: skip
        assert words in page.text


def test_it_shows_what_further_hops_asked():
    assert "then asked: When? Ida <Bek>" in Page(route_page(replace(ROUTE, hops=("When? Ida <Bek>",)))).text
    assert "then asked" not in route_page(ROUTE)


def test_words_are_shaded_by_their_share_of_the_most_probable_one():
    marks = Page(route_page(ROUTE)).all("mark")
    strengths = [float(re.search(r"([\d.]+)\)", mark["style"])[1]) for mark in marks]
    assert strengths == [0.15, 1.0] and marks[-1]["title"] == "67.0%"


def test_bars_are_as_long_as_their_numbers():
    page = Page(route_page(ROUTE))
    widths = [float(attrs["style"][6:-1]) for attrs in page.all("span") if attrs.get("style", "").startswith("width:")]
    score, cosine, bm25, *left = widths
    assert (score, cosine, bm25) == (100.0, 81.0, 100.0)
    assert 0 < left[0] < 10 and left[1:] == [20.0, 0.0]
    stack = [attrs["style"].split(";")[0] for attrs in page.all("div") if "background:#" in attrs.get("style", "")]
    assert stack == ["width:30.00%", "width:20.00%", "width:10.00%", "width:40.00%"]
    [level] = [attrs["style"] for attrs in page.all("div") if "level" in attrs.get("class", "")]
    assert level == "width:91.00%"


def test_nothing_that_documents_or_users_say_becomes_markup():
    nasty = RoutedAtom(
        atom("a", NASTY, context=NASTY, source=NASTY), 1.0, reason=NASTY, tokens=tokens(NASTY, [0.2] * 6)
    )  # fmt: skip
    page = Page(route_page(Route(NASTY, (nasty,), (nasty,), confidence=0.9, timings={NASTY: 1.0})))
    assert not page.all("script") and len(page.all("h1")) == 1
    assert page.text.count(NASTY) >= 6  # the question twice (also as the title), and what the atoms say


def test_an_abstained_route_says_so_and_shades_nothing():
    page = Page(route_page(Route("Who?", (), (LEFT,), abstained=True, confidence=0.1, threshold=0.4)))
    assert "The memory abstains: it is not sure enough of any of 1 candidates." in page.text
    assert not page.all("mark") and "Time" not in page.text


@pytest.mark.parametrize(("confidence", "threshold"), [(17.0, 20.0), (-3.0, 0.5), (0.0, 0.0)])
def test_confidences_of_any_size_stay_on_the_page(confidence, threshold):
    page = Page(route_page(Route("Who?", (), (), abstained=True, confidence=confidence, threshold=threshold)))
    places = [float(place) for place in re.findall(r"(?:left|width):(?:clamp\(4rem, )?([\d.]+)%", str(page.elements))]
    assert places and all(0 <= place <= 100 for place in places)
