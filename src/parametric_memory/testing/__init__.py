"""For authors of replaceable parts: doubles that need no download, and conformance suites.

The suites live in their own modules (``parametric_memory.testing.key_index``), which import pytest.
"""

from parametric_memory.testing.doubles import HashingKeyEncoder, TinyBackend, tiny_model

__all__ = ["HashingKeyEncoder", "TinyBackend", "tiny_model"]
