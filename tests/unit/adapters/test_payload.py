from __future__ import annotations

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parametric_memory.adapters import pack, unpack
from parametric_memory.errors import CorruptAdapterError

scalars = st.one_of(st.text(max_size=20), st.integers(), st.booleans(), st.floats(allow_nan=False))
TENSORS = {"u": torch.arange(6, dtype=torch.float16).reshape(2, 3), "tokens": torch.tensor([7, 8])}


@settings(max_examples=50, deadline=None)
@given(metadata=st.dictionaries(st.text(max_size=10), scalars, max_size=4))
def test_what_was_packed_comes_back(metadata):
    tensors, found = unpack(pack(TENSORS, metadata))
    assert found == metadata
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {"u": torch.float16, "tokens": torch.int64}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_views_that_share_memory_and_carry_gradients_can_be_packed():
    whole = torch.randn(4, 3, requires_grad=True)
    tensors, _ = unpack(pack({"whole": whole, "columns": whole.T, "row": whole[1]}))
    assert torch.equal(tensors["columns"], whole.detach().T)
    assert torch.equal(tensors["row"], whole[1].detach())


def test_equal_contents_give_equal_bytes_in_any_order():
    one = pack(TENSORS, {"a": 1, "b": "two", "c": 3.0})
    other = pack(dict(reversed(TENSORS.items())), {"c": 3.0, "b": "two", "a": 1})
    assert one == other


@settings(max_examples=100, deadline=None)
@given(length=st.integers(0, len(pack(TENSORS, {"a": 1})) - 1))
def test_a_payload_that_was_cut_short_is_corrupt(length):
    with pytest.raises(CorruptAdapterError, match=f"{length} bytes"):
        unpack(pack(TENSORS, {"a": 1})[:length])


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(pack(TENSORS, {"a": 1})) - 1), value=st.integers(0, 255))
def test_a_changed_byte_is_either_read_or_reported_as_corrupt(place, value):
    payload = bytearray(pack(TENSORS, {"a": 1}))
    payload[place] = value
    try:
        unpack(bytes(payload))
    except CorruptAdapterError as error:
        assert error.__cause__ is not None


@pytest.mark.parametrize("payload", [b"", b"pickle?", safetensors.torch.save(TENSORS)])
def test_bytes_of_another_kind_are_corrupt(payload):
    with pytest.raises(CorruptAdapterError, match="compile its atom again"):
        unpack(payload)
