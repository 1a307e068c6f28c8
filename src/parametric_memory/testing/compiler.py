"""What every `Compiler` must do, as tests to inherit.

For example::

    class TestMyCompiler(CompilerConformance):
        @pytest.fixture
        def compiler(self):
            return MyCompiler(...)
"""

# ruff: noqa: D102 - a test's name is its sentence
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from parametric_memory.adapters import compose
from parametric_memory.errors import AdapterMismatchError, CheckpointError, CorruptAdapterError
from parametric_memory.protocols import Compiler, GatingCompiler
from parametric_memory.types import Atom, AtomKind, Span, TokenGates, TokenShare

TEXTS = ("The library opens at nine.", "Crab soup is sold on Friday.", "The red room holds 12 people.")

#: What a token router may have found in these texts: that the first one's last word answers.
FOUND = TokenGates(
    ranks=(),
    shares=(0.8, 0.1, 0.0),
    nothing=0.1,
    tokens=((TokenShare(Span(21, 25), 0.8, 0.8, 0.8),), (TokenShare(Span(21, 27), 0.1, 0.1, 0.1),), ()),
)


def atoms() -> list[Atom]:
    """Return three atoms of one document."""
    return [
        Atom(f"atom-{n}", AtomKind.FACT, text, text, "document", Span(0, len(text)), position=n)
        for n, text in enumerate(TEXTS)
    ]


class CompilerConformance:
    """Inherit, and give a compiler."""

    @pytest.fixture
    def compiler(self) -> Compiler:
        """Return the compiler under test."""
        raise NotImplementedError("a conformance test gives its own `compiler` fixture")

    def test_it_is_a_compiler_with_a_name_and_a_spec(self, compiler: Compiler) -> None:
        assert isinstance(compiler, Compiler) and compiler.name and compiler.spec.targets

    def test_codes_come_in_order_and_name_their_compiler(self, compiler: Compiler) -> None:
        codes = compiler.compile(atoms())
        assert [code.atom_id for code in codes] == ["atom-0", "atom-1", "atom-2"]
        assert {(code.compiler, code.spec) for code in codes} == {(compiler.name, compiler.spec)}
        assert list(compiler.compile([])) == []

    def test_a_code_gives_the_same_adapter_every_time(self, compiler: Compiler) -> None:
        codes = compiler.compile(atoms())
        for once, again in zip(compiler.materialise(codes), compiler.materialise(codes), strict=True):
            assert once.atom_id == again.atom_id and once.factors.keys() == again.factors.keys()
            for target, factors in once.factors.items():
                assert torch.equal(factors.A, again.factors[target].A)
                assert torch.equal(factors.B, again.factors[target].B)

    def test_adapters_fit_the_spec_and_compose(self, compiler: Compiler) -> None:
        adapters = compiler.materialise(compiler.compile(atoms()))
        for adapter in adapters:
            assert set(adapter.factors) <= set(compiler.spec.targets)
            assert all(
                factors.A.isfinite().all() and factors.B.isfinite().all() for factors in adapter.factors.values()
            )
        assert compose(adapters).atom_ids == ("atom-0", "atom-1", "atom-2")

    def test_different_atoms_have_different_adapters(self, compiler: Compiler) -> None:
        codes = compiler.compile(atoms())
        assert len({code.payload for code in codes}) == 3

    def test_a_code_of_another_compiler_or_base_is_refused(self, compiler: Compiler) -> None:
        [code, *_] = compiler.compile(atoms())
        foreign = replace(code.spec, base_fingerprint="another")
        for wrong in (replace(code, compiler="another"), replace(code, spec=foreign)):
            with pytest.raises(AdapterMismatchError):
                compiler.materialise([wrong])

    def test_a_damaged_payload_is_refused(self, compiler: Compiler) -> None:
        [code, *_] = compiler.compile(atoms())
        for payload in (b"", b"nonsense", code.payload[:-3]):
            with pytest.raises(CorruptAdapterError):
                compiler.materialise([replace(code, payload=payload)])

    @pytest.mark.parametrize("found", [None, FOUND], ids=["by itself", "by a token router"])
    def test_gates_have_one_weight_per_rank_and_share_one_probability(
        self, compiler: Compiler, found: TokenGates | None
    ) -> None:
        if not isinstance(compiler, GatingCompiler):
            pytest.skip("this compiler has no gates")
        codes = compiler.compile(atoms())
        try:
            gates = compiler.gate("When does the library open?", codes, found)
        except CheckpointError:
            if found is not None:
                raise
            pytest.skip("this compiler finds nothing by itself")
        for adapter, ranks in zip(compiler.materialise(codes), gates.ranks, strict=True):
            assert all(factors.rank == len(ranks) for factors in adapter.factors.values())
        assert sum(gates.shares) + gates.nothing == pytest.approx(1, abs=1e-3)
        assert compiler.gate("When?", []).nothing == 1.0
