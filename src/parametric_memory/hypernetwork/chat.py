"""Conversations as token ids: the tokenizer's chat template, or plain "role: content" lines where there is none.

A conversation that ends in an assistant's message leaves that turn open: the model goes on writing it ("Answer:").
"""

from __future__ import annotations

from typing import Any, TypeAlias

from parametric_memory.errors import GenerationError
from parametric_memory.types import Conversation

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type


def prompt_ids(tokenizer: Tokenizer, conversation: Conversation) -> list[int]:
    """Return the conversation's token ids, up to where the assistant's next words belong.

    Raises:
        GenerationError: If the conversation is empty, or the chat template refuses it.
    """
    if not conversation:
        raise GenerationError("preparing a prompt: the conversation is empty; give it at least one message")
    opened = _is_opened(conversation)
    # An assistant's turn without words has yet to begin.
    unbegun = conversation[-1]["role"] == "assistant" and not opened
    turns = [dict(turn) for turn in (conversation[:-1] if unbegun else conversation)]
    if not tokenizer.chat_template:
        ids: list[int] = tokenizer(_plain(conversation)).input_ids
        return ids
    try:
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=not opened, continue_final_message=opened, tokenize=True, return_dict=False
        )
    except Exception as error:  # templates raise whatever their author wrote
        roles = [turn["role"] for turn in conversation]
        raise GenerationError(
            f"preparing a prompt: the base model's chat template refuses a conversation of the roles {roles}: {error}; "
            "change the order or the roles of its messages"
        ) from error
    return ids


def answer_ids(tokenizer: Tokenizer, conversation: Conversation, answer: str) -> list[int]:
    """Return an answer's token ids as they would follow `prompt_ids`: behind a space if the turn is already open."""
    follows_words = _is_opened(conversation) or not tokenizer.chat_template
    text = f" {answer.lstrip()}" if follows_words and answer else answer
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


def end_of_turn(tokenizer: Tokenizer) -> int:
    """Return the token that ends an assistant's turn."""
    return int(tokenizer.eos_token_id)


def turn_ends(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return the strings that end an assistant's turn; with a chat template it is a token that does."""
    return () if tokenizer.chat_template else ("\nuser:", "\nsystem:", "\nassistant:")


def _is_opened(conversation: Conversation) -> bool:
    return conversation[-1]["role"] == "assistant" and bool(conversation[-1]["content"])


def _plain(conversation: Conversation) -> str:
    lines = "\n".join(f"{turn['role']}: {turn['content']}".rstrip() for turn in conversation)
    return lines if conversation[-1]["role"] == "assistant" else f"{lines}\nassistant:"
