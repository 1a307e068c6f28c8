from __future__ import annotations

import math

import pytest
import torch

from parametric_memory.routing.span_router import begin
from parametric_memory.routing.spans import MAX_ANSWER, MAX_TOKENS, NO_SPAN, SpanScores, _spans, inside, pairs_of
from parametric_memory.testing.doubles import tiny_encoder


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, tokenizer = begin(tiny_encoder(tmp_path_factory.mktemp("encoder")), frozen=1)
    return network.eval(), tokenizer


def a_pair_of_atoms():
    generator = torch.Generator().manual_seed(1)
    ends = torch.randn(2, 5, 2, generator=generator)
    return torch.stack([_spans(ends[n], torch.tensor([0.3 - n])) for n in range(2)]), ends


def test_one_softmax_goes_over_all_spans_of_all_atoms_and_nothing():
    scores, ends = a_pair_of_atoms()
    spans = {
        (n, s, e): float(ends[n, s, 0] + ends[n, e, 1]) + 0.3 - n
        for n in range(2)
        for s in range(5)
        for e in range(s, 5)
    }
    total = 1.0 + sum(map(math.exp, spans.values()))
    probabilities, nothing = SpanScores(scores).probabilities()
    assert float(nothing) == pytest.approx(1 / total, rel=1e-5)
    for (n, s, e), score in spans.items():
        assert float(probabilities[n, s, e]) == pytest.approx(math.exp(score) / total, rel=1e-4)
    assert float(probabilities.sum() + nothing) == pytest.approx(1.0)
    within = inside(probabilities)
    for n in range(2):
        for token in range(5):
            covering = sum(float(probabilities[n, s, e]) for s in range(5) for e in range(s, 5) if s <= token <= e)
            assert float(within[n, token]) == pytest.approx(covering, rel=1e-4)


def test_an_atoms_odds_against_nothing_do_not_depend_on_what_is_read_beside_it():
    scores, _ = a_pair_of_atoms()
    both, alone = SpanScores(scores), SpanScores(scores[:1])
    odds = []
    for found in (both, alone):
        probabilities, nothing = found.probabilities()
        odds.append(math.log(float(probabilities[0].sum() / nothing)))
    assert odds[0] == pytest.approx(odds[1], abs=1e-4)
    assert odds[1] == pytest.approx(float(scores[0].flatten().logsumexp(dim=0)), abs=1e-4)


def test_no_span_ends_before_it_starts_or_is_longer_than_an_answer():
    scores = _spans(torch.zeros(MAX_ANSWER + 3, 2), torch.zeros(1))
    spans = {(int(s), int(e)) for s, e in (scores > NO_SPAN).nonzero()}
    assert spans == {(s, e) for s in range(len(scores)) for e in range(s, min(len(scores), s + MAX_ANSWER))}


def test_tokens_of_the_text_stand_where_they_say_and_titles_are_no_answers(parts):
    _, tokenizer = parts
    text = "The old router is red."
    titled, plain = pairs_of(tokenizer, "Which colour?", [text, text], ["Router > red", ""])
    for pair in (titled, plain):
        assert [span.of(text).lower() for span in pair.spans] == ["the", "old", "router", "is", "red", "."]
        assert pair.ids[pair.first : pair.first + 6] == plain.ids[plain.first : plain.first + 6]
        assert pair.kinds.count(0) == plain.kinds.count(0)
    assert titled.first - plain.first == len(["router", ">", "red", ":"])


def test_an_atom_that_is_too_long_is_cut_and_never_the_whole_question(parts):
    network, tokenizer = parts
    [pair] = pairs_of(tokenizer, "which router is red", ["red " * 300], [""])
    assert len(pair.ids) == MAX_TOKENS
    assert 0 < len(pair.spans) < 300
    assert network.encoder.config.max_position_embeddings >= MAX_TOKENS


def test_pairs_read_together_are_scored_as_pairs_read_one_by_one(parts):
    network, tokenizer = parts
    pairs = pairs_of(
        tokenizer, "which router is red", ["the router is red", "blue", "a new router opens at nine " * 4], [""] * 3
    )
    with torch.no_grad():
        together = network(pairs).scores
        for pair, scores in zip(pairs, together, strict=True):
            T = len(pair.spans)
            alone = network([pair]).scores[0]
            torch.testing.assert_close(scores[:T, :T], alone, atol=1e-4, rtol=1e-4)
            assert bool((scores[T:] == NO_SPAN).all())
