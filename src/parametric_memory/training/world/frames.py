"""Frames: what is put around a question or a statement to make a request of it; some are reserved for validation."""

from __future__ import annotations

from parametric_memory.training.world.relations import Wordings

#: Around a question: an instruction, a courtesy.
WRAPS = Wordings(
    (
        "Answer briefly. {q}", "{q} Answer in a few words.", "Question: {q}", "Hello! {q}",
        "I would like to know: {q}", "Quick question: {q}", "{q} Please be brief.",
        "Please answer in a short phrase: {q}", "Thanks so far. {q}", "From a quiz: {q}",
        "A friend wants to know: {q}", "{q} I need it for a form.", "One more question. {q}",
        "Answer with the bare fact: {q}",
    ),
    (
        "Keep it short, please: {q}", "{q} A word or two will do.", "Good morning! {q}",
        "For the pub quiz tonight: {q}", "Reply with nothing but the answer. {q}", "Before I forget: {q}",
        "{q} No explanation, please.",
    ),
)  # fmt: skip
#: Around a question that is answered by yes or no.
YES_NO_WRAPS = Wordings(
    ("Yes or no: {q}", "{q} Answer yes or no.", "{q} Yes or no?"),
    ("A simple yes or no, please: {q}", "{q} Just say yes or no."),
)
#: Around a statement, to ask whether it is true.
TRUTHS = Wordings(
    ("Is it true that {c}?", "Is it correct that {c}?", "Is it a fact that {c}?"),
    ("Is it right to say that {c}?", "Would you agree that {c}?"),
)
#: Around the beginning of a statement, to have it completed.
CLOZES = Wordings(
    ("Complete: {c}", "{c}", "Complete the sentence: {c} …", "Fill the gap: {c} ___."),
    ("Finish the sentence: {c}", "How does this go on? {c} …", "Add what is missing: {c} ___."),
)
