"""What the memory says, as LangChain's messages: text, usage, the route and where it was read.

The content is plain text. `AIMessage.content_blocks` shows the same text with its citations as annotations: LangChain
asks `translate` for it, which this module registers under its provider's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as blocks
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.block_translators import register_translator

from parametric_memory.types import Answer, Usage

PROVIDER = "parametric_memory"


def usage_of(usage: Usage) -> UsageMetadata:
    """Return the tokens that the base model read and wrote."""
    total = usage.prompt_tokens + usage.completion_tokens
    return UsageMetadata(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=total)


def metadata_of(answer: Answer, *, model_name: str, finish_reason: str) -> dict[str, Any]:
    """Return an answer's `response_metadata`: its route, its citations, and what it cost. All of it is JSON."""
    named = {"model_name": model_name, "model_provider": PROVIDER, "finish_reason": finish_reason}
    return named | answer.record()


def translate(message: AIMessage) -> list[blocks.ContentBlock]:
    """Return a message's content blocks: its text with the citations, then its calls of tools."""
    if not isinstance(message.content, str):
        raise NotImplementedError  # LangChain's own reading knows what to do with blocks
    cited = _annotations(message.response_metadata, message.content)
    found: list[blocks.ContentBlock] = []
    if message.content or cited:
        text = blocks.TextContentBlock(type="text", text=message.content)
        if cited:
            text["annotations"] = cited
        found.append(text)
    found += [_tool_call(call) for call in message.tool_calls]
    found += [cast("blocks.ContentBlock", {**call}) for call in message.invalid_tool_calls]
    return found


def translate_chunk(message: AIMessageChunk) -> list[blocks.ContentBlock]:
    """Return a chunk's content blocks; the citations come with the last one."""
    return translate(message)


def _tool_call(call: Mapping[str, Any]) -> blocks.ContentBlock:
    return blocks.ToolCall(type="tool_call", id=call.get("id"), name=call["name"], args=call["args"])


def _annotations(metadata: Mapping[str, Any], text: str) -> list[blocks.Annotation]:
    """Return the citations of an answer; all of its text stands on all of them."""
    found: list[blocks.Annotation] = []
    for citation in metadata.get("citations", ()):
        annotation = blocks.Citation(type="citation", cited_text=citation["text"], extras=dict(citation))
        if citation["source"]:
            annotation["title"] = citation["source"]
        if "://" in citation["source"]:
            annotation["url"] = citation["source"]
        if text:
            annotation |= {"start_index": 0, "end_index": len(text)}
        found.append(annotation)
    return found


register_translator(PROVIDER, translate, translate_chunk)
