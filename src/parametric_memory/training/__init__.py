"""Training: question answering files in, a hypernetwork checkpoint out."""

from parametric_memory.training.loop import TrainingConfig
from parametric_memory.training.recipe import train_hypernetwork

__all__ = ["TrainingConfig", "train_hypernetwork"]
