"""Calls of tools, for base models that were never taught any: asked for in the prompt, and read out of the text.

Schemas go into the system message; ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` is looked for in what comes
back. Where a call is forced (``tool_choice``), its beginning is put into the base model's mouth; and if what follows
does not fit the schema, the arguments are asked for one by one, which even a very small model can fill. A small base
that may choose freely seldom chooses well: nothing here makes it cleverer.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from parametric_memory.config import GenerationConfig
from parametric_memory.protocols import Backend
from parametric_memory.types import ComposedAdapter, Conversation, Message

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_INSTRUCTIONS = """You can call these tools:
{tools}
To call one, answer with nothing but {open}{{"name": "the tool", "arguments": {{"argument": "value"}}}}{close}
If you need none, answer in plain words."""
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_NUMBER = {"integer": re.compile(r"-?\d+"), "number": re.compile(r"-?\d+(?:\.\d+)?")}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InvalidCall:
    """What was meant as a call, as it was written, and why it is none."""

    id: str
    name: str
    written: str
    problem: str


@dataclass(frozen=True, slots=True)
class ToolReply:
    """What a text says when it is read for calls of tools: what is left of it, calls, and calls that make no sense."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    invalid: tuple[InvalidCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one call, by name, with their JSON schemas; one of ``forced`` has to be called, if there are any."""

    tools: Mapping[str, Mapping[str, Any]]
    forced: tuple[str, ...] = ()

    @classmethod
    def of(cls, tools: Sequence[Mapping[str, Any]] | None, choice: object = None) -> Toolbox | None:
        """Read OpenAI's shape of tools and of a choice among them; None if there are none to be called.

        Raises:
            ValueError: If the choice is not one of the tools.
        """
        if not tools or choice == "none":
            return None
        known = {str(tool["function"]["name"]): tool["function"] for tool in tools}
        if choice in (None, False, "auto"):
            return cls(known)
        if choice in (True, "any", "required"):
            return cls(known, tuple(known))
        name = choice["function"]["name"] if isinstance(choice, Mapping) else str(choice)
        if name not in known:
            raise ValueError(f"choosing the tool {name!r}: the tools are {', '.join(known)}")
        return cls(known, (name,))

    @property
    def instructions(self) -> str:
        """What the base model is told about its tools."""
        lines = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in self.tools.values())
        return _INSTRUCTIONS.format(tools=lines, open=_OPEN, close=_CLOSE)

    def words(self, text: str) -> str:
        """Return what is certain to be words, no call, of a text that is still being written."""
        if text.lstrip().startswith("{"):
            return ""
        spoken, opened, _ = text.partition(_OPEN)
        begun = 0 if opened else next((n for n in range(len(_OPEN) - 1, 0, -1) if text.endswith(_OPEN[:n])), 0)
        return spoken[: len(spoken) - begun]

    def read(self, text: str) -> ToolReply:
        """Read the calls in a text; one without a closing tag, or of JSON alone, counts too."""
        spoken, *marked = text.split(_OPEN)
        if not marked and spoken.lstrip().startswith("{"):
            spoken, marked = "", [spoken]
        calls, invalid, plain = [], [], [spoken]
        for piece in marked:
            body, _, after = piece.partition(_CLOSE)
            found = self._call(body.strip())
            if found is None:
                plain.append(body)
            elif isinstance(found, ToolCall):
                calls.append(found)
            else:
                invalid.append(found)
            plain.append(after)
        return ToolReply("".join(plain).strip(), tuple(calls), tuple(invalid))

    def force(
        self,
        backend: Backend,
        conversation: Conversation,
        *,
        adapter: ComposedAdapter | None,
        config: GenerationConfig,
    ) -> ToolReply:
        """Have the base model call one of the forced tools, and return the call."""
        speaker = _Speaker(backend, conversation, adapter, config)
        name = self.forced[0]
        if len(self.forced) > 1:
            name = speaker.choose(f'{_OPEN}{{"name":', [json.dumps(one) for one in self.forced]).strip('"')
        opened = f'{_OPEN}{{"name": {json.dumps(name)}, "arguments":'
        schema = self.tools[name].get("parameters", {})
        wanted = schema.get("properties", {})
        if not wanted:
            return ToolReply("", (_tool_call(name, {}),))
        raw = speaker.go_on(f"{opened} {{")
        arguments = _leading_object("{" + raw)
        if arguments is None or problems(schema, arguments):
            arguments = _filled(schema, speaker, opened)
        if problem := problems(schema, arguments):
            return ToolReply("", (), (_invalid(name, raw, problem),))
        return ToolReply("", (_tool_call(name, arguments),))

    def _call(self, body: str) -> ToolCall | InvalidCall | None:
        """Return the call that a piece of JSON is; None if it is no call at all."""
        parsed = _leading_object(body)
        if parsed is None:
            return _invalid("", body, "this is not JSON") if body.startswith("{") else None
        name = str(parsed.get("name", ""))
        arguments = parsed.get("arguments", parsed.get("parameters", {}))
        if name not in self.tools:
            return _invalid(name, body, f"there is no tool {name!r} among {', '.join(self.tools)}")
        if not isinstance(arguments, dict):
            return _invalid(name, body, "the arguments are not an object")
        return _tool_call(name, arguments)


