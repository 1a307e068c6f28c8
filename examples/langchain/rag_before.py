"""A RAG app as most are: pieces in Chroma, a retriever, a prompt with their text, a model.

    python examples/langchain/rag_before.py "What does a staff lunch cost at Café Fathom?"

The same app on a parametric memory: rag_after.py, in which three lines differ.
"""

import sys

import models
from langchain_chroma import Chroma
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

question = sys.argv[1] if len(sys.argv) > 1 else "What does a staff lunch cost at Café Fathom?"
prompt = ChatPromptTemplate.from_template("Answer briefly.\n\n{context}\n\nQuestion: {question}")


def joined(documents):
    """Return the texts of documents as one."""
    return "\n\n".join(document.page_content for document in documents)


store = Chroma.from_documents(models.load_pieces(), models.load_embeddings())
inputs = {"context": store.as_retriever(search_kwargs={"k": 3}) | joined, "question": RunnablePassthrough()}
chain = inputs | prompt | models.load_chat_model() | StrOutputParser()

print(chain.invoke(question))
