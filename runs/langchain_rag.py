"""Check the RAG rows of a `pmem eval` run with a chain written in LangChain, which shares none of its code.

    pmem eval --data DIR/squad1.1.dev.jsonl.gz --systems rag_bm25,rag_dense --limit 80 --out RUN
    OMP_NUM_THREADS=1 python runs/langchain_rag.py --data DIR --run RUN

The chain is ``retriever | prompt | model | StrOutputParser``, with a model wrapper around transformers' ``generate``,
sentence-transformers for embeddings, LangChain's splitter and retrievers over each question's own document, and a
scorer after SQuAD's evaluation script. Of this library it takes where the models lie, and the prompts and sizes that
`runs/choose_prompts.py` wrote. Prints both means, the paired difference with its 95 % interval over documents, and
whether they agree: whether 0 lies in it.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import random
import re
import string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import LLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForCausalLM, AutoTokenizer

from parametric_memory.backends.models import BUILTIN_BASE, BUILTIN_KEY_ENCODER, resolve, resolve_key_encoder

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.retrievers import BM25Retriever

CHOICE = Path(__file__).parents[1] / "src/parametric_memory/evaluation/wordings/smollm2-135m-instruct.json"
DRAWS = 2000


# ---------------------------------------------------------------- the application


class Transformers(LLM):
    """A chat model of transformers that takes a prompt with its template applied, and answers greedily."""

    model: Any
    tokenizer: Any

    @property
    def _llm_type(self) -> str:
        return "transformers"

    @torch.no_grad()
    def _call(self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **_: Any) -> str:  # noqa: ARG002
        ids = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        made = self.model.generate(**ids, max_new_tokens=32, do_sample=False, pad_token_id=self.tokenizer.eos_token_id)
        text = str(self.tokenizer.decode(made[0, ids.input_ids.shape[1] :], skip_special_tokens=True)).strip()
        return min((text.partition(end)[0] for end in stop or ()), key=len, default=text).strip()


class MiniLM(Embeddings):
    """Embeddings by sentence-transformers."""

    def __init__(self, folder: str) -> None:
        self._model = SentenceTransformer(folder, device="cpu")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.encode(texts, normalize_embeddings=True).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def chunks(row: Mapping[str, Any], size: int) -> list[Document]:
    """Return a document in chunks, with its title before each."""
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size, chunk_overlap=0, separators=["\n\n", "\n", ". ", "? ", "! ", " ", ""], keep_separator="end"
    )
    title = f"{row['title']}: " if row.get("title") else ""
    return [Document(page_content=title + text) for text in splitter.split_text(row["document"])]


def retriever(kind: str, pages: list[Document], k: int, embeddings: Embeddings) -> Runnable[str, list[Document]]:
    """Return LangChain's retriever over a document's chunks."""
    if kind == "bm25":
        return BM25Retriever.from_documents(pages, k=k, preprocess_func=lambda text: re.findall(r"\w+", text.lower()))
    store = InMemoryVectorStore(embeddings)
    store.add_documents(pages)
    return store.as_retriever(search_kwargs={"k": k})


def prompt_of(wording: Mapping[str, Any], tokenizer: Any) -> PromptTemplate:
    """Return a wording of the choice as a prompt template over the chat template's text."""

    def turn(role: str, content: str) -> dict[str, str]:
        return {"role": role, "content": content}

    asked = wording["user"].replace("{passages}", "PASSAGES").replace("{question}", "QUESTION")
    shown = [
        (
            wording["user"].replace("{passages}", shot["passage"]).replace("{question}", shot["question"]),
            f"{wording['prefix']} {shot['answer']}".strip(),
        )
        for shot in wording["shots"]
    ]
    turns = [] if wording["system"] is None else [turn("system", wording["system"])]
    if wording["inline"]:
        turns.append(turn("user", "\n\n".join([*(f"{user}\n{answer}" for user, answer in shown), asked])))
    else:
        for user, answer in shown:
            turns += [turn("user", user), turn("assistant", answer)]
        turns.append(turn("user", asked))
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + wording["prefix"]
    text = (
        text.replace("{", "{{").replace("}", "}}").replace("PASSAGES", "{passages}").replace("QUESTION", "{question}")
    )
    return PromptTemplate.from_template(text)


