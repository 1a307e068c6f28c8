"""The RAG app of rag_before.py on a parametric memory: three lines differ, the prompt holds no text of the documents.

    python examples/langchain/rag_after.py "What does a staff lunch cost at Café Fathom?"

What the new chain no longer needs (the prompt, the retriever) is left in, so that the two can be compared.
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


store = ParametricMemoryVectorStore.from_documents(models.load_pieces(), None, path="./memory")
inputs = {"context": store.as_retriever(search_kwargs={"k": 3}) | joined, "question": RunnablePassthrough()}
chain = ChatParametricMemory(memory=store.memory) | StrOutputParser()

print(chain.invoke(question))
