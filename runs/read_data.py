"""Read every file of a folder of questions, and say what is in it: ``runs/read_data.py DATA``.

Fails if a file that asks questions cannot be read; files for training alone (triples, no questions) are named.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.datasets import corpus_documents, dataset_name, read_questions


def main(folder: Path) -> int:
    """Print a line per file; return 1 if one that asks questions could not be read."""
    failed = 0
    for path in sorted(one for one in folder.iterdir() if ".json" in one.name or ".csv" in one.name):
        began = time.perf_counter()
        try:
            questions = read_questions(path)
        except UnreadableDocumentError as error:
            training = "triples and no question" in str(error)
            failed += not training
            print(f"{dataset_name(path)}: {'for training alone' if training else error}")
            continue
        seconds = time.perf_counter() - began
        documents = corpus_documents(questions)
        longest = max(len(document.document) for document in documents)
        answerable = sum(question.answerable for question in questions)
        print(
            f"{dataset_name(path)}: {len(questions)} questions, {answerable} answerable, {len(documents)} documents, "
            f"the longest {longest} characters, {seconds:.1f} s"
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
