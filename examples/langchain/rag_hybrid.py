"""The RAG app of rag_before.py, its prompt and all, with a model that has the documents in its weights as well.

    python examples/langchain/rag_hybrid.py "What does a staff lunch cost at Café Fathom?"

The model is told where in the prompt the question is: else it would look up the whole prompt.
"""

import sys

import models
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_parametric_memory import ChatParametricMemory, ParametricMemoryVectorStore

question = sys.argv[1] if len(sys.argv) > 1 else "What does a staff lunch cost at Café Fathom?"
prompt = ChatPromptTemplate.from_template("Answer briefly.\n\n{context}\n\nQuestion: {question}")


def joined(documents):
    """Return the texts of documents as one."""
    return "\n\n".join(document.page_content for document in documents)


def asked(messages):
    """Return the question at the end of the prompt."""
    return messages[-1].text.rpartition("Question: ")[2]


store = ParametricMemoryVectorStore.from_documents(models.load_pieces(), None, path="./memory")
inputs = {"context": store.as_retriever(search_kwargs={"k": 3}) | joined, "question": RunnablePassthrough()}
chain = inputs | prompt | ChatParametricMemory(memory=store.memory, mode="hybrid", question=asked) | StrOutputParser()

print(chain.invoke(question))
