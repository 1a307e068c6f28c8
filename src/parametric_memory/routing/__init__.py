"""Finding atoms: a key encoder places them in a space, a router decides which candidates answer a question."""

from parametric_memory.routing.calibration import Calibration
from parametric_memory.routing.evidence import Evidence, weigh
from parametric_memory.routing.fusion import SimilarityRouter
from parametric_memory.routing.key_encoders import SentenceTransformerEncoder
from parametric_memory.routing.reranking import RerankingRouter, RerankingWeights

__all__ = [
    "Calibration",
    "Evidence",
    "RerankingRouter",
    "RerankingWeights",
    "SentenceTransformerEncoder",
    "SimilarityRouter",
    "weigh",
]
