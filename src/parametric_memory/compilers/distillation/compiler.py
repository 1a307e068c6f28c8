"""The distillation compiler: any causal language model, no meta-training, seconds of gradient steps an atom.

The teacher is the base model with an atom's statement in its prompt, the student is the base model with a LoRA and no
statement. The student learns to answer exercises about the statement as the teacher does. What is stored is the LoRA
itself, in float16.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from parametric_memory.adapters.factors import truncate
from parametric_memory.adapters.inject import inject, sizes
from parametric_memory.adapters.payload import pack, unpack
from parametric_memory.compilers.checks import failure, refuse_empty
from parametric_memory.compilers.distillation.exercises import Exercise, from_statement
from parametric_memory.compilers.distillation.student import Factors, Observe, Pupil, teach
from parametric_memory.compilers.distillation.teacher import Task, Teacher
from parametric_memory.config import DistillationConfig, PromptConfig
from parametric_memory.errors import AdapterMismatchError, CorruptAdapterError, UnsupportedModelError
from parametric_memory.types import AdapterSpec, Atom, AtomAdapter, AtomCode, LoraFactors, stable_id

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

#: What closes the MLP of a layer, by family: Llama and most others, GPT-NeoX, GPT-2, GPT-J, OPT and Phi.
MODULES = ("mlp.down_proj", "mlp.dense_4h_to_h", "mlp.c_proj", "mlp.fc_out", "mlp.fc2", "fc2")
#: Weights of an adapter's ranks for a question; the adapter is told by its number among those that are refined.
Gate: TypeAlias = Callable[[str, int], Sequence[float]]
_IN_LAYER = re.compile(r"(?P<stack>(?:.+\.)?(?:layers|h))\.(?P<index>\d+)\.(?P<module>.+)")
#: Adapters that are taught together.
TOGETHER = 16


class DistillationCompiler:
    """Distils atoms, or whole documents, into adapters for a causal LM of transformers."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        *,
        base_model: str,
        fingerprint: str,
        prompt: PromptConfig | None = None,
        config: DistillationConfig | None = None,
    ) -> None:
        """Take a base model, which is set to evaluation mode and otherwise left alone.

        Raises:
            UnsupportedModelError: If its layers have no module to adapt.
        """
        self._model, self._tokenizer = model.eval(), tokenizer
        self._prompt, self._config = prompt or PromptConfig(), config or DistillationConfig()
        self._spec, self._first = _places(model, base_model, fingerprint, self._config)
        self._teacher = Teacher(model, tokenizer, self._prompt, top_k=self._config.top_k, seed=self._config.seed)

    @property
    def name(self) -> str:
        """``distillation:`` and a digest of the settings and the prompt."""
        settings = json.dumps([asdict(self._config), asdict(self._prompt)], sort_keys=True)
        return f"distillation:{stable_id(settings)[:16]}"

    @property
    def spec(self) -> AdapterSpec:
        """What its adapters fit."""
        return self._spec

    @property
    def config(self) -> DistillationConfig:
        """The settings."""
        return self._config

    @property
    def prompt(self) -> PromptConfig:
        """The wording that teacher and student are asked with."""
        return self._prompt

    # ---------------------------------------------------------------- the protocol

    def compile(self, atoms: Sequence[Atom]) -> list[AtomCode]:
        """Return one code per atom, in order; each is distilled by itself.

        Raises:
            CompilationError: If an atom has no text, or its factors do not stay finite.
        """
        refuse_empty(atoms)
        # Two atoms may have one id only if they are the same.
        adapters = self.distil({str(number): [atom.statement] for number, atom in enumerate(atoms)})
        for atom, adapter in zip(atoms, adapters, strict=True):
            if not all(bool(p.A.isfinite().all() and p.B.isfinite().all()) for p in adapter.factors.values()):
                raise failure(atom, "its factors are not finite; lower distillation.learning_rate")
        return [self.code(replace(adapter, atom_id=atom.id)) for atom, adapter in zip(atoms, adapters, strict=True)]

    def materialise(self, codes: Sequence[AtomCode]) -> list[AtomAdapter]:
        """Return one adapter per code, in order.

        Raises:
            CorruptAdapterError: If a payload cannot be decoded.
            AdapterMismatchError: If a code was made by another compiler.
        """
        return [self._decode(code) for code in codes]

    def code(self, adapter: AtomAdapter) -> AtomCode:
        """Return what is stored of an adapter that was distilled or refined here."""
        tensors = {f"{t}.{side}": getattr(f, side).half() for t, f in adapter.factors.items() for side in "AB"}
        return AtomCode(adapter.atom_id, self._spec, self.name, pack(tensors))

    # ---------------------------------------------------------------- what it is made of

    def distil(
        self,
        texts: Mapping[str, Sequence[str]],
        *,
        questions: Mapping[str, Sequence[str]] | None = None,
        observe: Observe | None = None,
    ) -> list[AtomAdapter]:
        """Distil each group of statements into one adapter, called by the group's name.

        A group of one is an atom's; a document is the group of all its statements. All groups learn side by side.

        Args:
            texts: Statements by name.
            questions: What to distil on instead of exercises made here, by name; each is about all of its group's
                statements. With the questions of a test this is the ceiling of the method, not a way to use it.
            observe: Called after every step with all adapters' factors, in groups of `TOGETHER`.
        """
        names = list(texts)
        starts = [self._blank(texts[name]) for name in names]
        return self._taught(names, starts, [list(texts[name]) for name in names], questions, self._config, observe)

    def refine(
        self,
        adapters: Sequence[AtomAdapter],
        statements: Sequence[str],
        *,
        steps: int | None = None,
        learning_rate: float | None = None,
        rank: int | None = None,
        gate: Gate | None = None,
        questions: Mapping[str, Sequence[str]] | None = None,
        observe: Observe | None = None,
    ) -> list[AtomAdapter]:
        """Take a few more steps from given adapters, such as a hypernetwork's; each keeps its rank.

        Args:
            adapters: Their targets are this compiler's or fewer.
            statements: One per adapter.
            steps: Instead of the settings'; with 0 the adapters come back as they are.
            learning_rate: Instead of the settings', which are for new adapters: what was trained wants smaller steps,
                a hypernetwork's adapters by far.
            rank: Truncate to this rank first; with gates the ranks have to stay as they are.
            gate: Weighs an adapter's ranks for a question, while it learns and whenever it is used.
            questions: By the adapters' ``atom_id``; see `distil`.
            observe: See `distil`.

        Raises:
            AdapterMismatchError: If an adapter fits another base model, or modules that are not adapted here.
            ValueError: If there are gates and a rank, or not one statement per adapter.
        """
        if rank is not None and gate is not None:
            raise ValueError("refining: gates weigh the ranks that an adapter came with; leave out rank=, or gate=")
        starts = [self._start(adapter, rank) for adapter in adapters]
        config = self._config if steps is None else replace(self._config, steps=steps)
        config = config if learning_rate is None else replace(config, learning_rate=learning_rate)
        names = [adapter.atom_id for adapter in adapters]
        return self._taught(names, starts, [[s] for s in statements], questions, config, observe, gate)

    def _taught(
        self,
        names: Sequence[str],
        starts: Sequence[Factors],
        texts: Sequence[Sequence[str]],
        questions: Mapping[str, Sequence[str]] | None,
        config: DistillationConfig,
        observe: Observe | None,
        gate: Gate | None = None,
    ) -> list[AtomAdapter]:
        made: list[Factors] = []
        for begin in range(0, len(names), TOGETHER):
            some = slice(begin, begin + TOGETHER)
            with _learning(self._model):
                pupils = self._pupils(names[some], starts[some], texts[some], questions) if config.steps else []
                if gate:
                    pupils = [replace(p, gates=self._gates(p, gate, begin + n)) for n, p in enumerate(pupils)]
                made += teach(self._model, pupils, config, first=self._first, observe=observe) or starts[some]
        # A target that an adapter left out has no ranks, and stays out.
        kept = [{target: part for target, part in factors.items() if part.rank} for factors in made]
        return [AtomAdapter(name, self._spec, factors) for name, factors in zip(names, kept, strict=True)]

    def _pupils(
        self,
        names: Sequence[str],
        starts: Sequence[Factors],
        texts: Sequence[Sequence[str]],
        questions: Mapping[str, Sequence[str]] | None,
    ) -> list[Pupil]:
        tasks = (
            [self._asked(text, questions.get(name, ())) for name, text in zip(names, texts, strict=True)]
            if questions is not None
            else self._exercises(texts)
        )
        lessons = iter(self._teacher.lessons([task for some in tasks for task in some]))
        return [
            # What seeds an adapter is what it is about: its neighbours and its name change nothing.
            Pupil(stable_id(*text), start, [next(lessons) for _ in some])
            for start, text, some in zip(starts, texts, tasks, strict=True)
        ]

    def _asked(self, text: Sequence[str], questions: Sequence[str]) -> list[Task]:
        return [Task(" ".join(text), Exercise(question)) for question in questions]

    def _exercises(self, texts: Sequence[Sequence[str]]) -> list[list[Task]]:
        statements = [statement for text in texts for statement in text]
        c = self._config
        written = iter(self._teacher.questions(statements, c.questions))
        by_statement = [
            [*from_statement(s, limit=c.templates, seed=c.seed), *map(Exercise, next(written))] for s in statements
        ]
        each = iter(by_statement)
        return [[Task(s, exercise) for s in text for exercise in next(each)] for text in texts]

    def _gates(self, pupil: Pupil, gate: Gate, number: int) -> list[Tensor]:
        """Return the weights of an adapter's ranks in each of its lessons."""
        return [torch.as_tensor(gate(lesson.question, number)) for lesson in pupil.lessons]

    def _blank(self, text: Sequence[str]) -> Factors:
        """Return factors that change nothing yet: A is drawn, with the text and the settings as its seed; B is zero."""
        generator = torch.Generator().manual_seed(int(stable_id(str(self._config.seed), *text)[:15], 16))
        rank, made = self._config.rank, {}
        for target in self._spec.targets:
            d_in, d_out = sizes(self._model.get_submodule(target), target)
            A = torch.randn(rank, d_in, generator=generator) / d_in**0.5
            made[target] = LoraFactors(A, torch.zeros(d_out, rank))
        return made

    def _start(self, adapter: AtomAdapter, rank: int | None) -> Factors:
        """Return an adapter's factors on all targets of this compiler, truncated if asked."""
        strangers = set(adapter.factors) - set(self._spec.targets)
        if adapter.spec.base_fingerprint != self._spec.base_fingerprint or strangers:
            raise AdapterMismatchError(
                f"refining the adapter of {adapter.atom_id}: it changes {sorted(adapter.factors)} of "
                f"{adapter.spec.base_model}, this compiler adapts {list(self._spec.targets)} of "
                f"{self._spec.base_model}; "
                "give DistillationConfig the layers and the module of the adapter",
                expected=self._spec,
                actual=adapter.spec,
            )
        blank = {t: LoraFactors(f.A[:0], f.B[:, :0]) for t, f in self._blank([]).items()}
        given = {t: truncate(f, rank)[0] if rank else f for t, f in adapter.factors.items()}
        return {target: given.get(target, blank[target]) for target in self._spec.targets}

    def _decode(self, code: AtomCode) -> AtomAdapter:
        if code.compiler != self.name or code.spec != self._spec:
            raise AdapterMismatchError(
                f"reading the code of atom {code.atom_id}: it was compiled by {code.compiler} for "
                f"{code.spec.base_model}, not by {self.name} for {self._spec.base_model}; open the memory with the "
                "settings it was made with, or compile its document again",
                expected=self.name,
                actual=code.compiler,
            )
        tensors, _ = unpack(code.payload)
        device = next(self._model.parameters()).device
        factors = {}
        for target in self._spec.targets:
            d_in, d_out = sizes(self._model.get_submodule(target), target)
            A, B = tensors.get(f"{target}.A"), tensors.get(f"{target}.B")
            if A is None or B is None or A.shape != (B.shape[-1], d_in) or B.shape != (d_out, A.shape[0]):
                shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
                raise CorruptAdapterError(
                    f"reading the code of atom {code.atom_id}: it holds {shapes}, expected a {target}.A (rank, {d_in}) "
                    f"and {target}.B ({d_out}, rank) for every target; compile its document again"
                )
            factors[target] = LoraFactors(A.float().to(device), B.float().to(device))
        return AtomAdapter(code.atom_id, self._spec, factors)


