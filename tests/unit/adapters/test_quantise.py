import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.adapters.quantise import from_int8, to_int8


@given(st.integers(0, 2**32 - 1), st.floats(1e-2, 1e3))
def test_no_number_moves_by_more_than_half_a_step(seed, size):
    rows = torch.randn(5, 32, generator=torch.Generator().manual_seed(seed)) * size
    again = from_int8(*to_int8(rows))
    step = rows.abs().amax(dim=1, keepdim=True) / 127
    # The scale is a float16, right to one part in 2,048.
    assert ((again - rows).abs() <= step * (0.5 + 127 / 2048)).all()


@pytest.mark.parametrize("row", [[0.0, 0.0], [1e-7, -1e-7]])
def test_rows_of_almost_nothing_stay_so(row):
    assert from_int8(*to_int8(torch.tensor([row]))).abs().max() < 1e-4


def test_numbers_take_a_byte_and_rows_a_scale():
    numbers, scale = to_int8(torch.randn(3, 7))
    assert (numbers.dtype, numbers.shape, scale.dtype, scale.shape) == (torch.int8, (3, 7), torch.float16, (3, 1))
