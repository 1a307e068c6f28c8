"""Test doubles that behave like the real parts and need no download: a tiny base model, a backend, a key encoder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from parametric_memory.backends.huggingface import HuggingFaceBackend

_TURN, _END = "<|im_start|>", "<|im_end|>"
_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tiny_model(*, seed: int = 0, layers: int = 3) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Return a random Llama and a tokenizer of single bytes with a chat template.

    Its layers are called as in every Llama ("model.layers.0.mlp.down_proj", 96 features to 32). What it writes depends
    strongly on its prompt and on adapters, and is printable ASCII; torch's random state is left as it was.
    """
    tokenizer = _byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).train(False)
    printable = [tokenizer.convert_tokens_to_ids(chr(byte)) for byte in range(ord("!"), ord("~") + 1)]
    silent = torch.ones(len(tokenizer), dtype=torch.bool)
    silent[[*printable, tokenizer.eos_token_id]] = False
    with torch.no_grad():
        model.lm_head.weight[silent] = 0.0
        model.lm_head.weight[tokenizer.eos_token_id] *= 2.0  # else one token of 95 hardly ever ends an answer
    return model, tokenizer


def tiny_encoder(folder: Path, *, seed: int = 0) -> Path:
    """Save a random BERT of two layers with a tokenizer of words and letters; return where."""
    words = ["the", "a", "new", "old", "router", "red", "blue", "is", "opens", "at", "nine", "which", "office"]
    letters = [chr(byte) for byte in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters, *(f"##{letter}" for letter in letters)]
    raw = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast: Any = PreTrainedTokenizerFast  # its constructor is not annotated
    fast(
        tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder


class TinyBackend(HuggingFaceBackend):
    """A real backend around `tiny_model`: it generates, streams and scores in milliseconds."""

    def __init__(self, *, seed: int = 0, layers: int = 3, batch_size: int = 16) -> None:
        model, tokenizer = tiny_model(seed=seed, layers=layers)
        super().__init__(model, tokenizer, base_model=f"tiny-{seed}", batch_size=batch_size)


class HashingKeyEncoder:
    """Keys of texts by the words they share: each word adds ±1 at a place given by its hash.

    Deterministic across processes and machines, and without a model.
    """

    def __init__(self, dim: int = 256) -> None:
        self._dim = dim

    @property
    def name(self) -> str:
        """Identity of the space."""
        return f"hashing-{self._dim}"

    @property
    def dim(self) -> int:
        """Length of a key."""
        return self._dim

    def encode_atoms(self, statements: Sequence[str]) -> NDArray[np.float32]:
        """Return unit-norm keys, (len(statements), dim)."""
        keys = [self.encode_query(statement) for statement in statements]
        return np.stack(keys) if keys else np.zeros((0, self._dim), dtype=np.float32)

    def encode_query(self, query: str) -> NDArray[np.float32]:
        """Return one unit-norm key, (dim,)."""
        key = np.zeros(self._dim, dtype=np.float32)
        for word in re.findall(r"\w+", query.lower()):
            value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
            key[(value >> 1) % self._dim] += 1 if value & 1 else -1
        if not key.any():
            key[0] = 1.0  # no words: some unit vector
        return key / np.linalg.norm(key)


def _byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw: Any = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(_TURN, special=True), AddedToken(_END, special=True)])
    make: Any = PreTrainedTokenizerFast  # its constructor is not annotated
    tokenizer: PreTrainedTokenizerFast = make(
        tokenizer_object=raw, eos_token=_END, pad_token=_END, chat_template=_TEMPLATE
    )
    return tokenizer
