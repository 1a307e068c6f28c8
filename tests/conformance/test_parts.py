"""The library's own parts, and its doubles, pass the suites that it gives to authors of others."""

from __future__ import annotations

import pytest
import torch

from parametric_memory.adapters import compose, spec_for
from parametric_memory.backends import HuggingFaceBackend, resolve_key_encoder
from parametric_memory.compilers import DocumentCompiler, HypernetworkCompiler
from parametric_memory.config import PromptConfig
from parametric_memory.hypernetwork.checkpoint import Checkpoint, load_checkpoint, shipped_checkpoint
from parametric_memory.hypernetwork.document import DocumentHypernetwork, document_config_for
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.ingest import PassageExtractor, RuleExtractor
from parametric_memory.routing import SentenceTransformerEncoder, SimilarityRouter
from parametric_memory.testing import HashingKeyEncoder, TinyBackend
from parametric_memory.testing.backend import BackendConformance
from parametric_memory.testing.compiler import FOUND, CompilerConformance, atoms
from parametric_memory.testing.extractor import ExtractorConformance
from parametric_memory.testing.key_encoder import KeyEncoderConformance
from parametric_memory.testing.router import RouterConformance


def untrained(backend):
    torch.manual_seed(0)
    network = AtomHypernetwork(config_for(backend.model, layers=2, width=16)).eval()
    spec = spec_for(backend.model, backend.base_model, last=2)
    checkpoint = Checkpoint(network, spec, PromptConfig(), digest="tiny")
    return HypernetworkCompiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)


@pytest.fixture(scope="module")
def tiny():
    return TinyBackend(layers=4)


@pytest.fixture(scope="module")
def real():
    return HuggingFaceBackend.from_pretrained()


@pytest.fixture(scope="module")
def shipped(real):
    checkpoint = load_checkpoint(shipped_checkpoint(real.fingerprint))
    return HypernetworkCompiler(real.model, real.tokenizer, checkpoint, fingerprint=real.fingerprint)


@pytest.fixture(scope="module")
def minilm():
    return SentenceTransformerEncoder(resolve_key_encoder("all-minilm-l6-v2"), name="all-minilm-l6-v2")


class TestRuleExtractor(ExtractorConformance):
    @pytest.fixture
    def extractor(self):
        return RuleExtractor()


class TestPassageExtractor(ExtractorConformance):
    @pytest.fixture
    def extractor(self):
        return PassageExtractor()


class TestHashingKeyEncoder(KeyEncoderConformance):
    @pytest.fixture
    def encoder(self):
        return HashingKeyEncoder()


@pytest.mark.model
class TestMiniLM(KeyEncoderConformance):
    @pytest.fixture
    def encoder(self, minilm):
        return minilm


class TestUntrainedDocumentCompiler(CompilerConformance):
    @pytest.fixture
    def compiler(self, tiny):
        torch.manual_seed(0)
        network = DocumentHypernetwork(document_config_for(tiny.model, layers=2, width=16, blocks=2)).eval()
        spec = spec_for(tiny.model, tiny.base_model, last=2)
        checkpoint = Checkpoint(network.requires_grad_(False), spec, PromptConfig(), digest="tiny")
        return DocumentCompiler(tiny.model, tiny.tokenizer, checkpoint, fingerprint=tiny.fingerprint)


class TestUntrainedHypernetworkCompiler(CompilerConformance):
    @pytest.fixture
    def compiler(self, tiny):
        return untrained(tiny)


@pytest.mark.model
class TestShippedHypernetworkCompiler(CompilerConformance):
    @pytest.fixture
    def compiler(self, shipped):
        return shipped


class TestSimilarityRouter(RouterConformance):
    @pytest.fixture
    def router(self):
        return SimilarityRouter()


class TestTinyBackend(BackendConformance):
    @pytest.fixture
    def backend(self, tiny):
        return tiny

    @pytest.fixture
    def adapter(self, tiny):
        compiler = untrained(tiny)
        return compose(compiler.materialise(compiler.compile(atoms())), weights=[20.0] * 3)


@pytest.mark.model
class TestHuggingFaceBackend(BackendConformance):
    @pytest.fixture
    def backend(self, real):
        return real

    @pytest.fixture
    def adapter(self, shipped):
        codes = shipped.compile(atoms())
        gates = shipped.gate("When does the library open?", codes, FOUND)
        return compose(shipped.materialise(codes), rank_gates=gates.ranks)
