"""What a question promises, checked against every wording of every fact that any page tells."""

import time
from collections import defaultdict

import pytest

from parametric_memory.training.world import World
from parametric_memory.training.world.questions import FORMS, Asker
from parametric_memory.training.world.relations import relations, slots_of
from parametric_memory.training.world.statements import plain


@pytest.fixture(scope="module")
def answers(either):
    """The answers to every question that can be put about a told fact, by its text, worked out by filling in all."""
    told = [saying for page in either.world.pages for saying in page.sayings]
    newest = {}
    for saying in told:
        fact = saying.fact
        if fact.relation.changes:
            key = (fact.relation.name, fact.subject)
            newest[key] = max(newest.get(key, 0), int(fact["t"]))
    found = defaultdict(set)
    for fact in (saying.fact for saying in told):
        stale = fact.relation.changes and int(fact["t"]) < newest[fact.relation.name, fact.subject]
        for slot, wordings in fact.relation.asks.items():
            for template in (*wordings.known, *wordings.reserved):
                if not stale or "t" in slots_of(template) or slot == "t":
                    answer = fact[slot]
                    found[plain(template, fact.values)].add(answer if isinstance(answer, str) else answer.name.text)
    return found


def text_of(spot):
    return spot.page.statements[spot.sentence].text


def test_every_form_is_asked(either):
    asked = {question.form for question in either.questions}
    assert asked >= (FORMS.keys() - {"direct"}) | {"paraphrase", "dated"}


def test_an_answer_stands_word_for_word_where_its_place_says(either):
    for question in either.questions:
        if question.place:
            text, place = text_of(question.golds[-1]), question.place
            assert place.of(text) == question.answer
            assert not text[place.start - 1 : place.start].isalnum() and not text[place.end : place.end + 1].isalnum()
        else:
            assert question.answer in {"yes", "no", ""}


def test_no_question_has_two_right_answers(either, answers):
    checked = 0
    for question in either.questions:
        if question.place and question.form not in {"two_hop", "cloze"} and question.text in answers:
            checked += 1
            assert {answer.lower() for answer in answers[question.text]} == {question.answer.lower()}, question.text
    assert checked > 500


def test_the_same_question_is_never_asked_twice(either):
    assert len({question.text for question in either.questions}) == len(either.questions) == 2000


def test_what_cannot_be_answered_is_told_nowhere(either, answers):
    for question in either.of("unanswerable"):
        assert question.text not in answers
        assert question.golds == () and question.answer == "" and question.place is None
        assert question.look_alikes


def test_two_hops_take_both_sentences(either):
    for question in either.of("two_hop"):
        first, second = question.golds
        assert first != second and first.page is second.page is question.page
        assert question.answer not in text_of(first), "the first sentence alone would do"
        named = [one.name.text for one in first.page.mentioned if one.name.text in question.text]
        subjects = {saying.fact.subject.name.text for saying in first.page.statements[first.sentence].sayings}
        assert subjects & set(named), "the question names whom the first sentence is about"
        assert not any(name in text_of(second) for name in subjects & set(named)), "the second alone would do"


def test_the_newest_version_answers_and_the_older_one_tempts(either):
    for question in either.of("update"):
        said = [one.fact for one in question.page.statements[question.golds[0].sentence].sayings]
        fact = next(one for one in said if one.relation is question.relation)
        others = [
            saying.fact
            for spot in question.look_alikes
            for saying in spot.page.statements[spot.sentence].sayings
            if saying.fact.relation is fact.relation and saying.fact.subject is fact.subject
        ]
        assert others and all(int(other["t"]) < int(fact["t"]) for other in others)


def test_yes_and_no_agree_with_what_is_told(either):
    true = {
        plain(template, saying.fact.values).lower()
        for page in either.world.pages
        for saying in page.sayings
        for template in (*saying.fact.relation.checks.known, *saying.fact.relation.checks.reserved)
    }
    asked = [question for question in either.of("yes_no") if question.template in _checks(question.relation)]
    bare = [question for question in asked if question.text.count("?") == 1 and ":" not in question.text]
    bare = [question for question in bare if question.text.endswith("?")]
    assert {question.answer for question in bare} == {"yes", "no"}
    for question in bare:
        assert (question.text.lower() in true) == (question.answer == "yes"), question.text


def test_reserved_wordings_are_kept_for_validation(train, dev):
    known = {one for relation in relations() for wordings in relation.asks.values() for one in wordings.known}
    reserved = {one for relation in relations() for wordings in relation.asks.values() for one in wordings.reserved}
    assert not known & reserved
    assert not any(question.template in reserved for question in train.questions)
    assert not any(question.template in known for question in dev.questions)
    assert not {question.text for question in train.questions} & {question.text for question in dev.questions}


def test_questions_begin_in_many_ways(either):
    openings = defaultdict(int)
    for question in either.questions:
        openings[" ".join(question.text.split()[:2])] += 1
    assert max(openings.values()) < 0.15 * len(either.questions) and len(openings) > 60


def test_ten_thousand_questions_take_seconds():
    begin = time.process_time()
    assert len(list(Asker(World(1, 1400)).questions(10_000))) == 10_000
    assert time.process_time() - begin < 15


def _checks(relation):
    return {*relation.checks.known, *relation.checks.reserved}
