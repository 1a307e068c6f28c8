"""A chat model with a memory: added in one line, asked in the next, with citations, streamed and in a batch.

    python examples/langchain/quickstart.py

The memory stays in ./memory: run it twice, and nothing is compiled again.
"""

from langchain_parametric_memory import ChatParametricMemory

from parametric_memory import ParametricMemory

with ParametricMemory.from_pretrained(path="./memory") as memory:
    memory.add("The ferry Tern was launched in the harbour of Skarvik in 2019. Every winter Mara Lindqvist repairs it.")
    llm = ChatParametricMemory(memory=memory)

    message = llm.invoke("Where was the ferry Tern launched?")
    print(message.text)
    for citation in message.response_metadata["citations"]:
        print("  stands on:", citation["text"])
    spent = message.response_metadata["knowledge_tokens"]
    print(f"  {message.usage_metadata['input_tokens']} tokens read, {spent} of them from the documents")

    for chunk in llm.stream("Who repairs the ferry Tern every winter?"):
        print(chunk.text, end="", flush=True)
    print()

    questions = ["When was the ferry Tern launched?", "How many moons does Jupiter have?"]
    for question, answer in zip(questions, llm.batch(questions), strict=True):
        print(question, "->", answer.text)
