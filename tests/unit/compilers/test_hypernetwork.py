import re
from dataclasses import replace

import pytest
import torch

from parametric_memory.adapters import compose, inject, spec_for
from parametric_memory.compilers import HypernetworkCompiler, hypernetwork
from parametric_memory.config import PromptConfig
from parametric_memory.errors import AdapterMismatchError, CheckpointError, CompilationError, CorruptAdapterError
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for, grown
from parametric_memory.testing import tiny_model
from parametric_memory.types import Atom, AtomKind, Span, TokenGates, TokenShare


def atom(text, document="d", number=0):
    return Atom(f"{document}{number}", AtomKind.FACT, text, text, document, Span(0, len(text)), position=number)


@pytest.fixture(scope="module")
def compiler():
    torch.manual_seed(0)
    model, tokenizer = tiny_model(layers=4)
    network = AtomHypernetwork(config_for(model, layers=2, width=16)).eval()
    spec = spec_for(model, "tiny", last=2)
    checkpoint = Checkpoint(network, spec, PromptConfig(), digest="d1")
    return HypernetworkCompiler(model, tokenizer, checkpoint, fingerprint=spec.base_fingerprint)


def test_every_atom_gets_its_code_in_order(compiler):
    atoms = [atom(f"Atom {n} {'x' * (n * 7 % 31)}.", document="ab"[n % 7 == 0], number=n) for n in range(20)]
    codes = compiler.compile(atoms)
    assert [code.atom_id for code in codes] == [a.id for a in atoms]
    adapters = compiler.materialise(codes)
    for a, adapter in zip(atoms, adapters, strict=True):
        for factors in adapter.factors.values():
            assert factors.rank == 2 * (len(a.text) + 1)  # one token a byte, behind a space


def test_the_order_of_documents_changes_no_code(compiler):
    first, second = [atom("One is here.", "a", n) for n in range(2)], [atom("Two is there, longer.", "b", 5)]
    forth = {a.atom_id: a for a in compiler.materialise(compiler.compile([*first, *second]))}
    for adapter in compiler.materialise(compiler.compile([*second, *first])):
        for target, factors in adapter.factors.items():
            torch.testing.assert_close(factors.A, forth[adapter.atom_id].factors[target].A, rtol=1e-2, atol=1e-3)


def test_an_atom_is_read_in_the_context_of_its_neighbours(compiler):
    alone = compiler.compile([atom("It is blue.", number=1)])[0]
    beside = compiler.compile([atom("The door is new.", number=0), atom("It is blue.", number=1)])[1]
    assert alone.payload != beside.payload


def test_an_atom_longer_than_the_encoder_keeps_all_its_tokens(compiler):
    long = atom("word " * 90)
    [adapter] = compiler.materialise(compiler.compile([long]))
    assert next(iter(adapter.factors.values())).rank == 2 * (len(long.text) + 1)


def test_adapters_made_together_are_those_made_one_by_one(compiler):
    codes = compiler.compile([atom("Ada is here." + " More." * n, number=n) for n in range(4)])
    assert compiler.materialise([]) == []
    for code, adapter in zip(codes, compiler.materialise(codes), strict=True):
        [alone] = compiler.materialise([code])
        assert adapter.atom_id == alone.atom_id
        for target, factors in alone.factors.items():
            torch.testing.assert_close(adapter.factors[target].A, factors.A)
            torch.testing.assert_close(adapter.factors[target].B, factors.B)


def test_a_code_takes_a_byte_a_number_and_says_what_an_exact_one_does(compiler):
    exact = HypernetworkCompiler(
        compiler._model,
        compiler._tokenizer,
        compiler.checkpoint,
        fingerprint=compiler.spec.base_fingerprint,
        exact=True,
    )
    [small], [large] = (one.compile([atom("Ada is here, and so is Bob.")]) for one in (compiler, exact))
    tokens = len("Ada is here, and so is Bob.") + 1
    assert len(large.payload) - len(small.payload) > tokens * 16 * 0.5
    # Each reads what the other stored.
    for code in (small, large):
        assert [a.atom_id for a in compiler.materialise([code])] == [a.atom_id for a in exact.materialise([code])]
    near, right = (compiler.materialise([code])[0].factors for code in (small, large))
    for target, factors in right.items():
        off = (near[target].B @ near[target].A - factors.B @ factors.A).norm() / (factors.B @ factors.A).norm()
        assert 0 < off < 0.02