@contextmanager
def _learning(model: nn.Module) -> Iterator[None]:
    """Give the block gradients, whatever the caller switched off, and the bare base model, whatever is injected."""
    with torch.inference_mode(mode=False), torch.enable_grad(), inject(model, None):
        yield


def _places(
    model: nn.Module, base_model: str, fingerprint: str, config: DistillationConfig
) -> tuple[AdapterSpec, int | None]:
    """Return the targets, and the number of the lowest adapted layer if layers lie below it that can be read once."""
    layers: dict[str, list[int]] = {}
    names = [name for name, _ in model.named_modules()]
    for name in names:
        match = _IN_LAYER.fullmatch(name)
        if match and match["module"] in ((config.module,) if config.module else MODULES):
            layers.setdefault(f"{match['stack']}.{{}}.{match['module']}", []).append(int(match["index"]))
    if len(layers) != 1:
        raise UnsupportedModelError(
            f"distilling into {type(model).__name__} ({base_model}): found {sorted(layers)} to adapt, expected one of "
            f"{', '.join(MODULES)} in one stack of layers; name a linear module of its layers as distillation.module"
        )
    [(pattern, numbers)] = layers.items()
    chosen = sorted(numbers)[-(config.layers or len(numbers)) :]
    targets = tuple(pattern.format(number) for number in chosen)
    for target in targets:
        sizes(model.get_submodule(target), target)
    return AdapterSpec(base_model, fingerprint, targets), chosen[0] or None
