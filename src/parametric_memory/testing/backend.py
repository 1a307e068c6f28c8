"""What every `Backend` must do, as tests to inherit.

For example::

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def backend(self):
            return MyBackend(...)

        @pytest.fixture
        def adapter(self, backend):
            return a ComposedAdapter that fits it
"""

# ruff: noqa: D102 - a test's name is its sentence
from __future__ import annotations

from dataclasses import replace

import pytest

from parametric_memory.config import GenerationConfig
from parametric_memory.errors import AdapterMismatchError
from parametric_memory.protocols import Backend
from parametric_memory.types import ComposedAdapter, Message

SHORT = GenerationConfig(max_new_tokens=12)


def ask(text: str) -> list[Message]:
    """Return a conversation of one question."""
    return [{"role": "user", "content": text}]


class BackendConformance:
    """Inherit, and give a backend and an adapter that changes what it says."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend under test."""
        raise NotImplementedError("a conformance test gives its own `backend` fixture")

    @pytest.fixture
    def adapter(self, backend: Backend) -> ComposedAdapter:
        """Return an adapter that fits the backend."""
        raise NotImplementedError("a conformance test gives its own `adapter` fixture")

    def test_it_is_a_backend_that_knows_its_model(self, backend: Backend) -> None:
        assert isinstance(backend, Backend) and backend.base_model and backend.fingerprint

    def test_greedy_generation_is_the_same_alone_and_in_a_batch(self, backend: Backend) -> None:
        questions = [ask("One?"), ask("What is the second question about?"), ask("Three, then?")]
        together = backend.generate(questions, config=SHORT)
        assert [one.text for one in together] == [backend.generate([q], config=SHORT)[0].text for q in questions]
        assert all(1 <= one.usage.completion_tokens <= 12 and one.usage.prompt_tokens > 0 for one in together)

    def test_an_adapter_changes_its_own_row_alone(self, backend: Backend, adapter: ComposedAdapter) -> None:
        question = ask("What is it?")
        bare, adapted = (backend.generate([question], adapters=[one], config=SHORT)[0].text for one in (None, adapter))
        assert bare != adapted
        mixed = backend.generate([question] * 3, adapters=[None, adapter, None], config=SHORT)
        assert [one.text for one in mixed] == [bare, adapted, bare]

    def test_streamed_pieces_are_the_generation(self, backend: Backend, adapter: ComposedAdapter) -> None:
        question = ask("What is it?")
        for one in (None, adapter):
            [whole] = backend.generate([question], adapters=[one], config=SHORT)
            assert "".join(backend.stream(question, adapter=one, config=SHORT)) == whole.text

    def test_two_streams_do_not_meet(self, backend: Backend, adapter: ComposedAdapter) -> None:
        question = ask("What is it?")
        alone = ["".join(backend.stream(question, adapter=one, config=SHORT)) for one in (None, adapter)]
        streams = [backend.stream(question, adapter=one, config=SHORT) for one in (None, adapter)]
        written = ["", ""]
        open_ones = {0, 1}
        while open_ones:
            for number in sorted(open_ones):
                piece = next(streams[number], None)
                written[number] += piece or ""
                open_ones -= {number} if piece is None else set()
        assert written == alone

    def test_a_seed_makes_sampling_repeatable(self, backend: Backend) -> None:
        config = replace(SHORT, temperature=1.0, seed=7)
        assert backend.generate([ask("Go on?")], config=config) == backend.generate([ask("Go on?")], config=config)

    def test_loglikelihood_prefers_what_the_model_says(self, backend: Backend) -> None:
        question = ask("What is it?")
        said = backend.generate([question], config=SHORT)[0].text
        [(likely, tokens), (unlikely, other)] = backend.loglikelihood([question] * 2, [said, said[::-1] + "#~#"])
        assert tokens > 0 and likely / tokens > unlikely / other and likely <= 0

    def test_an_adapter_of_another_base_is_refused(self, backend: Backend, adapter: ComposedAdapter) -> None:
        foreign = replace(adapter, spec=replace(adapter.spec, base_fingerprint="another"))
        with pytest.raises(AdapterMismatchError):
            backend.generate([ask("What?")], adapters=[foreign], config=SHORT)

    def test_longer_texts_have_more_tokens(self, backend: Backend) -> None:
        assert 0 < backend.count_tokens("one") < backend.count_tokens("one two three four")
