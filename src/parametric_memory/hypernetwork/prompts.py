"""Conversations as token ids, by the base model's own chat template."""

from __future__ import annotations

from typing import Any, TypeAlias

from parametric_memory.types import Conversation

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type


def render(tokenizer: Tokenizer, conversation: Conversation) -> list[int]:
    """Return the token ids of a conversation that the assistant is about to go on with.

    If the last turn is the assistant's, it is left open and continued; else a new one is opened. A tokenizer without a
    chat template gets plain ``role: content`` lines.
    """
    messages = [dict(message) for message in conversation]
    opened = bool(messages) and messages[-1]["role"] == "assistant"
    if tokenizer.chat_template is None:
        lines = [f"{message['role']}: {message['content']}" for message in messages]
        text = "\n".join(lines if opened else [*lines, "assistant:"])
        ids: list[int] = tokenizer(text).input_ids
        return ids
    rendered: list[int] = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=False, add_generation_prompt=not opened, continue_final_message=opened
    )
    return rendered
