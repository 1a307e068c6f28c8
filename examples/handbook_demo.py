"""Compile the handbook into a memory, ask it questions, and compare with closed-book and RAG answers of the same model.

    python examples/handbook_demo.py            # the second run reuses the memory
    python examples/handbook_demo.py --fresh    # compile everything anew

Everything is asked for real, every time; only the memory is kept, in the user's cache directory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
    from parametric_memory.evaluation import Prediction
    from parametric_memory.types import Answer

EXAMPLES = Path(__file__).resolve().parent
#: Relative, so that citations are short and the memory does not depend on where the repository lies.
DOCUMENTS = Path("handbook/documents")
QUESTIONS = Path("handbook/questions.jsonl")
#: What a mode of `ask` is called on the screen.
SYSTEMS = {"atoms": "from weights", "closed_book": "closed-book", "in_context": "RAG"}
SHOWN = 8
TOGETHER = 16
WIDTH = 100
