"""Memories to test with: a tiny random base model by default, the real one for tests that are marked ``model``."""

from __future__ import annotations

import os

import pytest
from llama_index.core import Settings
from tiny_memory import ABSTAINING, CONFIG, tiny_backend, tiny_parts

from parametric_memory import ParametricMemory
from parametric_memory.backends.huggingface import HuggingFaceBackend
from parametric_memory.types import Generation, Usage

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def backend() -> HuggingFaceBackend:
    return tiny_backend()


@pytest.fixture(scope="session")
def parts(backend):
    return tiny_parts(backend)


@pytest.fixture(scope="session")
def make_memory(parts, tmp_path_factory):
    """Return a function that opens a new memory, whatever `from_pretrained` would be told."""
    opened = []

    def make(*_, path=None, config=CONFIG, **__) -> ParametricMemory:
        opened.append(ParametricMemory(**parts, path=path or tmp_path_factory.mktemp("memory"), config=config))
        return opened[-1]

    yield make
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(make_memory) -> ParametricMemory:
    return make_memory()


@pytest.fixture
def abstaining_memory(make_memory) -> ParametricMemory:
    return make_memory(config=ABSTAINING)


@pytest.fixture
def counted(monkeypatch):
    """Return a function that starts to record the texts of the atoms which a memory compiles."""

    def count(memory) -> list[str]:
        compiled, compile_ = [], memory.compiler.compile

        def counting(atoms):
            compiled.extend(atom.text for atom in atoms)
            return compile_(atoms)

        monkeypatch.setattr(memory.compiler, "compile", counting)
        return compiled

    return count


@pytest.fixture(scope="session")
def real_memory(tmp_path_factory):
    with ParametricMemory.from_pretrained(path=tmp_path_factory.mktemp("real")) as memory:
        yield memory


@pytest.fixture(params=["tiny", pytest.param("real", marks=pytest.mark.model)])
def either_memory(request):
    """Return an empty memory of the tiny base model, and of the real one with its store."""
    if request.param == "tiny":
        yield request.getfixturevalue("memory")
        return
    memory = request.getfixturevalue("real_memory")
    memory.reset()
    yield memory
    memory.reset()


@pytest.fixture(autouse=True)
def settings_as_they_were(monkeypatch):
    """Forget which models a test has set for LlamaIndex."""
    import llama_index.core

    monkeypatch.setattr(llama_index.core, "global_tokenizer", None)
    for name in ("_llm", "_embed_model", "_callback_manager", "_tokenizer", "_node_parser", "_transformations"):
        monkeypatch.setattr(Settings, name, None)


class Spoken:
    """A backend that says what it was given to say: for what is made of words, not for how a model finds them."""

    base_model, fingerprint = "spoken", "spoken"

    def __init__(self, *texts):
        self.texts, self.prompts = list(texts), []

    def generate(self, conversations, *, adapters=None, config=None):
        self.prompts += conversations
        return [Generation(self.texts.pop(0), Usage(1, 1)) for _ in conversations]

    def stream(self, conversation, *, adapter=None, config=None):
        self.prompts.append(conversation)
        yield from self.texts.pop(0)

    def loglikelihood(self, conversations, answers, *, adapters=None):
        return [(-1.0 if number == 0 else -2.0, 1) for number, _ in enumerate(answers)]

    def count_tokens(self, text):
        return len(text.split())


@pytest.fixture
def spoken():
    return Spoken


@pytest.fixture
def told():
    """Return the events that LlamaIndex's instrumentation tells while the test runs."""
    from llama_index.core.instrumentation import get_dispatcher
    from llama_index.core.instrumentation.event_handlers.base import BaseEventHandler

    events = []

    class Listener(BaseEventHandler):
        @classmethod
        def class_name(cls):
            return "Listener"

        def handle(self, event, **kwargs):
            events.append(event)

    root, listener = get_dispatcher(), Listener()
    root.add_event_handler(listener)
    yield events
    root.event_handlers.remove(listener)
