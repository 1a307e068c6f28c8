import pytest

from parametric_memory.conversation.follow_up import is_follow_up, standalone_question

#: Turns, the user's first and then in turn; the last one asked; and what it means.
DIALOGUES = [
    # pronouns: people
    (["Who is the keeper of Hall 4B?", "Bastian Orme."], "Where does he live?", "Where does Bastian Orme live?"),
    (["When was Ada Lovelace born?", "1815."], "Where did she die?", "Where did Ada Lovelace die?"),
    (["Who is the captain of the Tern?", "Mara Lindqvist"], "What is her cabin?", "What is Mara Lindqvist's cabin?"),
    (["Who is the captain of the Tern?", "Mara Lindqvist"], "Who hired her?", "Who hired Mara Lindqvist?"),
    (["Where was Jonas Vekk born?", "In Skarvik."], "And when did he leave?", "When did Jonas Vekk leave?"),
    (["Who was it?", "It was Mara."], "When did she arrive?", "When did Mara arrive?"),
    # pronouns: things
    (["When was the MV Tern launched?", "In 2019."], "Who is its captain?", "Who is the MV Tern's captain?"),
    (["When was the lighthouse built?", "1887"], "How high is it?", "How high is the lighthouse?"),
    (["Who built the lighthouse?", "Jonas Vekk"], "Where is it?", "Where is the lighthouse?"),
    (["Which ship lies in Skarvik?", "The MV Tern."], "When was it launched?", "When was the MV Tern launched?"),
    (["What opens the red door?", "A brass key."], "Who keeps it?", "Who keeps a brass key?"),
    (["What is the warranty of the old pump?", "Two years"], "And its weight?", "What is the old pump's weight?"),
    (["Who is the keeper of Hall 4B?", "Bastian Orme"], "His age?", "What is Bastian Orme's age?"),
    # pronouns: many, there, then
    (["Who keeps the looms?", "Ada and Bo"], "Where do they live?", "Where do Ada and Bo live?"),
    (["When do the ferries leave?", "At 6:40."], "Where do they go?", "Where do the ferries go?"),
    (["Where was Ada born?", "Skarvik"], "How many people live there?", "How many people live in Skarvik?"),
    (["What is sold in Orrin?", "Crab soup"], "Who lives there?", "Who lives in Orrin?"),
    (["When did the ferry open?", "1990"], "Who was mayor then?", "Who was mayor in 1990?"),
    # what about
    (["Who is the keeper of Hall 4B?", "Bastian"], "What about Hall 48?", "Who is the keeper of Hall 48?"),
    (["Who is the keeper of Hall 4B?", "Bastian"], "And Hall 48?", "Who is the keeper of Hall 48?"),
    (["When was Ada born?", "1815"], "How about Bob Orme?", "When was Bob Orme born?"),
    (["When does the ferry to Orrin leave?", "6:40"], "And the ferry to Skarvik?",
     "When does the ferry to Skarvik leave?"),
    (["How long is the old bridge?", "40 m"], "What about the new bridge?", "How long is the new bridge?"),
    (["What is the capital of France?", "Paris."], "And of Spain?", "What is the capital of Spain?"),
    (["What is the capital of France?", "Paris."], "How many people live in it?", "How many people live in Paris?"),
    # times and places
    (["Who was mayor of Skarvik in 1985?", "Ida Berg"], "And in 1990?", "Who was mayor of Skarvik in 1990?"),
    (["Who was mayor of Skarvik in 1985?", "Ida Berg"], "What about 1990?", "Who was mayor of Skarvik in 1990?"),
    (["When does the library open?", "At nine."], "And on Sunday?", "When does the library open on Sunday?"),
    (["When does the library open?", "At nine."], "In summer?", "When does the library open in summer?"),
    (["How many shops are in Orrin?", "Twelve"], "And in Skarvik?", "How many shops are in Skarvik?"),
    # what no rule rewrites stands behind what it leans on
    (["Who launched the Tern?", "Mara"], "And when was that?", "Who launched the Tern? Mara. When was that?"),
    (["Who launched the Tern?", "Mara"], "Why?", "Who launched the Tern? Mara. Why?"),
    (["Who launched the Tern?", "I don't know."], "Since when?", "Who launched the Tern? Since when?"),
    (["How does the pump start?", "Press the green button"], "What does that do?",
     "How does the pump start? Press the green button. What does that do?"),
    # over several turns
    (["Who is the keeper of Hall 4B?", "Bastian Orme", "Where does he live?", "Skarvik"], "When was he born?",
     "When was Bastian Orme born?"),
    (["When was the Tern launched?", "2019", "Who is its captain?", "Mara Lindqvist"], "Where was she born?",
     "Where was Mara Lindqvist born?"),
    (["Who is the keeper of Hall 4B?", "Bastian", "And Hall 48?", "Joanna"], "And Hall 50?",
     "Who is the keeper of Hall 50?"),
    # what is said of the last answer asks nothing
    (["Who leads the Berlin office?", "Ada Byron"], "Thanks a lot! Where does she live?", "Where does Ada Byron live?"),
    (["When was Hall 48 built?", "1990"], "Great, and who built it?", "Who built Hall 48?"),
    (["When was Hall 48 built?", "1990"], "Great! What about Hall 49?", "When was Hall 49 built?"),
    (["When was Hall 48 built?", "1990"], "Please tell me when it opens.", "Tell me when Hall 48 opens."),
    # an opening that leans on nothing else
    (["Who launched the Tern?", "Mara"], "And who owns the red lamp of Hall 48?", "Who owns the red lamp of Hall 48?"),
]  # fmt: skip

