"""Training: question answering files in; a hypernetwork, a token router, or a reader to compare with, out."""

from parametric_memory.training.curriculum import DOCUMENT_STAGES, STAGES, Stage, TrainingConfig, Weights
from parametric_memory.training.estimate import Estimate, estimate
from parametric_memory.training.reader import train_reader
from parametric_memory.training.reader_loop import ReaderConfig
from parametric_memory.training.recipe import prepare, train_hypernetwork
from parametric_memory.training.token_router import train_token_router
from parametric_memory.training.token_router_loop import TokenRouterConfig

__all__ = [
    "DOCUMENT_STAGES",
    "STAGES",
    "Estimate",
    "ReaderConfig",
    "Stage",
    "TokenRouterConfig",
    "TrainingConfig",
    "Weights",
    "estimate",
    "prepare",
    "train_hypernetwork",
    "train_reader",
    "train_token_router",
]
