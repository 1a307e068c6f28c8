"""What every `KeyEncoder` must do, as tests to inherit.

For example::

    class TestMyEncoder(KeyEncoderConformance):
        @pytest.fixture
        def encoder(self):
            return MyEncoder()
"""

# ruff: noqa: D102 - a test's name is its sentence
from __future__ import annotations

import numpy as np
import pytest

from parametric_memory.protocols import KeyEncoder

STATEMENTS = ("The library opens at nine.", "Crab soup is sold on Friday.", "Der Hafen öffnet früh 🦀.")


class KeyEncoderConformance:
    """Inherit, and give an encoder."""

    @pytest.fixture
    def encoder(self) -> KeyEncoder:
        """Return the encoder under test."""
        raise NotImplementedError("a conformance test gives its own `encoder` fixture")

    def test_it_is_a_key_encoder_with_a_name(self, encoder: KeyEncoder) -> None:
        assert isinstance(encoder, KeyEncoder) and encoder.name

    def test_keys_have_unit_norm_and_the_stated_length(self, encoder: KeyEncoder) -> None:
        keys = encoder.encode_atoms(STATEMENTS)
        assert keys.shape == (3, encoder.dim) and keys.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, atol=1e-4)
        query = encoder.encode_query("When does the library open?")
        assert query.shape == (encoder.dim,) and query.dtype == np.float32
        assert abs(float(np.linalg.norm(query)) - 1) < 1e-4

    def test_no_statements_give_no_keys(self, encoder: KeyEncoder) -> None:
        assert encoder.encode_atoms([]).shape == (0, encoder.dim)

    def test_a_key_depends_on_its_statement_alone(self, encoder: KeyEncoder) -> None:
        together = encoder.encode_atoms(STATEMENTS)
        for statement, key in zip(STATEMENTS, together, strict=True):
            np.testing.assert_allclose(encoder.encode_atoms([statement])[0], key, atol=1e-4)

    def test_a_question_is_nearest_to_the_statement_that_answers_it(self, encoder: KeyEncoder) -> None:
        scores = encoder.encode_atoms(STATEMENTS) @ encoder.encode_query("On which day is crab soup sold?")
        assert int(scores.argmax()) == 1
