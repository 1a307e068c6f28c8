import json
from dataclasses import replace

import pytest
import torch

from parametric_memory.adapters import export_peft, spec_for
from parametric_memory.backends import BUILTIN_BASE, HuggingFaceBackend
from parametric_memory.config import PromptConfig
from parametric_memory.errors import AdapterError, AdapterMismatchError, ConfigError
from parametric_memory.evaluation import LibrarySystem
from parametric_memory.evaluation import reader as readers
from parametric_memory.evaluation.reader import load_reader, need_reader, reader_digest, shipped_reader
from parametric_memory.evaluation.systems import SYSTEMS, Given, depends_on, with_reader
from parametric_memory.testing import TinyBackend
from parametric_memory.types import ComposedAdapter, LoraFactors


@pytest.fixture
def shipped(tmp_path, monkeypatch, library):
    """A reader for the tiny base model, among those that come with the package."""
    backend = library.memory.backend
    spec = spec_for(backend.model, backend.base_model, last=2)
    generator = torch.Generator().manual_seed(0)
    factors = {
        target: LoraFactors(torch.randn(4, 96, generator=generator), torch.randn(32, 4, generator=generator))
        for target in spec.targets
    }
    made = ComposedAdapter(spec, factors, ())
    export_peft(made, tmp_path / "readers" / "tiny")
    monkeypatch.setattr(readers, "SHIPPED", tmp_path / "readers")
    return made


def test_a_reader_is_found_by_the_base_models_weights(shipped):
    loaded = load_reader(TinyBackend())
    assert loaded.spec == shipped.spec
    assert all(torch.equal(loaded.factors[t].A, shipped.factors[t].A) for t in shipped.spec.targets)
    assert load_reader(TinyBackend(seed=1)) is None


@pytest.mark.parametrize(("name", "without"), [("reader", "in_context"), ("reader_document", "in_context_document")])
def test_a_reader_is_given_what_its_bare_counterpart_is_given(shipped, library, questions, name, without):
    bare = SYSTEMS[without](library, questions)
    read = SYSTEMS[name](library, questions)
    assert [replace(one, adapter=None) for one in read] == bare
    adapters = {id(one.adapter) for one in read}
    assert len(adapters) == 1 and read[0].adapter.spec == shipped.spec
    texts = [[p.text for p in LibrarySystem(s, library, SYSTEMS[s]).answer(questions)] for s in (name, without)]
    assert texts[0] != texts[1]


def test_any_system_can_read_with_a_reader_of_ones_own(shipped, library, questions, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    (tmp_path / "readers" / "tiny").rename(folder)
    prepare = with_reader(SYSTEMS["rag_dense"], folder=folder)
    assert [one.passages for one in prepare(library, questions)] == [
        one.passages for one in SYSTEMS["rag_dense"](library, questions)
    ]
    assert all(one.adapter is not None for one in prepare(library, questions))
    worded = with_reader(lambda _, qs: [Given(wording=library.memory.prompt) for _ in qs], folder=folder)
    assert worded(library, questions[:1])[0].wording is None


def test_a_base_model_without_a_reader_is_told_how_to_make_one(library, questions):
    with pytest.raises(ConfigError, match="pmem train reader --base tiny-0 --data DIR --out DIR"):
        SYSTEMS["reader"](library, questions)
    assert depends_on("reader", library.memory) == ""


def test_answers_depend_on_the_readers_weights(shipped, library, tmp_path):
    first = depends_on("reader", library.memory)
    assert first and first == depends_on("reader_document", library.memory) == reader_digest(library.memory.backend)
    changed = {target: LoraFactors(part.A * 2, part.B) for target, part in shipped.factors.items()}
    export_peft(replace(shipped, factors=changed), tmp_path / "readers" / "tiny")
    assert depends_on("reader", library.memory) != first
    assert depends_on("in_context", library.memory) == ""


def test_a_reader_of_another_base_or_a_broken_one_is_refused(shipped, tmp_path):
    folder = tmp_path / "readers" / "tiny"
    with pytest.raises(AdapterMismatchError, match="made for the base model tiny-0"):
        need_reader(TinyBackend(seed=1), folder)
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(AdapterError, match="pmem train reader"):
        need_reader(TinyBackend(), folder)


@pytest.mark.model
def test_the_shipped_reader_reads_better_than_the_bare_base_model():
    backend = HuggingFaceBackend.from_pretrained(BUILTIN_BASE)
    adapter = need_reader(backend)
    folder = shipped_reader(backend.fingerprint)
    provenance = json.loads((folder / "atom.json").read_text(encoding="utf-8"))["provenance"]["training"]
    assert adapter.spec.targets == tuple(f"model.layers.{n}.mlp.down_proj" for n in range(24, 30))
    assert all(part.rank == provenance["config"]["rank"] for part in adapter.factors.values())
    asked = [
        ("Which colour is the lighthouse of Lorn?", "The lighthouse of Lorn is painted green.", "green"),
        ("When did the bakery open?", "The bakery on Mill Street opened in 1921.", "1921"),
        ("Who owns the mill?", "The mill belongs to Maud Ferris, a retired pilot.", "Maud Ferris"),
    ]
    turns = [PromptConfig().conversation(question, [passage]) for question, passage, _ in asked]
    answers = [answer for *_, answer in asked]
    bare, read = (
        sum(total for total, _ in backend.loglikelihood(turns, answers, adapters=[one] * 3)) for one in (None, adapter)
    )
    assert read > bare
