"""Extractors: passages in, typed atoms out; each is a `parametric_memory.protocols.Extractor`."""

from parametric_memory.ingest.extractors.passages import PassageExtractor
from parametric_memory.ingest.extractors.rules import RuleExtractor

__all__ = ["PassageExtractor", "RuleExtractor"]
