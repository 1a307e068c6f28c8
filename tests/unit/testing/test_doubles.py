from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from parametric_memory.protocols import Backend, KeyEncoder
from parametric_memory.testing.doubles import HashingKeyEncoder, TinyBackend, tiny_model


def test_the_tiny_model_is_the_same_every_time_and_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    first, second, other = TinyBackend(), TinyBackend(), TinyBackend(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert isinstance(first, Backend)


def test_the_tiny_tokenizer_keeps_any_text():
    _, tokenizer = tiny_model()
    text = "né 🙂\r\n\tשלום  "
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer(text).input_ids) == len(text.encode())


def test_the_tiny_backend_writes_printable_text():
    generations = TinyBackend().generate([[{"role": "user", "content": str(number)}] for number in range(8)])
    assert all(generation.text.isascii() and generation.text.isprintable() for generation in generations)


def test_hashed_keys_are_unit_vectors_that_share_what_their_texts_share():
    encoder = HashingKeyEncoder()
    keys = encoder.encode_atoms(["The router is red.", "Cats sleep.", "", "?!"])
    assert isinstance(encoder, KeyEncoder)
    assert keys.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1.0, rtol=1e-6)
    assert int(np.argmax(keys @ encoder.encode_query("Is the ROUTER red?"))) == 0
    assert encoder.encode_atoms([]).shape == (0, encoder.dim)


def test_hashed_keys_are_the_same_in_every_process():
    script = (
        "from parametric_memory.testing.doubles import HashingKeyEncoder;"
        "print(HashingKeyEncoder(16).encode_query('one two three').tolist())"
    )
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == str(HashingKeyEncoder(16).encode_query("one two three").tolist())
