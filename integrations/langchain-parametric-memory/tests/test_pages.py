"""What this README and the how-to page show is true: their Python runs, the diff is the difference, examples run."""

from __future__ import annotations

import difflib
import gc
import re
import runpy
import sys
from pathlib import Path

import pytest
from chromadb.api.shared_system_client import SharedSystemClient
from markdown_it import MarkdownIt

from parametric_memory import ParametricMemory

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]
HOW_TO = ROOT / "docs" / "how-to" / "switch-a-langchain-rag-app.md"
EXAMPLES = ROOT / "examples" / "langchain"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "models.py")


def blocks(page, language):
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


@pytest.fixture
def tiny(make_memory, monkeypatch, tmp_path):
    """Let what is run open memories of the tiny base model, and load it in the place of the real one."""
    from parametric_memory.backends.huggingface import HuggingFaceBackend

    memory = make_memory(path=tmp_path / "unused")
    monkeypatch.setattr(ParametricMemory, "from_pretrained", staticmethod(make_memory))
    monkeypatch.setattr(HuggingFaceBackend, "from_pretrained", staticmethod(lambda *_, **__: memory.backend))
    monkeypatch.setattr(
        "parametric_memory.routing.SentenceTransformerEncoder", lambda *_, **__: memory.key_encoder, raising=True
    )


def run_readme():
    code = "\n".join(blocks(HERE / "README.md", "python"))
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})


def test_the_readme_runs_on_the_tiny_base(tiny, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run_readme()


@pytest.mark.model
def test_the_readme_runs_as_printed(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    run_readme()
    assert "Skarvik" in capsys.readouterr().out


def test_the_switch_is_the_three_lines_that_the_page_shows():
    before, after = (
        re.sub(r'\A""".*?"""', "", (EXAMPLES / name).read_text(encoding="utf-8"), flags=re.DOTALL).splitlines()
        for name in ("rag_before.py", "rag_after.py")
    )
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert sum(line[0] == "+" for line in changed) <= 3
    [shown] = blocks(HOW_TO, "diff")
    assert sorted(line[0] + line[2:] for line in changed) == sorted(shown.splitlines())


def run_example(name, monkeypatch, folder):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "models", raising=False)
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    gc.collect()  # an example that leaves its memory open lets go of it here, where it was opened
    # Chroma keeps collections without a folder for the length of the process: another example would find them.
    SharedSystemClient.clear_system_cache()


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_runs_on_the_tiny_base(name, tiny, monkeypatch, tmp_path, capsys):
    run_example(name, monkeypatch, tmp_path)
    assert capsys.readouterr().out.strip()


@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("quickstart.py", ["Skarvik", "0 of them from the documents", "I don't know."]),
        ("rag_before.py", []),
        ("rag_after.py", ["9"]),
        ("rag_hybrid.py", ["9"]),
        ("agent_per_user.py", ["anna: 48", "bert: 12", "cleo: I don't know."]),
        ("indexing_with_updates.py", ["2 added, 0 skipped", "0 added, 2 skipped", "1 added, 1 skipped, 1 deleted"]),
        ("compare_with_rag.py", ["from weights", "weights and text", "RAG", "of 9 right"]),
    ],
)
def test_an_example_runs_as_it_is(name, says, monkeypatch, tmp_path, capsys):
    run_example(name, monkeypatch, tmp_path)
    said = capsys.readouterr().out
    assert said.strip() and not [one for one in says if one not in said], said


def test_importing_the_package_loads_no_model_and_no_middleware():
    import subprocess

    code = (
        "import sys\n"
        "from langchain_core.language_models import BaseChatModel\n"  # which loads transformers, in version 1.4
        "before = set(sys.modules)\n"
        "import langchain_parametric_memory\n"
        "print([name for name in ('torch', 'langchain', 'transformers') if name in set(sys.modules) - before])"
    )
    environment = {"PYTHONPATH": f"{HERE}:{ROOT / 'src'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