def test_gates_weigh_every_rank_and_shares_sum_to_one_with_nothing(compiler):
    codes = compiler.compile([atom("Ada is here.", number=0), atom("Bob is there.", number=1)])
    gates = compiler.gate("Where is Bob?", codes)
    adapters = compiler.materialise(codes)
    assert [len(ranks) for ranks in gates.ranks] == [next(iter(a.factors.values())).rank for a in adapters]
    assert sum(gates.shares) + gates.nothing == pytest.approx(1, abs=1e-4)
    assert compiler.gate("Where?", []).nothing == 1.0


def found_in(atoms, words, *, share=0.8):
    """What a token router finds that reads one token a word, and is so sure of one word of each atom."""
    tokens = []
    for one, word in zip(atoms, words, strict=True):
        places = [Span(*match.span()) for match in re.finditer(r"\w+", one.text)]
        tokens.append(
            tuple(TokenShare(p, *(3 * [share if p.of(one.text) == word else 0.0])) for p in places)
        )  # fmt: skip
    return TokenGates((), (share, 0.0), 1 - share, tuple(tokens))


def test_ranks_follow_what_a_token_router_found_in_whatever_tokens(compiler):
    atoms = [atom("Ada is here.", number=0), atom("Bob is there.", number=1)]
    codes = compiler.compile(atoms)
    found = found_in(atoms, ["here", None])
    gates = compiler.gate("Where is Ada?", codes, found)
    assert (gates.shares, gates.nothing, gates.tokens) == (found.shares, found.nothing, found.tokens)
    floor = float(compiler._network.floor.detach().sigmoid())
    # One token a byte, behind a space; first all ranks that go on, then all that start.
    speaking, starting = (gates.ranks[0][:13], gates.ranks[0][13:])
    assert speaking == pytest.approx([floor] * 8 + [1.0] * 4 + [floor], abs=1e-5)
    assert starting == pytest.approx([0.0] * 8 + [1.0] + [0.0] * 4, abs=1e-5)
    assert gates.ranks[1] == pytest.approx([floor] * 14 + [0.0] * 14, abs=1e-5)


def test_what_follows_the_answer_ends_the_turn_where_a_network_can(compiler):
    torch.manual_seed(0)
    model, tokenizer, spec = compiler._model, compiler._tokenizer, compiler.spec
    network = AtomHypernetwork(config_for(model, layers=2, width=16, ends=True)).eval().requires_grad_(False)
    ending = HypernetworkCompiler(
        model, tokenizer, Checkpoint(network, spec, PromptConfig(), digest="d2"), fingerprint=spec.base_fingerprint
    )
    atoms = [atom("Ada is here.", number=0), atom("Bob is there", number=1)]
    codes = ending.compile(atoms)
    gates = ending.gate("Where is Ada?", codes, found_in(atoms, ["here", None]))
    for adapter, ranks in zip(ending.materialise(codes), gates.ranks, strict=True):
        assert all(factors.rank == len(ranks) == 39 for factors in adapter.factors.values())
    # The full stop behind "here", and nothing in the other atom.
    assert gates.ranks[0][26:] == pytest.approx([0.0] * 12 + [1.0], abs=1e-5)
    assert max(gates.ranks[1][26:]) == 0.0
    last = ending.gate("Where is Bob?", codes, found_in(atoms, [None, "there"]))
    assert max(last.ranks[1][26:]) == 0.0, "there is no token behind it"


