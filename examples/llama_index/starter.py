"""An engine that answers from weights: added in one line, asked in the next, with sources, streamed; and the LLM alone.

    python examples/llama_index/starter.py

The memory stays in ./memory: run it twice, and nothing is compiled again.
"""

from llama_index.core import Document
from llama_index.memory.parametric import ParametricMemoryLLM, ParametricQueryEngine

from parametric_memory import ParametricMemory

TEXT = "The ferry Tern was launched in the harbour of Skarvik in 2019. Every winter Mara Lindqvist repairs it."

with ParametricMemory.from_pretrained(path="./memory") as memory:
    memory.add([Document(text=TEXT, metadata={"source": "ferries.md"})])

    response = ParametricQueryEngine(memory).query("Where was the ferry Tern launched?")
    print(response)
    for source in response.source_nodes:
        print(f"  stands on: {source.node.text} ({source.node.metadata['source']}, {source.score:.2f})")
    read, spent = response.metadata["usage"]["prompt_tokens"], response.metadata["knowledge_tokens"]
    print(f"  {read} tokens read, {spent} of them from the documents")

    for piece in ParametricQueryEngine(memory, streaming=True).query("Who repairs the ferry Tern?").response_gen:
        print(piece, end="", flush=True)
    print()

    llm = ParametricMemoryLLM(memory, fallback="unknown")
    for question in ("When was the ferry Tern launched?", "How many moons does Jupiter have?"):
        print(question, "->", llm.complete(question).text)
