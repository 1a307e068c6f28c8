import json

import pytest
import torch

from parametric_memory.adapters import spec_for
from parametric_memory.config import PromptConfig
from parametric_memory.errors import CheckpointError
from parametric_memory.hypernetwork.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, save_reranking
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.testing import tiny_model


@pytest.fixture
def checkpoint():
    model, _ = tiny_model()
    network = AtomHypernetwork(config_for(model, layers=2, width=16))
    return Checkpoint(network, spec_for(model, "tiny", last=2), PromptConfig(prefix="A:"), training={"steps": 3})


def test_what_is_saved_is_loaded_again(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path, card="# A card")
    loaded = load_checkpoint(tmp_path)
    assert (loaded.spec, loaded.prompt, loaded.training) == (checkpoint.spec, checkpoint.prompt, {"steps": 3})
    assert len(loaded.digest) == 12
    for name, tensor in checkpoint.network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[name], tensor.half().float())
    assert (tmp_path / "README.md").read_text() == "# A card"


def test_the_digest_tells_weights_apart(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "a")
    save_checkpoint(checkpoint, tmp_path / "b")
    with torch.no_grad():
        checkpoint.network.floor += 1
    save_checkpoint(checkpoint, tmp_path / "c")
    a, b, c = (load_checkpoint(tmp_path / name).digest for name in "abc")
    assert a == b != c


def test_a_routers_weights_are_read_with_the_checkpoint_they_were_fitted_with_and_with_no_other(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path)
    assert load_checkpoint(tmp_path).reranking is None
    weights = {"similarity": 1.0, "share": 0.5}
    save_reranking(tmp_path, load_checkpoint(tmp_path).digest, weights, fitted={"questions": 100})
    assert load_checkpoint(tmp_path).reranking == weights
    with torch.no_grad():
        checkpoint.network.floor += 1
    save_checkpoint(checkpoint, tmp_path)
    assert load_checkpoint(tmp_path).reranking is None


def test_damaged_weights_of_a_router_are_a_clear_error(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path)
    for damaged in ("{", "[]", '{"digest": "a", "weights": {"share": "much"}}'):
        (tmp_path / "reranking.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"fit_reranker\.py"):
            load_checkpoint(tmp_path)


def test_a_folder_without_a_checkpoint_is_a_clear_error(tmp_path):
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(CheckpointError, match=r"No such file.*config\.json"):
            load_checkpoint(folder)


def test_damaged_weights_are_a_clear_error(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="loading the hypernetwork checkpoint"):
        load_checkpoint(tmp_path)


def test_a_newer_format_is_refused(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(CheckpointError, match="upgrade"):
        load_checkpoint(tmp_path)
