from parametric_memory.conversation import last_question, written_call
from parametric_memory.conversation.turns import joined


def turns(*texts):
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def test_what_a_follow_up_leans_on_is_put_into_it():
    talk = turns("Hello there, friend.", "Hi.", "Who repairs the ferry?", "Mara", "Where does she live?")
    assert last_question(talk) == "Where does Mara live?"
    whole = "When was the Tern launched?"
    assert last_question(turns("Who repairs it?", "Mara", whole)) == last_question(turns(whole)) == whole


def test_a_call_of_a_tool_is_no_answer():
    talk = turns("Who repairs the ferry?", written_call("find", {"what": "Bo"}), "Where does she live?")
    assert "find" not in last_question(talk) and "ferry" in last_question(talk)


def test_a_rule_of_ones_own_sees_the_turns_before():
    seen = []
    talk = turns("Who repairs the ferry?", "Mara", "Where does she live?")
    assert last_question(talk, resolve=lambda asked, history: seen.append(history) or asked.upper()) == (
        "WHERE DOES SHE LIVE?"
    )
    assert seen == [talk[:2]]


def test_nobody_has_asked_anything_in_an_empty_conversation():
    assert last_question([]) == last_question([{"role": "system", "content": "Be kind."}]) == ""


def test_turns_are_joined_as_chat_templates_take_them():
    talk = [
        {"role": "user", "content": "20 + 22?"},
        {"role": "system", "content": "Be kind."},
        {"role": "assistant", "content": "<call>"},
        {"role": "tool", "content": "42"},
        {"role": "user", "content": "Well?"},
    ]
    assert joined(talk, asked="What is 20 + 22?", instructions="Call add.") == [
        {"role": "system", "content": "Be kind.\n\nCall add."},
        {"role": "user", "content": "20 + 22?"},
        {"role": "assistant", "content": "<call>"},
        {"role": "user", "content": "42\nWhat is 20 + 22?"},
    ]
    assert joined(talk, history=False)[1:] == [{"role": "user", "content": "Well?"}]
