from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from parametric_memory.adapters.factors import concat, dense, frobenius_norm, pad_rank, scale, stack, truncate
from parametric_memory.errors import AdapterError
from parametric_memory.types import LoraFactors

ranks = st.integers(1, 9)
seeds = st.integers(0, 2**31)
weights = st.floats(-4, 4, allow_nan=False, width=32)
properties = settings(max_examples=40, deadline=None)


def factors(seed: int, *, rank: int, d_in: int = 7, d_out: int = 5, dtype: torch.dtype = torch.float64) -> LoraFactors:
    rng = torch.Generator().manual_seed(seed)
    A = torch.randn(rank, d_in, generator=rng, dtype=torch.float64)
    B = torch.randn(d_out, rank, generator=rng, dtype=torch.float64)
    return LoraFactors(A.to(dtype), B.to(dtype))


@properties
@given(seed=seeds, parts=st.lists(st.tuples(ranks, weights), min_size=1, max_size=5))
def test_concat_equals_the_weighted_sum_of_updates(seed, parts):
    updates = [factors(seed + place, rank=rank) for place, (rank, _) in enumerate(parts)]
    joined = concat(updates, [weight for _, weight in parts])
    assert joined.rank == sum(rank for rank, _ in parts)
    expected = sum(weight * dense(update) for update, (_, weight) in zip(updates, parts, strict=True))
    assert_close(dense(joined), expected)


@pytest.mark.parametrize(("parts", "weights"), [([], []), ([factors(0, rank=1)], [1.0, 2.0])])
def test_concat_needs_parts_and_one_weight_for_each(parts, weights):
    with pytest.raises(ValueError, match="one weight per part"):
        concat(parts, weights)


def test_concat_joins_per_row_factors_row_by_row():
    a, b = ([factors(seed + row, rank=rank) for row in range(3)] for seed, rank in ((0, 2), (10, 4)))
    joined = concat([stack(a), stack(b)], [0.5, -1.0])
    for row in range(3):
        assert_close(dense(joined)[row], 0.5 * dense(a[row]) - dense(b[row]))


def test_concat_with_one_weight_per_rank_equals_the_sum_of_weighted_rank_one_updates():
    update, gates = factors(0, rank=3), torch.tensor([0.0, 0.5, 2.0])
    expected = sum(gate * torch.outer(update.B[:, t], update.A[t]) for t, gate in enumerate(gates.double()))
    assert_close(dense(concat([update], [gates])), expected)


def test_scale_needs_one_weight_per_rank():
    with pytest.raises(ValueError, match="got 2 for rank 3"):
        scale(factors(0, rank=3), torch.ones(2))


@properties
@given(seed=seeds, rank=ranks, more=st.integers(0, 4))
def test_padding_the_rank_changes_nothing_but_the_rank(seed, rank, more):
    update = factors(seed, rank=rank)
    padded = pad_rank(update, rank + more)
    assert padded.rank == rank + more
    assert_close(dense(padded), dense(update))


def test_padding_to_a_smaller_rank_is_refused():
    with pytest.raises(ValueError, match="truncate"):
        pad_rank(factors(0, rank=3), 2)


def test_stack_holds_every_row_and_zeros_where_there_is_none():
    rows = [factors(0, rank=2), None, factors(1, rank=5)]
    stacked = stack(rows)
    assert (stacked.A.shape, stacked.B.shape) == ((3, 5, 7), (3, 5, 5))
    for row, update in enumerate(rows):
        assert_close(dense(stacked)[row], torch.zeros(5, 7).double() if update is None else dense(update))


def test_stack_needs_at_least_one_update():
    with pytest.raises(ValueError, match="2 rows without any"):
        stack([None, None])


@properties
@given(seed=seeds, rank=ranks, kept=st.integers(1, 9))
def test_truncation_is_the_best_low_rank_approximation_and_knows_its_error(seed, rank, kept):
    update = factors(seed, rank=rank)
    cut, error = truncate(update, kept)
    U, S, Vh = torch.linalg.svd(dense(update), full_matrices=False)
    assert cut.rank <= max(kept, 1)
    assert_close(dense(cut), U[:, :kept] * S[:kept] @ Vh[:kept])
    assert error == pytest.approx(float(S[kept:].norm() / S.norm()), abs=1e-12)


def test_truncation_finds_the_true_rank_of_repeated_updates():
    update = factors(0, rank=2, d_in=48, d_out=32)
    cut, error = truncate(concat([update] * 3, [1.0, 2.0, 3.0]), 2)
    assert error < 1e-12
    assert_close(dense(cut), 6 * dense(update))


def test_truncation_leaves_small_factors_as_they_are():
    update = factors(0, rank=3)
    assert truncate(update, 3) == (update, 0.0)


def test_truncation_of_a_zero_update_has_no_error():
    cut, error = truncate(LoraFactors(torch.zeros(3, 7), torch.zeros(5, 3)), 1)
    assert error == 0.0
    assert not dense(cut).any()


def test_truncation_works_row_by_row_on_stacked_factors():
    rows = [factors(seed, rank=4) for seed in range(3)]
    cut, error = truncate(stack(rows), 2)
    assert_close(dense(cut), torch.stack([dense(truncate(row, 2)[0]) for row in rows]))
    total = float(dense(stack(rows)).norm())
    assert error == pytest.approx(float((dense(cut) - dense(stack(rows))).norm()) / total)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_truncation_in_half_precision_is_computed_in_full_and_given_back_in_half(dtype):
    update = factors(0, rank=6, d_in=48, d_out=32, dtype=dtype)
    cut, error = truncate(update, 4)
    assert cut.A.dtype == cut.B.dtype == dtype
    _, exact = truncate(LoraFactors(update.A.double(), update.B.double()), 4)
    assert error == pytest.approx(exact, rel=1e-3)


def test_truncation_names_non_finite_factors():
    with pytest.raises(AdapterError, match="NaN"):
        truncate(LoraFactors(torch.full((3, 7), float("nan")), torch.ones(5, 3)), 2)


def test_truncation_needs_a_positive_rank():
    with pytest.raises(ValueError, match="at least 1"):
        truncate(factors(0, rank=3), 0)


@properties
@given(seed=seeds, rank=ranks)
def test_frobenius_norm_equals_that_of_the_dense_update(seed, rank):
    update = factors(seed, rank=rank)
    assert_close(frobenius_norm(update), dense(update).norm())


def test_frobenius_norm_of_stacked_factors_is_one_number_per_row():
    rows = [factors(0, rank=2), None, factors(1, rank=3)]
    assert_close(
        frobenius_norm(stack(rows)),
        torch.stack([dense(row).norm() if row else torch.tensor(0.0).double() for row in rows]),
    )


def test_the_gradient_of_the_norm_is_finite_at_a_zero_update():
    A, B = torch.randn(2, 7, requires_grad=True), torch.zeros(5, 2, requires_grad=True)
    frobenius_norm(LoraFactors(A, B)).backward()
    assert A.grad.isfinite().all()
    assert B.grad.isfinite().all()


def test_gradients_of_the_algebra_are_those_of_finite_differences():
    tensors = [
        part.requires_grad_() for update in (factors(0, rank=2), factors(1, rank=3)) for part in (update.A, update.B)
    ]

    def norm_and_best_rank_two(A1, B1, A2, B2):
        joined = concat([LoraFactors(A1, B1), LoraFactors(A2, B2)], [0.5, -2.0])
        return frobenius_norm(joined), dense(truncate(joined, 2)[0])

    assert torch.autograd.gradcheck(norm_and_best_rank_two, tensors)
