"""Key encoders: statements and queries as unit vectors whose cosine says how well they fit.

Takes any sentence-transformers model. One that only averages its token states (MiniLM, MPNet …) is run by transformers
alone, with the same vectors: importing sentence-transformers would cost every start about a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars
from numpy.typing import NDArray
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from parametric_memory.errors import BackendError


class _Embedder(Protocol):
    """The part of sentence-transformers' interface that is used here."""

    def encode_document(self, texts: list[str], *, batch_size: int, show_progress_bar: bool) -> NDArray[np.float32]: ...

    def encode_query(self, texts: list[str], *, batch_size: int, show_progress_bar: bool) -> NDArray[np.float32]: ...


class SentenceTransformerEncoder:
    """Keys by a sentence-transformers model; see `parametric_memory.protocols.KeyEncoder`.

    Args:
        name_or_path: A local folder or a hub id. A copy on this machine is taken before the hub is asked.
        name: Identity of the space, if it is to differ from ``name_or_path`` (for instance an alias).
        device: "cpu", "cuda" …
        batch_size: Statements of one forward pass.

    Raises:
        BackendError: If the model is neither here nor reachable, or cannot be loaded.
    """

    def __init__(
        self, name_or_path: str, *, name: str | None = None, device: str = "cpu", batch_size: int = 64
    ) -> None:
        self._name = name or name_or_path
        self._batch_size = batch_size
        try:
            self._embedder = _load(name_or_path, device)
            self._dim = len(self.encode_query("dimension"))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise BackendError(
                f"loading the key encoder {name_or_path!r}: {str(error).partition(chr(10))[0]}; give a folder that "
                "sentence-transformers saved, or a hub id, and go online once so that it is cached"
            ) from error

    @property
    def name(self) -> str:
        """Identity of the space."""
        return self._name

    @property
    def dim(self) -> int:
        """Length of a key."""
        return self._dim

    def encode_atoms(self, statements: Sequence[str]) -> NDArray[np.float32]:
        """Return unit-norm keys, (len(statements), dim) float32."""
        if not statements:
            return np.zeros((0, self._dim), dtype=np.float32)
        batch_size = self._batch_size
        return _unit(self._embedder.encode_document(list(statements), batch_size=batch_size, show_progress_bar=False))

    def encode_query(self, query: str) -> NDArray[np.float32]:
        """Return one unit-norm key, (dim,) float32."""
        key: NDArray[np.float32] = _unit(self._embedder.encode_query([query], batch_size=1, show_progress_bar=False))[0]
        return key


class _MeanPooling:
    """A transformers encoder whose text vector is the mean of its token states."""

    def __init__(self, folder: Path, device: str) -> None:
        settings = _read(folder / "sentence_bert_config.json")
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).to(device).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._length = int(settings.get("max_seq_length") or self._model.config.max_position_embeddings)

    @torch.no_grad()
    def encode_document(
        self,
        texts: list[str],
        *,
        batch_size: int,
        show_progress_bar: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Return one vector per text, (len(texts), dim); texts of similar length share a batch."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors = torch.empty(len(texts), self._model.config.hidden_size)
        for begin in range(0, len(order), batch_size):
            numbers = order[begin : begin + batch_size]
            tokens = self._tokenizer(
                [texts[number] for number in numbers],
                padding=True,
                truncation=True,
                max_length=self._length,
                return_tensors="pt",
            ).to(self._model.device)
            states = self._model(**tokens).last_hidden_state  # (batch, tokens, dim)
            mask = tokens.attention_mask.unsqueeze(-1).to(states)
            vectors[numbers] = ((states * mask).sum(dim=1) / mask.sum(dim=1)).cpu()
        pooled: NDArray[np.float32] = normalize(vectors, dim=-1).numpy()
        return pooled

    encode_query = encode_document


def _load(name_or_path: str, device: str) -> _Embedder:
    folder = Path(name_or_path).expanduser()
    with quietly():
        if _only_averages(folder):
            return _MeanPooling(folder, device)
        from sentence_transformers import SentenceTransformer

        load: Callable[..., Any] = SentenceTransformer
        source = str(folder) if folder.is_dir() else name_or_path
        try:
            local: _Embedder = load(source, device=device, local_files_only=True)
        except OSError:
            if folder.is_dir():
                raise
        else:
            return local
    fetched: _Embedder = load(source, device=device)
    return fetched


def _only_averages(folder: Path) -> bool:
    """Whether the model is a transformer, the mean of its states, and nothing else that would change directions."""
    modules: Any = _read(folder / "modules.json")
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or modules[0]["path"]:
        return False
    pooling = _read(folder / modules[1]["path"] / "config.json")
    modes = {name for name, value in pooling.items() if name.startswith("pooling_mode") and value}
    prompts = _read(folder / "config_sentence_transformers.json").get("prompts") or {}
    return modes <= {"pooling_mode_mean_tokens"} and bool(modes) and not any(prompts.values())


def _read(path: Path) -> Any:
    """Return a JSON file's contents, or nothing if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    vectors = np.asarray(vectors, dtype=np.float32)
    # A text of no tokens has no direction; zero stays zero instead of becoming NaN.
    unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit


@contextmanager
def quietly() -> Iterator[None]:
    """Hide transformers' "Loading weights" bar for the length of the block, and leave its switches as they were."""
    switches: Any = transformers_logging  # its functions are not annotated
    shown, hub_hidden = switches.is_progress_bar_enabled(), are_progress_bars_disabled()
    switches.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            switches.enable_progress_bar()
            if hub_hidden:
                disable_progress_bars()
