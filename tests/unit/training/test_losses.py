import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.hypernetwork.network import Gates
from parametric_memory.training.losses import (
    answer_nll,
    atom_nll,
    gate_hits,
    injected_norm,
    preservation_kl,
    rank_norm,
    span_nll,
    symmetric_kl,
    teacher_kl,
)
from parametric_memory.types import LoraFactors


def labels(*columns, width=5):
    return torch.tensor([[column in columns for column in range(width)]])


def told(logits, k):
    best = logits.log_softmax(dim=-1).topk(k, dim=-1)
    return best.indices, best.values


def factors(rows, rank, d_in, d_out):
    return LoraFactors(torch.randn(rows, rank, d_in), torch.randn(rows, d_out, rank))


def test_answer_nll_is_the_mean_cross_entropy_of_the_answers_tokens():
    logits, targets = torch.randn(6, 11), torch.randint(0, 11, (6,))
    expected = -torch.log_softmax(logits, -1)[torch.arange(6), targets].mean()
    torch.testing.assert_close(answer_nll(logits, targets), expected)


def test_terms_of_a_batch_without_answers_cost_nothing_and_keep_their_gradient():
    logits = torch.randn(0, 11, requires_grad=True)
    none = torch.empty(0, dtype=torch.long)
    top, shares = torch.empty(0, 4, dtype=torch.long), torch.empty(0, 4)
    for term in (
        answer_nll(logits, none),
        teacher_kl(logits, top, shares),
        symmetric_kl(logits, top, shares),
        preservation_kl(logits, logits.detach()),
    ):
        assert term.item() == 0
        term.backward()


def test_span_nll_is_zero_for_perfect_gates():
    inside = torch.tensor([[0, 0.5, 0.5, 0, 0]]).log()
    start = torch.tensor([[0, 1.0, 0, 0, 0]]).log()
    loss = span_nll(Gates(inside.clamp(min=-50), start.clamp(min=-50)), labels(1, 2), labels(1))
    assert abs(float(loss)) < 1e-5


def test_span_nll_of_ignorance_is_the_logarithm_of_the_choices():
    even = torch.full((1, 5), -math.log(5))
    loss = span_nll(Gates(even, even), labels(1), labels(1))
    assert abs(float(loss) - 2 * math.log(5)) < 1e-5


def test_span_nll_counts_only_rows_whose_span_is_known():
    gates = Gates(torch.randn(2, 5).log_softmax(1), torch.randn(2, 5).log_softmax(1))
    wanted = torch.cat([labels(1, 2), labels(3)])
    first = Gates(gates.inside[:1], gates.start[:1])
    found = span_nll(gates, wanted, wanted, rows=torch.tensor([True, False]))
    torch.testing.assert_close(found, span_nll(first, wanted[:1], wanted[:1]))
    assert float(span_nll(gates, wanted, wanted, rows=torch.tensor([False, False]))) == 0


def test_atom_nll_asks_for_the_atoms_as_a_whole():
    inside = torch.tensor([[0.3, 0.4, 0.1, 0.1, 0.1]]).log()
    loss = atom_nll(Gates(inside, inside), labels(0, 1))
    torch.testing.assert_close(loss, -torch.tensor(0.7).log())


@given(st.integers(0, 10_000), st.integers(1, 20))
def test_divergences_are_never_negative_and_vanish_where_student_and_teacher_agree(seed, k):
    torch.manual_seed(seed)
    logits, others = torch.randn(3, 20), torch.randn(3, 20)
    for divergence in (teacher_kl, symmetric_kl):
        assert float(divergence(logits, *told(others, k))) >= -1e-5
        assert abs(float(divergence(logits, *told(logits, k)))) < 1e-4
    assert float(preservation_kl(logits, others)) >= -1e-6
    assert abs(float(preservation_kl(logits, logits))) < 1e-6


def test_a_teacher_that_tells_everything_gives_the_whole_divergence():
    p, q = torch.randn(4, 9), torch.randn(4, 9)
    expected = torch.nn.functional.kl_div(p.log_softmax(-1), q.log_softmax(-1), log_target=True, reduction="batchmean")
    torch.testing.assert_close(teacher_kl(p, *told(q, 9)), expected, atol=1e-4, rtol=1e-4)


def test_symmetric_kl_does_not_mind_who_teaches():
    p, q = torch.randn(4, 9), torch.randn(4, 9)
    whole = torch.arange(9).expand(4, 9)
    one = symmetric_kl(p, whole, q.log_softmax(-1))
    other = symmetric_kl(q, whole, p.log_softmax(-1))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_injected_norm_is_the_update_as_a_share_of_the_residual_stream():
    made, x, h = factors(2, 3, 6, 4), torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    where = torch.zeros(2, 5, dtype=torch.bool)
    where[1, 2] = True
    delta = made.B[1] @ made.A[1] @ x[1, 2]
    torch.testing.assert_close(injected_norm(made, x, h, where), delta.pow(2).sum() / h[1, 2].pow(2).sum())
    assert float(injected_norm(made, x, h, torch.zeros_like(where))) == 0


def test_rank_norm_is_the_mean_norm_of_the_ranks_that_are_there():
    made = factors(1, 3, 6, 4)
    present = torch.tensor([[True, True, False]])
    norms = [made.A[0, r].norm() * made.B[0, :, r].norm() for r in (0, 1)]
    torch.testing.assert_close(rank_norm([made], present), torch.stack(norms).mean())


def test_hits_count_rows_whose_best_token_is_right():
    inside = torch.tensor([[0.1, 0.9, 0, 0, 0], [0.9, 0.1, 0, 0, 0]]).clamp(min=1e-9).log()
    wanted = torch.cat([labels(1, 2), labels(1, 2)])
    token, first = gate_hits(Gates(inside, inside), wanted, wanted)
    assert (float(token), float(first)) == (0.5, 0.5)
    token, _ = gate_hits(Gates(inside, inside), wanted, wanted, rows=torch.tensor([True, False]))
    assert float(token) == 1.0
