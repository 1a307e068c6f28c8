"""Wordings: how a question is put to the base model in training, so that nothing is tied to one way of asking.

Most questions are put as they will be at inference; the others with other instructions, with courtesies, without an
opened answer, or at the end of a chat.
"""

from __future__ import annotations

import random

from parametric_memory.config import PromptConfig
from parametric_memory.types import Conversation, Message

#: Share of the questions that are put in other ways.
OTHER = 0.3
_SYSTEMS = (
    "",
    "You are a helpful assistant.",
    "Answer the question.",
    "You know the user's documents. Answer in a few words.",
    "Be concise.",
    "Reply with the answer alone.",
)
_PREFIXES = ("Answer:", "", "The answer is", "Sure:")
_COURTESIES = (
    "{}",
    "{}",
    "Question: {}",
    "Please tell me: {}",
    "Hi! {} Thanks.",
    "I have a question. {}",
    "Quick one: {}",
    "According to my notes: {}",
)
_SMALL_TALK = (
    ("Hello!", "Hello! How can I help you?"),
    ("Are you there?", "Yes, I am here."),
    ("Thanks, that was useful.", "You are welcome."),
    ("I would like to ask you something.", "Of course, go ahead."),
    ("Let's go on.", "Gladly. What would you like to know?"),
)


def conversation(prompt: PromptConfig, question: str, *, key: str) -> Conversation:
    """Return the turns around a question; the same key always gives the same.

    Args:
        prompt: The wording at inference.
        question: What is asked.
        key: Decides whether and how the wording differs.
    """
    rng = random.Random(key)
    if rng.random() >= OTHER:
        return prompt.conversation(question)
    turns: list[Message] = []
    if system := rng.choice((prompt.system, *_SYSTEMS)):
        turns.append({"role": "system", "content": system})
    if rng.random() < 0.25:
        said, replied = rng.choice(_SMALL_TALK)
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": replied}]
    turns.append({"role": "user", "content": rng.choice(_COURTESIES).format(question)})
    if prefix := rng.choice((prompt.prefix, prompt.prefix, *_PREFIXES)):
        turns.append({"role": "assistant", "content": prefix})
    return turns
