import json

import pytest
from pydantic import BaseModel, Field

from langchain_parametric_memory import ChatParametricMemory, create_memory_tools, memory_scope
from parametric_memory.protocols import Backend
from parametric_memory.types import Generation, Usage


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: One.
        b: Another.
    """
    return a + b


def ping() -> str:
    """Say pong."""
    return "pong"


ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


class Pet(BaseModel):
    """A pet."""

    name: str = Field(description="Its name.")
    age: int
    tame: bool
    colour: str | None = None


@pytest.fixture
def llm(memory):
    memory.add("Ada joined the Rotterdam office in 2021.")
    return ChatParametricMemory(memory=memory)


# ---------------------------------------------------------------- forced calls


def test_a_forced_call_fits_its_schema_even_from_a_base_that_knows_no_json(llm):
    pet = llm.with_structured_output(Pet).invoke("Tell me of a pet.")
    raw = llm.bind_tools([Pet], tool_choice="any").invoke("Tell me of a pet.")
    # The tiny base writes noise: whatever it writes, a call is whole or it is marked as invalid.
    assert (pet is None) == bool(raw.invalid_tool_calls) != bool(raw.tool_calls)


def test_a_tool_without_arguments_can_be_forced(llm):
    message = llm.bind_tools([add, ping], tool_choice="ping").invoke("Go.")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("ping", {})]
    assert message.response_metadata["finish_reason"] == "tool_calls"


def test_forced_calls_stream_and_batch_as_whole_calls(llm):
    bound = llm.bind_tools([ping], tool_choice="ping")
    total = None
    for chunk in bound.stream("Go."):
        total = chunk if total is None else total + chunk
    assert [call["name"] for call in total.tool_calls] == ["ping"]
    assert [[call["name"] for call in one.tool_calls] for one in bound.batch(["Go.", "Again."])] == [["ping"]] * 2
    assert [block["type"] for block in bound.invoke("Go.").content_blocks if block["type"] != "text"] == ["tool_call"]


class Spoken:
    """A backend that says what it was given to say: for what tools make of it, not for what a model writes."""

    base_model, fingerprint = "spoken", "spoken"

    def __init__(self, *texts):
        self.texts, self.prompts = list(texts), []

    def generate(self, conversations, *, adapters=None, config=None):
        self.prompts += conversations
        return [Generation(self.texts.pop(0), Usage(1, 1)) for _ in conversations]

    def stream(self, conversation, *, adapter=None, config=None):
        yield from self.texts.pop(0)

    def loglikelihood(self, conversations, answers, *, adapters=None):
        return [(-1.0 if answer in {"true", '"add"'} else -2.0, 1) for answer in answers]

    def count_tokens(self, text):
        return len(text.split())


def test_arguments_that_do_not_fit_are_asked_for_one_by_one():
    backend = Spoken("no json at all", 'Rex" or so', "about 3 years")
    assert isinstance(backend, Backend)
    llm = ChatParametricMemory(backend=backend)
    assert llm.with_structured_output(Pet).invoke("A pet?") == Pet(name='Rex" or so', age=3, tame=True)
    opened = [prompt[-1]["content"] for prompt in backend.prompts]
    assert opened[-1] == '<tool_call>{"name": "Pet", "arguments": {"name": "Rex\\" or so", "age":'


def test_arguments_that_fit_are_taken_as_they_are():
    backend = Spoken('"name": "Rex", "age": 3, "tame": false, "colour": "red"}}')
    pet = ChatParametricMemory(backend=backend).with_structured_output(Pet).invoke("A pet?")
    assert pet == Pet(name="Rex", age=3, tame=False, colour="red")


def test_the_likeliest_of_several_forced_tools_is_called():
    llm = ChatParametricMemory(backend=Spoken('"a": 1, "b": 2}}'))
    [call] = llm.bind_tools([ping, add], tool_choice="any").invoke("1 + 2?").tool_calls
    assert (call["name"], call["args"]) == ("add", {"a": 1, "b": 2})


def test_a_slot_that_stays_empty_makes_the_call_invalid():
    llm = ChatParametricMemory(backend=Spoken("nothing", "none", "none"))
    message = llm.bind_tools([add], tool_choice="add").invoke("1 + 2?")
    assert not message.tool_calls and "missing: a, b" in message.invalid_tool_calls[0]["error"]


def test_a_free_choice_is_read_from_the_text_and_told_in_the_prompt():
    backend = Spoken('<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>', "It is 3.")
    bound = ChatParametricMemory(backend=backend).bind_tools([add])
    assert bound.invoke("1 + 2?").tool_calls[0]["args"] == {"a": 1, "b": 2}
    assert bound.invoke("1 + 2?").text == "It is 3."
    assert '"name": "add"' in backend.prompts[0][0]["content"]


def test_words_stream_as_they_are_written_and_the_call_behind_them_comes_whole():
    said = 'Let me <add> these. <tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call> There.'
    chunks = list(ChatParametricMemory(backend=Spoken(said)).bind_tools([add]).stream("1 + 2?"))
    total = sum(chunks[1:], chunks[0])
    assert len(chunks) > 10 and "".join(chunk.text for chunk in chunks[:-2]) == "Let me <add> these."
    assert [(call["name"], call["args"]) for call in total.tool_calls] == [("add", {"a": 1, "b": 2})]
    assert total.text == ChatParametricMemory(backend=Spoken(said)).bind_tools([add]).invoke("1 + 2?").text
    assert total.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("said", ['{"name": "add", "arguments": {"a": 1, "b": 2}}', "It is 3.", "1 < 2", "<tool_"])
def test_what_is_streamed_adds_up_to_what_is_answered(said):
    chunks = list(ChatParametricMemory(backend=Spoken(said)).bind_tools([add]).stream("1 + 2?"))
    total, whole = sum(chunks[1:], chunks[0]), ChatParametricMemory(backend=Spoken(said)).bind_tools([add]).invoke("1?")
    assert (total.text, [call["args"] for call in total.tool_calls]) == (
        whole.text,
        [call["args"] for call in whole.tool_calls],
    )


# ---------------------------------------------------------------- tools that keep a memory


def tools(memory, **kwargs):
    return {tool.name: tool for tool in create_memory_tools(memory, **kwargs)}


def test_what_is_remembered_is_recalled_listed_and_forgotten(memory):
    kept = tools(memory, user_id="anna")
    said = kept["remember"].invoke({"text": "Ada joined the Rotterdam office in 2021."})
    [record] = memory.get_all(user_id="anna")["results"]
    assert said == f"Remembered [{record['id']}] Ada joined the Rotterdam office in 2021."
    assert kept["recall_memory"].invoke({"question": "When did Ada join?"}) == f"[{record['id']}] {record['memory']}"
    assert kept["list_memories"].invoke({}) == f"[{record['id']}] {record['memory']}"
    assert kept["forget_memory"].invoke({"memory_id": record["id"]}).startswith("Forgotten: Ada")
    assert kept["list_memories"].invoke({}) == "Nothing found."


def test_another_user_s_memory_is_neither_seen_nor_forgotten(memory):
    [record] = memory.add("My locker is number 48.", user_id="anna")["results"]
    bert = tools(memory, user_id="bert")
    assert bert["recall_memory"].invoke({"question": "locker"}) == "Nothing found."
    assert "no memory" in bert["forget_memory"].invoke({"memory_id": record["id"]})
    assert memory.get(record["id"])["memory"] == "My locker is number 48."


def test_the_scope_of_a_call_says_whose_memory_it_is(memory):
    kept = tools(memory)
    with memory_scope(user_id="anna"):
        kept["remember"].invoke({"text": "My locker is number 48."})
    with memory_scope(user_id="bert"):
        assert kept["list_memories"].invoke({}) == "Nothing found."
    assert [one["metadata"] for one in memory.get_all()["results"]] == [{"user_id": "anna"}]


def test_what_cannot_be_remembered_is_told_to_the_model_not_raised(memory):
    kept = tools(memory)
    assert "Not remembered" in kept["remember"].invoke({"text": "hm"})
    assert "empty" in kept["remember"].invoke({"text": " "})


def test_no_tool_lets_a_model_choose_the_user(memory):
    for tool in create_memory_tools(memory):
        assert not {"user_id", "agent_id"} & set(tool.args), tool.name
        json.dumps(tool.args)
    assert set(tools(memory, read_only=True)) == {"recall_memory", "list_memories"}
