"""Atoms as nodes: what retrievers, citations and evaluators of LlamaIndex take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import NodeRelationship, NodeWithScore, ObjectType, RelatedNodeInfo, TextNode

from parametric_memory.types import Answer

#: Metadata that the vector store keeps beside a node's own: its id, the id of its document and its place in it, and,
#: with the document alone, the node itself as JSON.
ID, REF, START, NODE = "li_id", "li_ref", "li_start", "li_node"
PRIVATE = frozenset({ID, REF, START, NODE})
#: What an atom's node says of itself in its metadata; nothing of it belongs into a prompt.
_FACTS = ("source", "span", "kind", "document_id")


def atom_node(record: Mapping[str, Any], score: float | None) -> NodeWithScore:
    """Return an atom's record, as the memory's verbs give it, as a node.

    Its text is the statement, which stands by itself, title and headings resolved in. ``start_char_idx`` and
    ``end_char_idx`` are the characters of the document that it was read from, its source the document, and its parent
    the node of the vector store that holds it, if one does.

    Args:
        record: With ``metadata``, ``span`` and so on.
        score: Probability that it answers what was asked.
    """
    own = {key: value for key, value in record["metadata"].items() if key not in PRIVATE}
    kept = record["metadata"]
    start = int(kept.get(START, 0))
    node = TextNode(
        id_=record["id"],
        text=record["memory"],
        metadata=own | {key: record[key] for key in _FACTS},
        start_char_idx=start + record["span"][0],
        end_char_idx=start + record["span"][1],
        excluded_llm_metadata_keys=[*own, *_FACTS],
        excluded_embed_metadata_keys=[*own, *_FACTS],
    )
    source = kept.get(REF, record["document_id"])
    node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(
        node_id=str(source), node_type=ObjectType.DOCUMENT, metadata=own | {"source": record["source"]}
    )
    if ID in kept:
        node.relationships[NodeRelationship.PARENT] = RelatedNodeInfo(node_id=str(kept[ID]), node_type=ObjectType.TEXT)
    return NodeWithScore(node=node, score=score)


def cited_nodes(answer: Answer) -> list[NodeWithScore]:
    """Return the atoms that an answer stands on, best first, each with its share of the answer."""
    return [
        atom_node(routed.atom.record(), probability(routed.score) if routed.share is None else routed.share)
        for routed in answer.route.selected
    ]


def probability(log_odds: float) -> float:
    """Return the probability of log-odds: LlamaIndex's cut-offs are between 0 and 1."""
    return 1.0 / (1.0 + math.exp(-max(-700.0, log_odds)))