def test_ranks_of_chosen_atoms_speak_in_full_unless_there_is_next_to_nothing_in_them(compiler):
    atoms = [atom("Ada is here.", number=0), atom("Bob is there.", number=1)]
    codes = compiler.compile(atoms)
    loudest = [
        max(compiler.gate("Where?", codes, found_in(atoms, ["here", None], share=share)).ranks[0])
        for share in (0.9, 0.25, 1e-3, 5e-5, 0.0)
    ]
    assert loudest == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.0], abs=1e-3)


def test_a_tokenizer_that_cannot_say_where_its_tokens_stand_leaves_the_checkpoints_own_gates(compiler, monkeypatch):
    atoms = [atom("Ada is here.", number=0), atom("Bob is there.", number=1)]
    codes = compiler.compile(atoms)
    monkeypatch.setattr(hypernetwork, "token_spans", lambda _, tokens: [[] for _ in tokens])
    own = compiler.gate("Where is Ada?", codes)
    assert compiler.gate("Where is Ada?", codes, found_in(atoms, ["here", None])) == own


def test_a_composed_adapter_changes_what_the_base_says_and_leaves_it_unchanged(compiler):
    codes = compiler.compile([atom("Ada is here.")])
    adapter = compose(compiler.materialise(codes), rank_gates=compiler.gate("Where is Ada?", codes).ranks)
    model, ids = compiler._model, torch.arange(3, 20)[None]
    before = model(ids).logits
    with inject(model, adapter):
        assert not torch.equal(model(ids).logits, before)
    assert torch.equal(model(ids).logits, before)


def test_the_code_of_another_compiler_is_refused(compiler):
    [code] = compiler.compile([atom("Ada is here.")])
    with pytest.raises(AdapterMismatchError, match="compile its document again"):
        compiler.materialise([replace(code, compiler="hypernetwork:other")])


def test_a_damaged_payload_is_refused(compiler):
    [code] = compiler.compile([atom("Ada is here.")])
    with pytest.raises(CorruptAdapterError):
        compiler.materialise([replace(code, payload=code.payload[:40])])


def test_an_atom_without_text_is_a_compilation_error(compiler):
    with pytest.raises(CompilationError, match="empty"):
        compiler.compile([atom(" ")])


def test_a_checkpoint_of_another_base_model_is_refused(compiler):
    model, tokenizer = tiny_model(seed=1, layers=4)
    with pytest.raises(AdapterMismatchError, match="trained on tiny"):
        HypernetworkCompiler(model, tokenizer, compiler.checkpoint, fingerprint="another")


def test_without_gates_of_its_own_it_says_what_a_token_router_found_and_asks_for_one(compiler):
    atoms = [atom("Ada is here.", number=0), atom("Bob is there.", number=1)]
    config = replace(compiler.checkpoint.network.config, gate_layers=0)
    checkpoint = replace(compiler.checkpoint, network=grown(compiler.checkpoint.network, config).eval())
    gateless = HypernetworkCompiler(*tiny_model(layers=4), checkpoint, fingerprint=compiler.spec.base_fingerprint)
    codes, found = gateless.compile(atoms), found_in(atoms, ["here", None])
    assert compiler.finds and not gateless.finds
    assert gateless.gate("Where is Ada?", codes, found) == compiler.gate("Where is Ada?", codes, found)
    with pytest.raises(CheckpointError, match="token router"):
        gateless.gate("Where is Ada?", codes)


def test_without_gates_of_its_own_tokens_that_do_not_say_where_they_stand_are_no_answer(compiler, monkeypatch):
    atoms = [atom("Ada is here.", number=0), atom("Bob is there.", number=1)]
    codes, found = compiler.compile(atoms), found_in(atoms, ["here", "there"])
    told = compiler.gate("Where is Ada?", codes, found).ranks
    spans = hypernetwork.token_spans
    monkeypatch.setattr(hypernetwork, "token_spans", lambda *given: [spans(*given)[0], []])
    monkeypatch.setattr(HypernetworkCompiler, "finds", False)
    first, second = compiler.gate("Where is Ada?", codes, found).ranks
    assert first == told[0] and max(second) < max(told[1])
