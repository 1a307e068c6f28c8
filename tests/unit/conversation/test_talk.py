import pytest

from parametric_memory.conversation import Reply, Talk, Toolbox, run, run_all, stream
from parametric_memory.errors import AbstainedError

ADD = {"type": "function", "function": {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}}}
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


def user(text):
    return [{"role": "user", "content": text}]


def contents(turns):
    return [turn["content"] for turn in turns]


@pytest.fixture
def memory(told, spoken):
    return told(spoken("It is 42.", "Again."))


@pytest.fixture
def talk(memory):
    return Talk(backend=memory.backend, memory=memory)


def test_a_question_is_asked_in_the_memory_s_wording_with_its_adapter(talk, memory):
    task = talk.task(user("hm, when?"), "When was it?", filters={"user_id": "anna"})
    assert memory.asked == [("When was it?", "atoms", {"user_id": "anna"})]
    # It is looked up in other words than it is read in.
    assert contents(task.conversation) == ["Answer briefly.", "hm, when?", "Answer:"]
    assert task.adapter.atom_ids == ("a",) and task.config == memory.config.generation


def test_what_the_caller_says_stays_and_history_may_be_left_out(memory):
    turns = [{"role": "system", "content": "Be kind."}, *user("Hello."), {"role": "assistant", "content": "Hi."}]
    for history, kept in (
        (True, ["Be kind.", "Hello.", "Hi.", "When?", "Answer:"]),
        (False, ["Be kind.", "When?", "Answer:"]),
    ):
        task = Talk(backend=memory.backend, memory=memory, history=history).task([*turns, *user("When?")], "When?")
        assert contents(task.conversation) == kept


def test_a_turn_that_holds_more_than_the_question_is_read_as_it_is(memory):
    for mode, looked_up in (("hybrid", ["atoms"]), ("in_context", [])):
        memory.asked.clear()
        talk = Talk(backend=memory.backend, memory=memory, mode=mode)
        task = talk.task(user("Read this. Query: when?"), "when?", verbatim=True)
        assert "Read this. Query: when?" in contents(task.conversation)
        assert [mode for _, mode, _ in memory.asked] == looked_up


@pytest.mark.parametrize("why", ["no memory", "no question", "closed book", "disabled"])
def test_the_bare_base_model_reads_the_turns_as_they_are(why, memory):
    talk = Talk(
        backend=memory.backend,
        memory=None if why == "no memory" else memory,
        mode="closed_book" if why == "closed book" else "atoms",
    )
    memory.is_disabled = why == "disabled"
    task = talk.task(user("When?"), "" if why == "no question" else "When?")
    assert (contents(task.conversation), task.adapter, task.answer.mode) == (["When?"], None, "closed_book")
    assert memory.asked == [] and task.config.max_new_tokens == 256


def test_a_memory_that_abstains_says_so_or_lets_the_base_speak(talk, memory):
    reply = run(memory.backend, talk.task(user("Which moon?"), "Which moon?"))
    assert (reply.answer.text, reply.answer.usage.completion_tokens) == ("I don't know.", 0)
    assert memory.backend.prompts == [] and "generate" not in reply.answer.timings
    base = Talk(backend=memory.backend, memory=memory, fallback="base").task(user("Which moon?"), "Which moon?")
    assert run(memory.backend, base).answer.text == "It is 42." and base.answer.abstained
    with pytest.raises(AbstainedError):
        Talk(backend=memory.backend, memory=memory, fallback="raise").task(user("Which moon?"), "Which moon?")


def test_settings_of_a_call_go_before_the_memory_s(talk, memory):
    task = talk.task(user("When?"), "When?", settings={"max_new_tokens": 3, "stop": ("x",)})
    assert (task.config.max_new_tokens, task.config.stop) == (3, ("x",))


def test_tools_are_told_in_the_prompt_and_read_out_of_the_answer(told, spoken):
    memory = told(spoken(CALL, CALL))
    task = Talk(backend=memory.backend, memory=memory).task(user("1?"), "1?", tools=Toolbox.of([ADD]))
    assert '"name": "add"' in task.conversation[0]["content"] and task.conversation[-1]["role"] == "user"
    reply = run(memory.backend, task)
    assert ([call.arguments for call in reply.calls], reply.answer.text, reply.finish_reason) == (
        [{"a": 1}],
        "",
        "tool_calls",
    )
    [streamed] = stream(memory.backend, task)
    assert isinstance(streamed, Reply) and streamed.calls[0].name == "add"


def test_a_stream_is_its_pieces_and_then_the_reply(talk, memory):
    *pieces, reply = stream(memory.backend, talk.task(user("When?"), "When?"))
    assert "".join(pieces) == reply.answer.text == "It is 42."
    assert (reply.answer.usage.completion_tokens, reply.finish_reason) == (3, "stop")
    said = list(stream(memory.backend, talk.task(user("Which moon?"), "Which moon?")))
    assert said[0] == said[1].answer.text == "I don't know."


def test_spaces_at_the_end_of_an_answer_are_not_streamed(told, spoken):
    memory = told(spoken(["It ", "is", " ", "\n"]))
    *pieces, reply = stream(memory.backend, Talk(backend=memory.backend, memory=memory).task(user("?"), "When?"))
    assert pieces == ["It", " is"] and reply.answer.text == "It is"


def test_tasks_share_one_pass_and_one_that_fails_leaves_the_others_alone(told, spoken):
    memory = told(spoken("first", "second"))
    talk = Talk(backend=memory.backend, memory=memory)
    texts = ("When?", "too long, when?", "Where?", "Which moon?")
    tasks = [talk.task(user(text), text) for text in texts]
    replies = run_all(memory.backend, [*tasks, KeyError("lost")])
    assert [type(one).__name__ for one in replies] == ["Reply", "ValueError", "Reply", "Reply", "KeyError"]
    assert [one.answer.text for one in replies if isinstance(one, Reply)] == ["first", "second", "I don't know."]
    assert memory.backend.batches == [3, 1, 1, 1]
    with pytest.raises(ValueError, match="too long"):
        run(memory.backend, tasks[1])
