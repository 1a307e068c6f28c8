import pytest

from parametric_memory.config import GenerationConfig
from parametric_memory.conversation import Toolbox, written_call, written_result
from parametric_memory.conversation.tool_calls import problems

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


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>',
        'Well: <tool_call>\n{"name": "add", "parameters": {"a": 1, "b": 2}}',
        '{"name": "add", "arguments": {"a": 1, "b": 2}}',
    ],
)
def test_a_call_is_read_however_it_is_wrapped(text):
    reply = Toolbox.of([ADD]).read(text)
    assert [(call.name, call.arguments) for call in reply.calls] == [("add", {"a": 1, "b": 2})]
    assert reply.text in {"", "Well:"} and not reply.invalid


def test_two_calls_of_one_reply_have_ids_of_their_own():
    one = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'
    calls = Toolbox.of([ADD]).read(one + one).calls
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<tool_call>{"name": "sub", "arguments": {}}</tool_call>', "no tool 'sub'"),
        ('<tool_call>{"name": "add", "arguments": 3}</tool_call>', "not an object"),
        ('<tool_call>{"name": "add", "argu', "not JSON"),
    ],
)
def test_a_call_that_makes_no_sense_is_told_apart(text, problem):
    reply = Toolbox.of([ADD]).read(text)
    assert not reply.calls and problem in reply.invalid[0].problem


def test_plain_words_are_no_call():
    assert Toolbox.of([ADD]).read("It is 3 {roughly}.").text == "It is 3 {roughly}."


def test_choices_are_read_as_openai_has_them():
    two = [ADD, {"type": "function", "function": {"name": "sub"}}]
    assert Toolbox.of(two, "none") is None and Toolbox.of([], "any") is None
    assert Toolbox.of(two, "auto").forced == () and Toolbox.of(two, "any").forced == ("add", "sub")
    assert Toolbox.of(two, {"type": "function", "function": {"name": "sub"}}).forced == ("sub",)
    with pytest.raises(ValueError, match="the tools are add, sub"):
        Toolbox.of(two, "mul")


def test_arguments_are_checked_against_their_schema():
    schema = ADD["function"]["parameters"]
    assert problems(schema, {"a": 1, "b": 2}) == ""
    assert problems(schema, {"a": True}) == "missing: b; of another type: a"
    assert problems(schema, {"a": 1, "b": 2, "c": 3}) == "of another type: c"


# ---------------------------------------------------------------- forced calls

PET = {
    "type": "function",
    "function": {
        "name": "Pet",
        "parameters": {
            "properties": {
                "name": {"type": "string"},
                "age": {"type": "integer"},
                "tame": {"type": "boolean"},
                "colour": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["name", "age", "tame"],
        },
    },
}
PING = {"type": "function", "function": {"name": "ping", "parameters": {}}}


def forced(backend, *tools, choice="any"):
    turns = [{"role": "user", "content": "Go."}]
    return Toolbox.of(tools, choice).force(backend, turns, adapter=None, config=GenerationConfig())


def test_arguments_that_do_not_fit_are_asked_for_one_by_one(spoken):
    backend = spoken("no json at all", 'Rex" or so', "about 3 years")
    [call] = forced(backend, PET).calls
    assert call.arguments == {"name": 'Rex" or so', "age": 3, "tame": True}
    assert backend.prompts[-1][-1]["content"] == (
        '<tool_call>{"name": "Pet", "arguments": {"name": "Rex\\" or so", "age":'
    )


def test_a_number_that_begins_with_zeros_is_a_number(spoken):
    [call] = forced(spoken("no json at all", 'Rex" or so', "007, I think"), PET).calls
    assert call.arguments["age"] == 7


def test_arguments_that_fit_are_taken_as_they_are(spoken):
    [call] = forced(spoken('"name": "Rex", "age": 3, "tame": false, "colour": "red"}}'), PET).calls
    assert call.arguments == {"name": "Rex", "age": 3, "tame": False, "colour": "red"}


def test_the_likeliest_of_several_forced_tools_is_called(spoken):
    [call] = forced(spoken('"a": 1, "b": 2}}'), PING, ADD).calls
    assert (call.name, call.arguments) == ("add", {"a": 1, "b": 2})


def test_a_tool_without_arguments_needs_no_words(spoken):
    [call] = forced(spoken(), PING, choice="ping").calls
    assert (call.name, call.arguments) == ("ping", {})


def test_a_slot_that_stays_empty_makes_the_call_invalid(spoken):
    reply = forced(spoken("nothing", "none", "none"), ADD)
    assert not reply.calls and "missing: a, b" in reply.invalid[0].problem


def test_calls_and_results_are_written_as_they_are_read():
    written = written_call("add", {"a": 1, "b": 2})
    assert Toolbox.of([ADD]).read(written).calls[0].arguments == {"a": 1, "b": 2}
    assert written_result("3", failed=True) == '<tool_response status="error">3</tool_response>'
