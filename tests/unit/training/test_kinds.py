import pytest

from parametric_memory.ingest import sentences
from parametric_memory.training.kinds import (
    any_kind,
    cloze,
    extractive,
    free_form,
    multi_hop,
    reasoned,
    triples,
)

DOCUMENT = "Ada lives in Delft. Bob lives in Ghent. Cid moved away because the rent rose."
HOPS = {
    "document": (
        "Skerry\nSkerry is an island. It was bought by Ada Byron in 1830.\n\n"
        "Ada Byron\nShe wrote letters. She was born in London.\n\n"
        "Bob Byron\nBob was born in London. He never went to Skerry."
    ),
    "title": "Skerry; Ada Byron",
    "question": "Where was the buyer of Skerry born?",
    "answers": ["London"],
}


def split(document):
    return [span.of(document) for span in sentences(document)]


def row(question="Where does Bob live?", *answers, **others):
    return {"document": DOCUMENT, "title": "", "question": question, "answers": answers, **others}


def only(draft):
    """Return a draft's one question and its sentences."""
    (example,) = draft.examples
    assert not draft.left_out
    return example, [text for section in draft.sections for text in section.texts]


def said(example, texts):
    return [texts[place.atom][place.begin : place.end] for place in example.places]


def test_an_extracted_answer_stands_in_one_sentence_as_it_is_written_there():
    example, texts = only(extractive(row("Where does Bob live?", "ghent."), split))
    assert example.golds == (1,) and example.answer == "Ghent" and said(example, texts) == ["Ghent"]


def test_the_second_acceptable_answer_is_taken_if_the_first_stands_nowhere():
    assert only(extractive(row("Where does Bob live?", "Flanders", "Ghent"), split))[0].answer == "Ghent"


def test_an_answer_over_several_sentences_has_a_group_of_golds():
    example, texts = only(extractive(row("Who?", "Bob lives in Ghent. Cid moved away"), split))
    assert example.golds == (1, 2) and said(example, texts) == ["Bob lives in Ghent.", "Cid moved away"]
    example, texts = only(extractive(row("Which towns?", "Ghent and Delft"), split))
    assert example.golds == (0, 1) and said(example, texts) == ["Delft", "Ghent"]


def test_a_question_that_nothing_answers_has_look_alikes():
    example, _ = only(extractive(row("Where does Eve live?"), split))
    assert (example.answer, example.golds, example.places) == ("", (), ())
    assert {0, 1} <= set(example.look_alikes)
    assert extractive(row("Where?", answerable=True), split).left_out == ("no answer",)


def test_an_answer_in_other_words_stands_on_the_sentences_that_share_most_words():
    example, _ = only(free_form(row("Why did Cid leave?", "the rent rose a lot"), split))
    assert example.golds == (2,) and example.answer == "the rent rose a lot" and not example.places
    assert only(free_form(row("Who left?", "Cid"), split))[0].places, "unless the document says it word for word"
    assert free_form(row("Why did Cid leave?", "thunderstorms everywhere"), split).left_out


def test_yes_or_no_stands_on_the_whole_of_a_short_document():
    example, _ = only(reasoned(row("Do Ada and Bob live together?", "no"), split))
    assert example.golds == (0, 1, 2) and not example.places
    long = {**row("Does Bob live in Ghent?", "yes"), "document": DOCUMENT + " Nothing else happened there." * 9}
    example, texts = only(reasoned(long, split))
    assert len(example.golds) == 4 < len(texts) and 1 in example.golds


def test_a_multi_hop_question_stands_on_a_sentence_of_each_titled_paragraph():
    example, texts = only(multi_hop(HOPS, split))
    golds = [texts[gold] for gold in example.golds]
    assert golds == ["It was bought by Ada Byron in 1830.", "She was born in London."]
    assert said(example, texts) == ["London"] and example.places[0].atom == example.golds[1]


def test_look_alikes_of_a_multi_hop_question_are_in_other_paragraphs_and_lack_the_answer():
    example, texts = only(multi_hop(HOPS, split))
    assert [texts[atom] for atom in example.look_alikes] == ["He never went to Skerry."]


def test_a_paragraph_with_a_semicolon_in_its_title_is_found():
    renamed = {**HOPS, "document": HOPS["document"].replace("Skerry\n", "Skye; Skerry\n", 1)}
    example, _ = only(multi_hop({**renamed, "title": "Skye; Skerry; Ada Byron"}, split))
    assert len(example.golds) == 2
    assert multi_hop({**HOPS, "title": "Mull"}, split).left_out == ("no paragraph has its title",)


def test_one_version_of_a_changed_statement_is_taken():
    taken = 0
    for number in range(40):
        versions = [
            {
                "document": f"Person {number} speaks {language}.", "title": f"Person {number}", "answers": [language],
                "counterfactual": language == "Latin", "prompt": f"Person {number} speaks",
                "question": f"It rained. He left. Person {number} talks in",
            }
            for language in ("Dutch", "Latin")
        ]  # fmt: skip
        drafts = [cloze(version, split) for version in versions]
        made = [draft.examples[0] for draft in drafts if draft.examples]
        assert len(made) == 1 and made[0].question in (f"Person {number} speaks", f"Person {number} talks in")
        taken += bool(drafts[1].examples)
    assert 0 < taken < 40, "the true one for some, the changed one for others"


FACTS = [
    ["Ada", "PLACE_OF_RESIDENCE", "Delft"],
    ["He", "PLACE_OF_RESIDENCE", "Ghent"],
    ["Eve", "PLACE_OF_RESIDENCE", "Ghent"],
    ["Bob", "PLACE_OF_RESIDENCE", "Bonn"],
    ["Bob", "SPOUSE", "She"],
    ["Bob", "familyFriendly", "no"],
    ["Cid", "knows", "Ada"],
    ["Cid", "knows", "Bob"],
]


def test_facts_become_questions_where_the_text_names_both_ends():
    draft = triples({"document": DOCUMENT + " She is in. It is no trouble.", "title": "", "triples": FACTS}, split)
    (example,) = draft.examples
    assert example.answer == "Delft" and "Ada" in example.question and example.golds == (0,)
    assert len(draft.left_out) == len(FACTS) - 1


@pytest.mark.parametrize(
    ("made", "like"),
    [
        (row("Where?", triples=FACTS), triples),
        (row("Where does Eve live?"), extractive),
        (row("Does Bob live in Ghent?", "Yes"), reasoned),
        (row("Where does Bob live?", "Ghent"), extractive),
        (row("Why did Cid leave?", "the rent rose a lot"), free_form),
    ],
)
def test_a_file_of_ones_own_is_read_by_what_its_rows_hold(made, like):
    assert any_kind(made, split) == like(made, split)
