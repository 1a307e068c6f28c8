"""Parametric memory beside RAG, on questions about your own documents: the same base model, the same weights.

    python examples/langchain/compare_with_rag.py                      # 9 questions of the handbook
    python examples/langchain/compare_with_rag.py questions.jsonl docs/

A line of the questions is {"question": ..., "answers": [...]}. For confidence intervals and more systems: `pmem eval`.
"""

import json
import sys
from pathlib import Path

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_parametric_memory import ChatParametricMemory, ParametricMemoryRetriever
from models import FILES, HANDBOOK

from parametric_memory import ParametricMemory

if len(sys.argv) == 3:
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    documents = [Path(sys.argv[2])]
else:
    lines = (HANDBOOK.parent / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["answers"] and set(row["source"]) <= set(FILES)]
    documents = [HANDBOOK / name for name in FILES]

prompt = ChatPromptTemplate.from_template("{context}\n\nQuestion: {question}\nAnswer briefly.")


def joined(found):
    """Return the texts of documents as one."""
    return "\n".join(document.page_content for document in found)


with ParametricMemory.from_pretrained(path="./memory") as memory:
    memory.add(documents)
    llm = ChatParametricMemory(memory=memory, max_tokens=32)
    retriever = ParametricMemoryRetriever(memory=memory, k=4)
    rag = {"context": retriever | joined, "question": RunnablePassthrough()} | prompt | llm.bind(mode="closed_book")
    arms = {"from weights": llm, "weights and text": llm.bind(mode="hybrid"), "RAG": rag}
    questions = [row["question"] for row in rows]
    for name, arm in arms.items():
        answers = arm.batch(questions)
        right = sum(
            any(gold.lower() in answer.text.lower() for gold in row["answers"])
            for row, answer in zip(rows, answers, strict=True)
        )
        tokens = sum(answer.usage_metadata["input_tokens"] for answer in answers) / len(answers)
        print(f"{name:18} {right} of {len(rows)} right, {tokens:.0f} tokens read per question")