def problems(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """Return what is wrong with arguments: missing ones, and values of another type. Empty if nothing is."""
    missing = [key for key in schema.get("required", ()) if key not in arguments]
    known = schema.get("properties", {})
    wrong = [key for key, value in arguments.items() if key not in known or not _fits(known[key], value)]
    said = [f"missing: {', '.join(missing)}"] if missing else []
    return "; ".join([*said, *([f"of another type: {', '.join(wrong)}"] if wrong else [])])


@dataclass(frozen=True, slots=True)
class _Speaker:
    """The base model in one conversation, with words put into its mouth."""

    backend: Backend
    conversation: Conversation
    adapter: ComposedAdapter | None
    config: GenerationConfig

    def go_on(self, opened: str, *, stop: tuple[str, ...] = (), tokens: int | None = None) -> str:
        """Return what follows the opened words."""
        config = replace(
            self.config, stop=(*self.config.stop, *stop), max_new_tokens=tokens or self.config.max_new_tokens
        )
        [made] = self.backend.generate([self._opened(opened)], adapters=[self.adapter], config=config)
        return made.text

    def choose(self, opened: str, choices: Sequence[str]) -> str:
        """Return the choice that is likeliest to follow the opened words, token by token."""
        scores = self.backend.loglikelihood(
            [self._opened(opened)] * len(choices), choices, adapters=[self.adapter] * len(choices)
        )
        best = max(range(len(choices)), key=lambda number: scores[number][0] / max(1, scores[number][1]))
        return choices[best]

    def _opened(self, words: str) -> list[Message]:
        return [*self.conversation, {"role": "assistant", "content": words}]


def _filled(schema: Mapping[str, Any], speaker: _Speaker, opened: str) -> dict[str, Any]:
    """Return the required arguments, each asked for by itself; what cannot be had is left out."""
    known: Mapping[str, Any] = schema.get("properties", {})
    arguments: dict[str, Any] = {}
    for key in schema.get("required", known):
        so_far = json.dumps(arguments, ensure_ascii=False)[:-1]
        comma = ", " if arguments else ""
        value = _slot(known.get(key, {}), speaker, f"{opened} {so_far}{comma}{json.dumps(key)}:")
        if value is not _NOTHING:
            arguments[key] = value
    return arguments


_NOTHING = object()


def _slot(schema: Mapping[str, Any], speaker: _Speaker, opened: str) -> Any:
    """Return one argument's value, or `_NOTHING`."""
    kind = _kinds(schema)[0]
    choices = schema.get("enum") or ([True, False] if kind == "boolean" else None)
    if choices:
        return json.loads(speaker.choose(opened, [json.dumps(choice, ensure_ascii=False) for choice in choices]))
    if kind in _NUMBER:
        found = _NUMBER[kind].search(speaker.go_on(opened, tokens=16))
        # Not JSON's: "007" is a number to a reader.
        return _NOTHING if found is None else float(found[0]) if "." in found[0] else int(found[0])
    if kind == "string":
        return speaker.go_on(f'{opened} "', stop=('"', "\n"), tokens=64).strip()
    begin = {"array": "[", "object": "{"}.get(kind, "")
    value = _leading_json(begin + speaker.go_on(f"{opened} {begin}".rstrip()))
    return value if _fits(schema, value) else _NOTHING


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    """Return the JSON types that a schema allows; ["any"] if it does not say."""
    options = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    kinds = [option["type"] for option in options if "type" in option]
    flat = [kind for one in kinds for kind in ([one] if isinstance(one, str) else one)]
    return sorted(flat, key="null".__eq__) or ["any"]


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    if value is _NOTHING or ("enum" in schema and value not in schema["enum"]):
        return False
    kinds = _kinds(schema)
    allowed = tuple(one for kind in kinds for one in _JSON_TYPES.get(kind, ()))
    # bool is an int to Python, not to JSON.
    return not allowed or (isinstance(value, allowed) and (not isinstance(value, bool) or bool in allowed))


def _leading_json(text: str) -> Any:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text.lstrip())[0]
    except ValueError:
        return _NOTHING


def _leading_object(text: str) -> dict[str, Any] | None:
    value = _leading_json(text)
    return value if isinstance(value, dict) else None


def written_call(name: str, arguments: object) -> str:
    """Return a call of a tool as the base model is asked to write it."""
    return f"{_OPEN}{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}{_CLOSE}"


def is_call(text: str) -> bool:
    """Whether there is a call of a tool in a text."""
    return _OPEN in text


def written_result(text: str, *, failed: bool = False) -> str:
    """Return what a tool gave back as the base model reads it."""
    status = ' status="error"' if failed else ""
    return f"<tool_response{status}>{text}</tool_response>"


def _tool_call(name: str, arguments: Mapping[str, Any]) -> ToolCall:
    return ToolCall(f"call_{uuid.uuid4().hex}", name, arguments)


def _invalid(name: str, written: str, problem: str) -> InvalidCall:
    return InvalidCall(f"call_{uuid.uuid4().hex}", name, written, problem)
