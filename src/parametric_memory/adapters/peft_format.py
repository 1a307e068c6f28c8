"""Adapters as folders that PEFT, transformers, vLLM and llama.cpp read; and such folders as adapters.

Written by hand, so `peft` need not be installed: ``adapter_config.json`` and ``adapter_model.safetensors``, with one
rank for all modules (zero-padded), and ``lora_alpha == r`` because B already holds every scale. What PEFT has no field
for, and warns about, goes into ``atom.json`` beside them.

vLLM takes one adapter per request and ranks up to its ``--max-lora-rank``, which has to be one of `VLLM_RANKS` and is
16 by default; ``atom.json`` names the one to start it with.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from parametric_memory.adapters.factors import pad_rank, scale
from parametric_memory.errors import AdapterError, AdapterMismatchError
from parametric_memory.types import AdapterSpec, AtomAdapter, ComposedAdapter, LoraFactors

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

_CONFIG, _WEIGHTS, _SIDECAR = "adapter_config.json", "adapter_model.safetensors", "atom.json"
_KEY = re.compile(r"base_model\.model\.(?P<target>.+)\.lora_(?P<side>[AB])\.weight")
# Fields of PEFT's LoraConfig that change nothing about the two matrices or are read below. Any other one that is set
# may stand for a variant that is not B @ A (DoRA, aLoRA, biases, replicated layers …).
# fmt: off
_UNDERSTOOD = frozenset({
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora",
    "lora_dropout", "bias", "fan_in_fan_out", "init_lora_weights", "target_modules",
    "exclude_modules", "layers_to_transform", "layers_pattern", "megatron_config", "megatron_core",
    "eva_config", "qalora_group_size", "runtime_config", "ensure_weight_tying",
})
# fmt: on
# Others (PiSSA, OLoRA, CorDA, LoftQ …) also change the base model's weights when PEFT loads them.
_HARMLESS_INITS = (True, False, None, "gaussian", "eva", "orthogonal")

logger = logging.getLogger(__name__)


def export_peft(
    adapter: ComposedAdapter | AtomAdapter, folder: str | Path, *, provenance: Mapping[str, object] | None = None
) -> None:
    """Write an adapter as a PEFT LoRA folder, which is made if it does not exist.

    Args:
        adapter: Its factors keep their dtype.
        folder: Files of an earlier export in it are replaced.
        provenance: Where the knowledge is from (statements, sources …), as JSON can hold it; kept in ``atom.json``.

    Raises:
        AdapterError: If the adapter has no factors, or one update per row.
    """
    if not adapter.factors or any(factors.A.dim() != 2 for factors in adapter.factors.values()):
        raise AdapterError(f"exporting to {folder}: the adapter needs factors, 2-D on every target; compose it first")
    rank = max(1, *(factors.rank for factors in adapter.factors.values()))
    fitting = next((size for size in VLLM_RANKS if size >= rank), None)
    if fitting is None:
        logger.warning("rank %d is more than vLLM serves (%d): compose with a smaller max_rank", rank, VLLM_RANKS[-1])
    if isinstance(adapter, AtomAdapter):
        adapter = ComposedAdapter(adapter.spec, adapter.factors, (adapter.atom_id,))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(_state(adapter.factors, rank), folder / _WEIGHTS, metadata={"format": "pt"})
    _write_json(folder / _CONFIG, _config(adapter, rank))
    _write_json(folder / _SIDECAR, _sidecar(adapter) | {"vllm_max_lora_rank": fitting, "provenance": provenance})


def import_peft(folder: str | Path, *, spec: AdapterSpec) -> ComposedAdapter:
    """Read a PEFT LoRA folder, ours or PEFT's own; its scale is folded into B.

    Args:
        folder: Holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        spec: What the adapter is to fit. Its targets may be more than the folder's.

    Raises:
        AdapterMismatchError: If the folder was made for another base model, or has modules that ``spec`` has not.
        AdapterError: If files are missing or broken, or hold something else than plain LoRA.
    """
    folder = Path(folder)
    try:
        config = _read_json(folder / _CONFIG)
        state = safetensors.torch.load_file(folder / _WEIGHTS)
        sidecar = _read_json(folder / _SIDECAR) if (folder / _SIDECAR).exists() else {}
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise AdapterError(f"reading the PEFT adapter {folder}: {error}; export it again as safetensors") from error
    _check_config(config, folder)
    _check_sidecar(sidecar, folder)
    found = _factors(state, config, folder)
    _check_spec(sidecar, found, spec, folder)
    ranks = sidecar.get("ranks", {})
    factors = {target: _cut(found[target], ranks.get(target)) for target in spec.targets if target in found}
    return ComposedAdapter(spec, factors, tuple(sidecar.get("atom_ids", ())), sidecar.get("truncated", {}))


def _state(factors: Mapping[str, LoraFactors], rank: int) -> dict[str, Tensor]:
    state = {}
    for target, part in factors.items():
        padded = pad_rank(part, rank)
        state[f"base_model.model.{target}.lora_A.weight"] = padded.A
        state[f"base_model.model.{target}.lora_B.weight"] = padded.B
    # Copies: safetensors refuses tensors that share memory.
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def _config(adapter: ComposedAdapter, rank: int) -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.spec.base_model,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(adapter.factors),
        "fan_in_fan_out": False,
        "inference_mode": True,
        "use_dora": False,
        "use_rslora": False,
        "modules_to_save": None,
    }


def _sidecar(adapter: ComposedAdapter) -> dict[str, object]:
    return {
        "base_model": adapter.spec.base_model,
        "base_fingerprint": adapter.spec.base_fingerprint,
        "atom_ids": list(adapter.atom_ids),
        "ranks": {target: factors.rank for target, factors in adapter.factors.items()},
        "truncated": dict(adapter.truncated),
    }


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise TypeError(f"expected an object in {path.name}, found {str(found)[:60]!r}")
    return found


def _check_config(config: dict[str, Any], folder: Path) -> None:
    """Refuse everything whose update is not ``scale · B @ A`` on an unchanged base model."""
    problems = {name: value for name, value in config.items() if value and name not in _UNDERSTOOD}
    expected = {"peft_type": ("LORA",), "bias": ("none", None), "init_lora_weights": _HARMLESS_INITS}
    problems |= {name: config.get(name) for name, allowed in expected.items() if config.get(name) not in allowed}
    if problems:
        raise AdapterError(
            f"reading the PEFT adapter {folder}: its config has {problems}, which plain LoRA factors cannot express; "
            "merge or convert it to plain LoRA with PEFT first"
        )


def _check_sidecar(sidecar: dict[str, Any], folder: Path) -> None:
    """Refuse fields that an export would not have written so."""
    kinds = {"ranks": dict, "atom_ids": list, "truncated": dict}
    problems = {name: sidecar[name] for name, kind in kinds.items() if not isinstance(sidecar.get(name, kind()), kind)}
    if not problems and not all(isinstance(rank, int) for rank in sidecar.get("ranks", {}).values()):
        problems = {"ranks": sidecar["ranks"]}
    if problems:
        raise AdapterError(
            f"reading the PEFT adapter {folder}: its {_SIDECAR} has {problems}; export it again, or remove that file"
        )


def _factors(state: Mapping[str, Tensor], config: dict[str, Any], folder: Path) -> dict[str, LoraFactors]:
    matches = {key: _KEY.fullmatch(key) for key in state}
    sides = {(match["target"], match["side"]): state[key] for key, match in matches.items() if match}
    targets = dict.fromkeys(target for target, _ in sides)
    if None in matches.values() or len(sides) != 2 * len(targets) or any(part.dim() != 2 for part in sides.values()):
        strange = [key for key, match in matches.items() if not match]
        raise AdapterError(
            f"reading the PEFT adapter {folder}: expected a matrix lora_A and a lora_B per linear module, "
            f"found {len(sides)} of them for {len(targets)} modules, and {strange}"
        )
    raw = {target: LoraFactors(sides[target, "A"], sides[target, "B"]) for target in targets}
    for target, factors in raw.items():
        if factors.rank != factors.B.shape[1] or not factors.rank:
            shapes = f"{tuple(factors.A.shape)} and {tuple(factors.B.shape)}"
            raise AdapterError(
                f"reading the PEFT adapter {folder}: lora_A and lora_B of {target} do not meet: {shapes}"
            )
    return {target: scale(factors, _scale(config, target, factors.rank, folder)) for target, factors in raw.items()}


def _scale(config: dict[str, Any], target: str, rank: int, folder: Path) -> float:
    """Return what PEFT multiplies B @ A with; its patterns are regular expressions for the end of a module's name."""
    patterns = config.get("alpha_pattern") or {}
    try:
        matching = (alpha for pattern, alpha in patterns.items() if re.match(rf"(.*\.)?({pattern})$", target))
        alpha = float(next(matching, config.get("lora_alpha", 8)))
    except (AttributeError, TypeError, ValueError, re.error) as error:
        raise AdapterError(
            f"reading the PEFT adapter {folder}: no scale for {target} in its lora_alpha {config.get('lora_alpha')!r} "
            f"and its alpha_pattern {patterns!r} ({error}); correct them in {_CONFIG}"
        ) from error
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _check_spec(sidecar: dict[str, Any], found: Mapping[str, LoraFactors], spec: AdapterSpec, folder: Path) -> None:
    fingerprint = sidecar.get("base_fingerprint", spec.base_fingerprint)
    if fingerprint != spec.base_fingerprint:
        raise AdapterMismatchError(
            f"reading the PEFT adapter {folder}: it was made for the base model {sidecar.get('base_model')} "
            f"({fingerprint}), expected {spec.base_model} ({spec.base_fingerprint})",
            expected=spec.base_fingerprint,
            actual=fingerprint,
        )
    if strangers := set(found) - set(spec.targets):
        raise AdapterMismatchError(
            f"reading the PEFT adapter {folder}: it changes {sorted(strangers)}, but the spec has only {spec.targets}",
            expected=spec.targets,
            actual=tuple(found),
        )


def _cut(factors: LoraFactors, rank: int | None) -> LoraFactors:
    """Return the factors without the zero ranks that the export added."""
    added = () if rank is None else (factors.A[rank:], factors.B[:, rank:])
    # PEFT may have trained on in this folder since: then these ranks are no longer zero.
    if any(bool(part.any()) for part in added):
        return factors
    return LoraFactors(factors.A[:rank].contiguous(), factors.B[:, :rank].contiguous())
