"""Results to a page that people read: `report.md` of a run. Nothing on the page is not in the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parametric_memory.evaluation.report.curves import curves_by_length
from parametric_memory.evaluation.report.legend import legend
from parametric_memory.evaluation.report.tables import (
    against_table,
    length_table,
    main_table,
    ours,
    overall_table,
    ratios_table,
    recall_table,
    refusal_table,
    set_line,
    stated_table,
)
from parametric_memory.evaluation.report.verdict import verdict


def render(results: Mapping[str, Any], *, command: str) -> str:
    """Return results (see `parametric_memory.evaluation.runner.evaluate`) as Markdown.

    Args:
        results: Of one run; ``overall`` may be missing.
        command: What made them.
    """
    datasets = results["datasets"]
    names = dict.fromkeys(name for dataset in datasets.values() for name in dataset["systems"])
    parts = ["# Evaluation", f"{about(results['settings'])}.", f"    {command}"]
    if len(datasets) > 1 and results.get("overall"):
        parts += ["## All sets", overall_table(results["overall"])]
    for name, dataset in datasets.items():
        parts += [f"## {name}", set_line(name, dataset), main_table(dataset), against_table(dataset, ours(names))]
    for title, shown in (
        ("Ratios of token F1", ratios_table(datasets)),
        ("Finding", recall_table(datasets)),
        ("Refusing", refusal_table(datasets)),
        ("Abstaining: stated and measured", stated_table(results.get("stated", ()))),
        ("Length of the document", length_table(*curves_by_length(datasets))),
        ("Where RAG wins, and where not", verdict(results)),
        ("Systems", legend(names)),
    ):
        parts += [f"## {title}", shown] if shown else []
    return "\n\n".join(part for part in (*parts, notes()) if part) + "\n"


def about(settings: Mapping[str, Any]) -> str:
    """Return what the figures hold for, in a line."""
    asked = "their own document" if settings["setting"] == "own" else "all documents of the set"
    return (
        f"Base model `{settings['base_model']}`, compiler `{settings['compiler']}`, key encoder "
        f"`{settings['key_encoder']}`, seed {settings['seed']}, questions asked of {asked}"
    )


def notes() -> str:
    """Return what the columns mean."""
    return _NOTES


_NOTES = """\
Token F1, EM and contains (the right answer's words stand in the answer): the best over the right answers, after SQuAD's
normalisation. A question without an answer is answered rightly only by refusing: by abstaining, saying nothing, or
saying no more than that it is not known (“I don't know”, “not mentioned” and the like), whichever system does. Best in:
the sets where no other system has a higher token F1; systems that are handed the gold sentence, its document or the
test question are bounds, and no rivals. In brackets: 95 % intervals, bootstrapped over documents. Differences are
paired by question; their p-values are of a two-sided permutation test over documents, not corrected for their number:
of twenty pairs that do not differ, one looks as if it did. The better plain RAG arm of a set is chosen on these very
answers, so the doubt is RAG's.

Log-likelihood: nats per token of the first right answer, where the system did not abstain (compared where neither did,
so on questions that the more careful one took on). Recall@k: of the questions that a single sentence answers, the share
for which it lies whole in one of the first k places that the system looked at. A chunk that is smaller than the
sentence, or ends within it, never counts: with chunks of 200 characters, that is so of a third of the gold sentences of
SQuAD 1.1, and of more than half of those of SQuAD 2.0. Recall of such small chunks is low for their size, not for the
search. Refusal: how well refusing tells unanswerable questions apart. Stated error: of the unanswerable questions, at
most this share is to be taken on; coverage: of the answerable ones, those taken on by the same threshold. Tokens:
retrieved text in the prompt, on average. Times: questions asked one at a time, the systems in turn; compare them as
ratios, within this run only."""
