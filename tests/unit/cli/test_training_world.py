from typer.testing import CliRunner

from parametric_memory.cli import app
from parametric_memory.training.data import read_rows


def test_train_world_writes_as_many_questions_as_were_asked_for(tmp_path):
    out = tmp_path / "world.dev.jsonl.gz"
    words = ["train", "world", "--out", str(out), "--questions", "40", "--seed", "3", "--split", "dev"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0 and "40 questions" in result.stdout
    rows = list(read_rows(out))
    assert len(rows) == 40 and {row["split"] for row in rows} == {"dev"}
