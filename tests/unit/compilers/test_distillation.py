from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MptConfig, MptForCausalLM, Qwen3Config, Qwen3ForCausalLM

from parametric_memory.adapters import compose, fingerprint, inject
from parametric_memory.compilers import DistillationCompiler
from parametric_memory.compilers.distillation.logits import Text, answer_logits
from parametric_memory.config import DistillationConfig
from parametric_memory.errors import AdapterMismatchError, CompilationError, UnsupportedModelError
from parametric_memory.testing import tiny_model
from parametric_memory.testing.compiler import CompilerConformance, atoms
from parametric_memory.types import AdapterSpec, AtomAdapter, LoraFactors

# Random weights answer nothing, so it takes a large rate to teach them something in a few steps.
CONFIG = DistillationConfig(
    rank=4, layers=2, templates=3, questions=1, steps=4, rows=2, learning_rate=0.02, patience=None
)
GREEN, MAUD = "The lighthouse is green.", "The owner of the bakery is Maud Ferris."


def distiller(model_and_tokenizer, **changes):
    model, tokenizer = model_and_tokenizer
    return DistillationCompiler(
        model, tokenizer, base_model="tiny", fingerprint="tiny", config=replace(CONFIG, **changes)
    )


@pytest.fixture(scope="module")
def tiny():
    return tiny_model(layers=4)


def assert_same(one, other, **tolerance):
    assert one.factors.keys() == other.factors.keys()
    for target, factors in one.factors.items():
        torch.testing.assert_close(factors.A, other.factors[target].A, **tolerance)
        torch.testing.assert_close(factors.B, other.factors[target].B, **tolerance)


class TestDistillationCompiler(CompilerConformance):
    @pytest.fixture(scope="class")
    def compiler(self, tiny):
        return distiller(tiny)


def test_atoms_distilled_together_come_out_as_each_alone(tiny):
    compiler = distiller(tiny, questions=0)
    together = compiler.distil({"a": [GREEN], "b": [MAUD], "c": ["Rye bread is sold on Friday and Monday."]})
    [alone] = compiler.distil({"b": [MAUD]})
    assert_same(together[1], alone, rtol=1e-3, atol=1e-4)


def test_starting_from_cached_states_gives_what_the_whole_model_gives(tiny, monkeypatch):
    compiler = distiller(tiny, questions=0)
    [cached] = compiler.distil({"a": [GREEN]})
    module = "parametric_memory.compilers.distillation.student.shortcut_is_exact"
    monkeypatch.setattr(module, lambda *_: False)
    [whole] = compiler.distil({"a": [GREEN]})
    assert_same(cached, whole, rtol=1e-3, atol=1e-4)


def test_the_base_model_stays_bit_for_bit_and_so_does_torchs_random_state(tiny):
    model, _ = tiny
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    distiller(tiny).compile(atoms())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_settings_give_the_same_codes_and_another_seed_others(tiny):
    first, again = distiller(tiny).compile(atoms()), distiller(tiny).compile(atoms())
    assert [code.payload for code in first] == [code.payload for code in again]
    assert distiller(tiny, seed=1).compile(atoms())[0].payload != first[0].payload


def test_an_adapter_does_not_depend_on_what_its_atom_is_called(tiny):
    compiler = distiller(tiny)
    [one], [other] = compiler.distil({"a": [GREEN]}), compiler.distil({"z": [GREEN]})
    assert_same(one, other, rtol=0, atol=0)


def test_the_student_comes_nearer_to_the_teacher(tiny):
    compiler = distiller(tiny, steps=30, nll_weight=0.0)
    question = "Which colour is the lighthouse?"
    [adapter] = compiler.distil({"a": [GREEN]}, questions={"a": [question]})
    assert divergence(compiler, GREEN, question, adapter) < 0.5 * divergence(compiler, GREEN, question, None)


def divergence(compiler, statement, question, adapter):
    """KL of the student from the teacher over the whole vocabulary, on the teacher's own answer."""
    from parametric_memory.compilers.distillation.exercises import Exercise
    from parametric_memory.compilers.distillation.teacher import Task
    from parametric_memory.hypernetwork.chat import prompt_ids

    [lesson] = compiler._teacher.lessons([Task(statement, Exercise(question))])
    reading = prompt_ids(compiler._tokenizer, compiler.prompt.conversation(question, [statement]))
    with torch.no_grad():
        teacher = answer_logits(compiler._model, [Text(reading, lesson.text.answer)]).log_softmax(-1)
        with inject(compiler._model, adapter):
            student = answer_logits(compiler._model, [lesson.text]).log_softmax(-1)
    return float((teacher.exp() * (teacher - student)).sum(-1).mean())


def test_a_document_is_distilled_into_one_adapter(tiny):
    compiler = distiller(tiny)
    document, atom = compiler.distil({"document": [GREEN, MAUD], "atom": [GREEN]})
    assert document.atom_id == "document"
    assert {f.rank for f in document.factors.values()} == {4}
    assert any(not torch.equal(f.B, atom.factors[target].B) for target, f in document.factors.items())


def random_adapter(compiler, rank):
    generator = torch.Generator().manual_seed(3)
    factors = {
        target: LoraFactors(
            torch.randn(rank, 96, generator=generator), torch.randn(32, rank, generator=generator) * 0.02
        )
        for target in compiler.spec.targets
    }
    return AtomAdapter("atom", compiler.spec, factors)


def test_refining_with_no_steps_changes_nothing_and_with_some_keeps_the_rank(tiny):
    compiler = distiller(tiny)
    given = random_adapter(compiler, rank=7)
    [same] = compiler.refine([given], [GREEN], steps=0)
    assert_same(same, given, rtol=0, atol=0)
    [refined] = compiler.refine([given], [GREEN], steps=2)
    target = compiler.spec.targets[0]
    assert refined.factors[target].rank == 7
    assert not torch.equal(refined.factors[target].B, given.factors[target].B)


