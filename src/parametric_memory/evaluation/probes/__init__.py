"""Probes: what a score over a set does not show. Harm, conflict, length, growth, hops, wordings, disagreement."""

from parametric_memory.evaluation.probes.controls import CONTROLS, foreign_document, shuffled_atoms
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.running import PROBES, Probe, run_probes
from parametric_memory.evaluation.probes.world import World

__all__ = ["CONTROLS", "PROBES", "Findings", "Probe", "World", "foreign_document", "run_probes", "shuffled_atoms"]