def chain(found: Runnable[str, list[Document]], prompt: PromptTemplate, joint: str, model: LLM) -> Runnable[str, str]:
    """Return the application: a question in, an answer out."""
    shown = found | RunnableLambda(lambda pages: joint.join(page.page_content for page in pages))
    return {"passages": shown, "question": RunnablePassthrough()} | prompt | model.bind(stop=["\n"]) | StrOutputParser()


# ---------------------------------------------------------------- its score


def squad_f1(prediction: str, answers: Sequence[str]) -> float:
    """Return token F1 as SQuAD's evaluation script has it, the best over the answers."""

    def tokens(text: str) -> list[str]:
        kept = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    def f1(gold: str) -> float:
        said, right = tokens(prediction), tokens(gold)
        same = sum((collections.Counter(said) & collections.Counter(right)).values())
        if not said or not right or not same:
            return float(said == right)
        precision, recall = same / len(said), same / len(right)
        return 2 * precision * recall / (precision + recall)

    return max(map(f1, answers))


def interval(differences: Mapping[str, list[float]]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean difference; documents are drawn."""
    groups, draw = list(differences.values()), random.Random(0)
    means = sorted(
        fmean(value for group in draw.choices(groups, k=len(groups)) for value in group) for _ in range(DRAWS)
    )
    return means[round(0.025 * DRAWS)], means[round(0.975 * DRAWS) - 1]


# ---------------------------------------------------------------- the comparison


def main() -> None:
    arguments = parse_arguments()
    choice = json.loads(CHOICE.read_text(encoding="utf-8"))
    wordings = {wording["name"]: wording for wording in choice["wordings"]}
    folder = resolve(BUILTIN_BASE)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Transformers(model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), tokenizer=tokenizer)
    embeddings = MiniLM(resolve_key_encoder(BUILTIN_KEY_ENCODER))
    for kind in ("bm25", "dense"):
        chosen = choice["chosen"][kind]
        wording = wordings[chosen["wording"]]
        prompt = prompt_of(wording, tokenizer)
        theirs: dict[str, list[float]] = collections.defaultdict(list)
        ours: dict[str, list[float]] = collections.defaultdict(list)
        same = 0
        for row, document in rows(arguments.run, arguments.data, f"rag_{kind}"):
            pages = chunks(document, chosen["chunk_chars"])
            found = retriever(kind, pages, chosen["passages"], embeddings)
            text = chain(found, prompt, wording["joint"], model).invoke(row["question"])
            theirs[row["doc_id"]].append(squad_f1(text, row["answers"]))
            ours[row["doc_id"]].append(row["f1"])
            same += text == row["prediction"]
        report(kind, theirs, ours, same)


def report(kind: str, theirs: Mapping[str, list[float]], ours: Mapping[str, list[float]], same: int) -> None:
    """Print both means, and whether they agree."""
    # Two ways to reckon the same F1 may differ in the last bit.
    differences = {doc: [round(a - b, 9) for a, b in zip(theirs[doc], ours[doc], strict=True)] for doc in theirs}
    count = sum(map(len, theirs.values()))
    if not count:
        raise SystemExit(f"the run has no answers of rag_{kind} to answerable questions")
    low, high = interval(differences)
    means = [fmean(value for group in side.values() for value in group) for side in (theirs, ours)]
    print(
        f"rag_{kind}: {count} questions, F1 {means[0]:.3f} by the chain, {means[1]:.3f} by the run; "
        f"difference {means[0] - means[1]:+.3f} [{low:+.3f}, {high:+.3f}]; {same} of {count} answers are the same; "
        f"{'they agree' if low <= 0 <= high else 'THEY DO NOT AGREE'}"
    )


def rows(run: Path, data: Path, system: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield a system's answers to answerable questions, each with its document."""
    documents: dict[str, dict[str, dict[str, Any]]] = {}
    for line in (run / "answers.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["system"] != system or not row["answers"]:
            continue
        if row["dataset"] not in documents:
            with gzip.open(data / f"{row['dataset']}.jsonl.gz", "rt", encoding="utf-8") as file:
                documents[row["dataset"]] = {one["doc_id"]: one for one in map(json.loads, file)}
        yield row, documents[row["dataset"]][row["doc_id"]]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the files that were evaluated")
    parser.add_argument("--run", type=Path, required=True, help="folder that `pmem eval` wrote")
    return parser.parse_args()


if __name__ == "__main__":
    main()