def test_refining_begins_at_the_given_adapter(tiny):
    compiler = distiller(tiny, learning_rate=0.0)
    given = random_adapter(compiler, rank=7)
    [after] = compiler.refine([given], [GREEN], steps=2)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad(), inject(compiler._model, given):
        expected = compiler._model(ids).logits
    with torch.no_grad(), inject(compiler._model, after):
        assert torch.equal(compiler._model(ids).logits, expected)


def test_adapters_of_different_ranks_are_refined_together_as_alone(tiny):
    compiler = distiller(tiny, questions=0)
    small, large = random_adapter(compiler, rank=2), random_adapter(compiler, rank=9)
    together = compiler.refine([small, large], [GREEN, MAUD])
    [alone] = compiler.refine([small], [GREEN])
    assert_same(together[0], alone, rtol=1e-3, atol=1e-4)


def test_a_target_that_an_adapter_leaves_out_stays_out(tiny):
    compiler = distiller(tiny)
    whole = random_adapter(compiler, rank=3)
    upper = replace(whole, factors={compiler.spec.targets[1]: whole.factors[compiler.spec.targets[1]]})
    for gate in (None, lambda _question, _number: [1.0] * 3):
        [refined] = compiler.refine([upper], [GREEN], gate=gate)
        assert list(refined.factors) == [compiler.spec.targets[1]]
        assert not torch.equal(refined.factors[compiler.spec.targets[1]].B, upper.factors[compiler.spec.targets[1]].B)


def test_ranks_whose_gate_is_closed_are_not_taught(tiny):
    compiler = distiller(tiny)
    given = random_adapter(compiler, rank=4)
    [refined] = compiler.refine([given], [GREEN], gate=lambda _question, _number: [1.0, 0.0, 1.0, 0.0])
    for target, factors in refined.factors.items():
        assert torch.equal(factors.B[:, 1::2], given.factors[target].B[:, 1::2])
        assert not torch.equal(factors.B[:, ::2], given.factors[target].B[:, ::2])


def test_refining_can_truncate_first(tiny):
    compiler = distiller(tiny)
    [refined] = compiler.refine([random_adapter(compiler, rank=9)], [GREEN], rank=3)
    assert {factors.rank for factors in refined.factors.values()} == {3}
    with pytest.raises(ValueError, match="gate"):
        compiler.refine([refined], [GREEN], rank=3, gate=lambda *_: [1.0])


def test_an_adapter_of_other_modules_cannot_be_refined(tiny):
    compiler = distiller(tiny)
    strange = AtomAdapter("atom", AdapterSpec("tiny", "tiny", ("lm_head",)), {"lm_head": LoraFactors(None, None)})
    with pytest.raises(AdapterMismatchError, match="DistillationConfig"):
        compiler.refine([strange], [GREEN])


def test_an_atom_that_has_learned_enough_stops_by_itself(tiny):
    seen = []
    compiler = distiller(tiny, steps=50, patience=2, enough=1e9)
    compiler.distil({"a": [GREEN]}, observe=lambda step, _: seen.append(step))
    assert seen == [1, 2]


def test_it_learns_inside_inference_mode_and_ignores_what_is_injected(tiny):
    compiler = distiller(tiny)
    [expected] = compiler.distil({"a": [GREEN]})
    with torch.inference_mode(), inject(compiler._model, random_adapter(compiler, rank=4)):
        [found] = compiler.distil({"a": [GREEN]})
    assert_same(found, expected, rtol=0, atol=0)


def test_all_layers_are_adapted_if_none_are_named(tiny):
    for layers in (None, 99):
        compiler = distiller(tiny, layers=layers)
        assert len(compiler.spec.targets) == 4
    assert len(compiler.compile(atoms()[:1])) == 1


def gpt2(vocabulary):
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, n_positions=512, n_embd=32, n_layer=3, n_head=4))


def qwen3(vocabulary):
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("make", "target"), [(gpt2, "transformer.h.2.mlp.c_proj"), (qwen3, "layers.2.mlp.down_proj")])
def test_other_families_are_distilled_too(tiny, make, target):
    torch.manual_seed(0)
    model = make(len(tiny[1]))
    compiler = distiller((model.requires_grad_(False), tiny[1]))
    assert compiler.spec.targets[-1].endswith(target)
    adapter = compose(compiler.materialise(compiler.compile(atoms())))
    ids = torch.arange(3, 20)[None]
    before = model(ids).logits
    with inject(model, adapter):
        assert not torch.allclose(model(ids).logits, before)


def test_a_family_without_a_known_module_is_refused_by_name_of_what_to_do(tiny):
    model = MptForCausalLM(MptConfig(vocab_size=len(tiny[1]), d_model=32, n_heads=4, n_layers=2, max_seq_len=64))
    with pytest.raises(UnsupportedModelError, match=r"distillation\.module"):
        distiller((model, tiny[1]))


def test_an_atom_without_text_is_a_compilation_error(tiny):
    [atom, *_] = atoms()
    with pytest.raises(CompilationError, match="empty"):
        distiller(tiny).compile([replace(atom, text=" ")])


def test_codes_of_other_settings_are_refused(tiny):
    [code, *_] = distiller(tiny).compile(atoms()[:1])
    with pytest.raises(AdapterMismatchError, match="settings"):
        distiller(tiny, steps=5).materialise([code])


def test_the_fingerprint_of_the_base_does_not_change(tiny):
    before = fingerprint(tiny[0])
    distiller(tiny).compile(atoms()[:1])
    assert fingerprint(tiny[0]) == before
