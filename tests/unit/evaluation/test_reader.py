import json
from dataclasses import replace

import pytest
import torch

from parametric_memory.adapters import export_peft
from parametric_memory.backends import BUILTIN_BASE, HuggingFaceBackend
from parametric_memory.config import PromptConfig
from parametric_memory.errors import AdapterError, AdapterMismatchError, ConfigError
from parametric_memory.evaluation import LibrarySystem
from parametric_memory.evaluation.reader import load_reader, need_reader, reader_digest, shipped_reader
from parametric_memory.evaluation.systems import SYSTEMS, Given, depends_on, with_reader
from parametric_memory.testing import TinyBackend
from parametric_memory.types import LoraFactors


def test_a_reader_is_found_by_the_base_models_weights(tiny_reader):
    loaded = load_reader(TinyBackend())
    assert loaded.spec == tiny_reader.spec
    assert all(torch.equal(loaded.factors[t].A, tiny_reader.factors[t].A) for t in tiny_reader.spec.targets)
    assert load_reader(TinyBackend(seed=1)) is None


@pytest.mark.parametrize(
    ("name", "without"),
    [("reader", "in_context"), ("reader_document", "in_context_document"), ("rag_reader", "rag_dense")],
)
def test_a_reader_is_given_what_its_bare_counterpart_is_given(tiny_reader, library, questions, name, without):
    bare = SYSTEMS[without](library, questions)
    read = SYSTEMS[name](library, questions)
    assert [replace(one, adapter=None) for one in read] == [replace(one, wording=None) for one in bare]
    adapters = {id(one.adapter) for one in read}
    assert len(adapters) == 1 and read[0].adapter.spec == tiny_reader.spec
    unread = [replace(one, adapter=None) for one in read]
    texts = [
        [p.text for p in LibrarySystem(name, library, lambda *_, g=g: g).answer(questions)] for g in (read, unread)
    ]
    assert texts[0] != texts[1]


def test_any_system_can_read_with_a_reader_of_ones_own(tiny_reader, library, questions, tmp_path):
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


def test_answers_depend_on_the_readers_weights(tiny_reader, library, tmp_path):
    first, retrieved = (depends_on(name, library.memory) for name in ("reader", "rag_reader"))
    assert first and first == depends_on("reader_document", library.memory) == reader_digest(library.memory.backend)
    changed = {target: LoraFactors(part.A * 2, part.B) for target, part in tiny_reader.factors.items()}
    export_peft(replace(tiny_reader, factors=changed), tmp_path / "readers" / "tiny")
    assert depends_on("reader", library.memory) != first
    assert depends_on("rag_reader", library.memory) != retrieved
    assert first not in depends_on("in_context", library.memory)


def test_a_reader_of_another_base_or_a_broken_one_is_refused(tiny_reader, tmp_path):
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
