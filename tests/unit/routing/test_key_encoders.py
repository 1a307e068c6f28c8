from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from parametric_memory.backends import BUILTIN_KEY_ENCODER, resolve_key_encoder
from parametric_memory.errors import BackendError
from parametric_memory.protocols import KeyEncoder
from parametric_memory.routing.key_encoders import SentenceTransformerEncoder

STATEMENTS = ["the old router is red", "a router", "red red red " * 20, "the office opens at nine", "", "blue"]


def sentence_model(folder, *, mode="mean_tokens", prompts=None, **other):
    """Save a tiny random BERT as sentence-transformers does."""
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "the",
        "a",
        "new",
        "router",
        "red",
        "blue",
        "is",
        "opens",
        "at",
        "nine",
    ]
    raw = Tokenizer(WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]").save_pretrained(folder)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **size)).save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "1_Pooling").mkdir()
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16, f"pooling_mode_{mode}": True, **other})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})
    write(folder / "config_sentence_transformers.json", {"prompts": prompts or {}})
    return str(folder)


def write(path, content):
    path.write_text(json.dumps(content))


def reference(path, texts, kind="document"):
    model = SentenceTransformer(path, device="cpu")
    encode = {"document": model.encode_document, "query": model.encode_query}[kind]
    return encode(texts, normalize_embeddings=True, show_progress_bar=False)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": "cls_token", "pooling_mode_mean_tokens": False},
        {"mode": "max_tokens", "pooling_mode_mean_tokens": False},
        {"prompts": {"query": "the new ", "document": "a red "}},
    ],
    ids=["mean", "cls", "max", "prompts"],
)
def test_keys_equal_those_of_sentence_transformers(tmp_path, settings):
    path = sentence_model(tmp_path, **settings)
    encoder = SentenceTransformerEncoder(path, batch_size=2)
    np.testing.assert_allclose(encoder.encode_atoms(STATEMENTS), reference(path, STATEMENTS), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_query("a router"), reference(path, ["a router"], "query")[0], atol=1e-6)


def test_it_is_a_key_encoder_of_unit_vectors(tmp_path):
    encoder = SentenceTransformerEncoder(sentence_model(tmp_path), name="tiny")
    keys = encoder.encode_atoms(STATEMENTS)
    assert isinstance(encoder, KeyEncoder)
    assert (encoder.name, encoder.dim) == ("tiny", 16)
    assert keys.dtype == encoder.encode_query("x").dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1.0, atol=1e-6)
    assert encoder.encode_atoms([]).shape == (0, 16)


def test_an_unnamed_encoder_is_called_by_its_source(tmp_path):
    path = sentence_model(tmp_path)
    assert SentenceTransformerEncoder(path).name == path


@pytest.mark.parametrize("mode", ["mean_tokens", "cls_token"])
def test_loading_prints_nothing(tmp_path, capfd, mode):
    path = sentence_model(tmp_path, mode=mode)
    capfd.readouterr()
    SentenceTransformerEncoder(path).encode_atoms(STATEMENTS)
    assert capfd.readouterr() == ("", "")


def test_an_averaging_model_is_run_without_importing_sentence_transformers(tmp_path):
    import subprocess
    import sys

    script = (
        "import sys; from parametric_memory.routing.key_encoders import SentenceTransformerEncoder;"
        f"SentenceTransformerEncoder({sentence_model(tmp_path)!r}); assert 'sentence_transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(BackendError, match="loading the key encoder"):
        SentenceTransformerEncoder(str(tmp_path))


def test_a_hub_id_that_is_neither_cached_nor_reachable_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackendError, match=r"'owner/no-such-encoder'.*go online once"):
        SentenceTransformerEncoder("owner/no-such-encoder")


@pytest.mark.model
def test_the_built_in_key_encoder_equals_sentence_transformers_and_knows_what_is_alike(tmp_path):
    path = resolve_key_encoder(BUILTIN_KEY_ENCODER)
    encoder = SentenceTransformerEncoder(path, name=BUILTIN_KEY_ENCODER)
    statements = ["The office in Lisbon opens at nine.", "Cats sleep most of the day.", "Long. " * 400]
    keys = encoder.encode_atoms(statements)
    np.testing.assert_allclose(keys, reference(path, statements), atol=1e-6)
    query = encoder.encode_query("When does the Lisbon office open?")
    assert (encoder.dim, int(np.argmax(keys @ query))) == (384, 0)
