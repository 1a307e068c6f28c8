"""The first half of adding: read → split → extract. Files come in, atoms with exact citations go out."""

from parametric_memory.ingest.extraction import extract_document, number
from parametric_memory.ingest.extractors.passages import PassageExtractor
from parametric_memory.ingest.extractors.rules import RuleExtractor
from parametric_memory.ingest.passages import split
from parametric_memory.ingest.readers import ReadResult, find_files, read_folder, read_path
from parametric_memory.ingest.sentences import sentences

__all__ = [
    "PassageExtractor",
    "ReadResult",
    "RuleExtractor",
    "extract_document",
    "find_files",
    "number",
    "read_folder",
    "read_path",
    "sentences",
    "split",
]
