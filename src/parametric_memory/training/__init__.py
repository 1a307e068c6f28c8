"""Training: question answering files in; a hypernetwork checkpoint, or a reader to compare with, out."""

from parametric_memory.training.loop import TrainingConfig
from parametric_memory.training.reader import train_reader
from parametric_memory.training.reader_loop import ReaderConfig
from parametric_memory.training.recipe import train_hypernetwork

__all__ = ["ReaderConfig", "TrainingConfig", "train_hypernetwork", "train_reader"]
