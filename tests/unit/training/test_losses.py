import math

import torch

from parametric_memory.hypernetwork.network import Gates
from parametric_memory.training.losses import answer_nll, gate_hits, span_nll


def labels(*columns, width=5):
    return torch.tensor([[column in columns for column in range(width)]])


def test_answer_nll_is_the_mean_cross_entropy_of_the_answers_tokens():
    logits, targets = torch.randn(6, 11), torch.randint(0, 11, (6,))
    expected = -torch.log_softmax(logits, -1)[torch.arange(6), targets].mean()
    torch.testing.assert_close(answer_nll(logits, targets), expected)


def test_a_batch_without_answers_costs_nothing_and_keeps_its_gradient():
    logits = torch.randn(0, 11, requires_grad=True)
    answer_nll(logits, torch.empty(0, dtype=torch.long)).backward()


def test_span_nll_is_zero_for_perfect_gates():
    inside = torch.tensor([[0, 0.5, 0.5, 0, 0]]).log()
    start = torch.tensor([[0, 1.0, 0, 0, 0]]).log()
    loss = span_nll(Gates(inside.clamp(min=-50), start.clamp(min=-50)), labels(1, 2), labels(1))
    assert abs(float(loss)) < 1e-5


def test_span_nll_of_ignorance_is_the_logarithm_of_the_choices():
    even = torch.full((1, 5), -math.log(5))
    loss = span_nll(Gates(even, even), labels(1), labels(1))
    assert float(loss) == torch.tensor(2 * math.log(5)).item() or abs(float(loss) - 2 * math.log(5)) < 1e-5


def test_hits_count_rows_whose_best_token_is_right():
    inside = torch.tensor([[0.1, 0.9, 0, 0, 0], [0.9, 0.1, 0, 0, 0]]).clamp(min=1e-9).log()
    wanted = torch.cat([labels(1, 2), labels(1, 2)])
    token, first = gate_hits(Gates(inside, inside), wanted, wanted)
    assert (float(token), float(first)) == (0.5, 0.5)
