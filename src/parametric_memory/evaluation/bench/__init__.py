"""What a memory costs: time by stage, bytes, memory, growth, threads, starts; a memory in, figures and a page out."""

from parametric_memory.evaluation.bench.memories import Opener, Pretrained, RandomWeights
from parametric_memory.evaluation.bench.runner import PARTS, SIZES, BenchConfig, bench

__all__ = ["PARTS", "SIZES", "BenchConfig", "Opener", "Pretrained", "RandomWeights", "bench"]
