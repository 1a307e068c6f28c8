"""`pmem eval`: systems beside one another on your own questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    data: Annotated[list[Path], typer.Option(metavar="FILE", help="x")],
) -> None:
    """X."""
