from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from parametric_memory.config import MemoryConfig, PromptConfig
from parametric_memory.memory.answers import Prepared, said_instead
from parametric_memory.types import Answer, Generation, Route, Usage


class Spoken:
    """A backend that says what it was given to say, and remembers what it was asked."""

    base_model, fingerprint = "spoken", "spoken"

    def __init__(self, *texts):
        self.texts, self.prompts, self.batches, self.configs = list(texts), [], [], []

    def generate(self, conversations, *, adapters=None, config=None):
        self.prompts += conversations
        self.batches.append(len(conversations))
        self.configs.append(config)
        if any("too long" in turn["content"] for one in conversations for turn in one):
            raise ValueError("too long")
        return [Generation(self.texts.pop(0), Usage(1, 1)) for _ in conversations]

    def stream(self, conversation, *, adapter=None, config=None):
        self.prompts.append(conversation)
        yield from self.texts.pop(0)

    def loglikelihood(self, conversations, answers, *, adapters=None):
        return [(-1.0 if answer in {"true", '"add"'} else -2.0, 1) for answer in answers]

    def count_tokens(self, text):
        return len(text.split())


class Told:
    """A memory that holds an answer to everything but what is asked about moons, and says how it was asked."""

    def __init__(self, backend):
        self.backend, self.config, self.prompt = backend, MemoryConfig(), PromptConfig()
        self.is_disabled, self.asked = False, []

    def prepare(self, question, *, mode="atoms", filters=None, fallback=None):
        self.asked.append((question, mode, dict(filters or {})))
        abstained = "moon" in question
        answer = Answer("", Route(question, (), abstained=abstained), Usage(0, 0, 7 if mode == "hybrid" else 0))
        passages = ["A sentence."] if mode == "hybrid" else []
        adapter = None if abstained else SimpleNamespace(atom_ids=("a",))
        said = said_instead(answer.route, self.config, fallback)
        return Prepared(answer, self.prompt.conversation(question, passages), adapter, said)

    @contextmanager
    def disabled(self):
        self.is_disabled = True
        yield
        self.is_disabled = False


@pytest.fixture
def spoken():
    return Spoken


@pytest.fixture
def told():
    return Told