STANDALONE = [
    "Who is the keeper of Hall 48?",
    "Thanks!",
    "When did Ada leave her home?",
    "Does the ferry carry its own boats?",
    "What time is it?",
    "Is there a library in Skarvik?",
    "Which ship did the captain say that he sold?",
    "What is the price of that red lamp?",
    "Are there rooms in which Ada keeps her looms?",
    "Isn't parking free?",
    "Am I insured?",
    "Thank you very much, bye",
    "Great Britain's capital?",
]


def talk(*texts):
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


@pytest.mark.parametrize(("turns", "question", "meant"), DIALOGUES, ids=lambda value: str(value)[-40:])
def test_a_follow_up_is_asked_in_full(turns, question, meant):
    assert standalone_question(question, talk(*turns)) == meant


@pytest.mark.parametrize("question", STANDALONE)
def test_a_question_that_stands_alone_stays_as_it_is(question):
    assert not is_follow_up(question)
    assert standalone_question(question, talk("Who built the lighthouse?", "Jonas Vekk")) == question


@pytest.mark.parametrize("question", ["And when was that?", "Where does she live?", "Why?", "What about Hall 48?"])
def test_without_anything_before_it_a_follow_up_stays_as_it_is(question):
    assert standalone_question(question, []) == question
    told = [{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Hello."}]
    assert standalone_question(question, told) == question


def test_a_long_answer_is_not_put_before_a_question():
    history = talk("How does the pump start?", "It starts " + "when the green button is pressed " * 5)
    assert standalone_question("Why?", history) == "How does the pump start? Why?"


def test_turns_of_a_system_or_a_tool_are_passed_over():
    history = [*talk("Who is the keeper of Hall 4B?"), {"role": "tool", "content": "…"}, *talk("", "Bastian Orme")[1:]]
    assert standalone_question("Where does he live?", history) == "Where does Bastian Orme live?"


@pytest.mark.parametrize(
    "question",
    [
        "Phone number of reception?",
        "Wo liegt München?",
        "停车免费吗？",
        "So I was told to ask the manager: what is the Wi-Fi password?",
    ],
)
def test_what_the_rules_do_not_know_stays_as_it_is(question):
    assert standalone_question(question, talk("Wer leads the Berlin office?", "Ada Byron")) == question
