"""Probes by their names, from a folder of questions to a folder of findings.

The folder gets ``<name>.json`` for each probe and ``probes.md``, a page of all that is there, with ``niah.svg`` where
needles were asked for. A probe whose file was made with the same settings and the same data is not run again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from parametric_memory.errors import ConfigError, MissingDependencyError
from parametric_memory.evaluation.probes.counterfactual import counterfactual
from parametric_memory.evaluation.probes.disagreement import disagreement
from parametric_memory.evaluation.probes.findings import Findings, render, write_findings
from parametric_memory.evaluation.probes.length import length
from parametric_memory.evaluation.probes.niah import niah
from parametric_memory.evaluation.probes.off_topic import off_topic
from parametric_memory.evaluation.probes.paraphrase import paraphrase
from parametric_memory.evaluation.probes.stored import stored
from parametric_memory.evaluation.probes.two_hop import two_hop
from parametric_memory.evaluation.probes.world import Progress, World
from parametric_memory.evaluation.signatures import dependencies, parts_of, signature
from parametric_memory.evaluation.systems import CHUNKED, SYSTEMS
from parametric_memory.memory import ParametricMemory

logger = logging.getLogger(__name__)


class Probe(Protocol):
    """Asks something of the memory that a score over a set does not show."""

    def __call__(self, world: World) -> Findings:
        """Return what was found."""
        ...


#: Every probe by its name.
PROBES: Mapping[str, Probe] = {
    "off_topic": off_topic,
    "counterfactual": counterfactual,
    "length": length,
    "stored": stored,
    "two_hop": two_hop,
    "paraphrase": paraphrase,
    "disagreement": disagreement,
    "niah": niah,
}
#: They make up what they ask about.
WITHOUT_DATA = ("niah",)


def run_probes(
    names: Sequence[str],
    data: Path | str | None = None,
    *,
    out: Path | str,
    limit: int = 50,
    seed: int = 0,
    lengths: Sequence[int] = (128, 512, 2048, 8192),
    stored: Sequence[int] = (100, 1000, 10_000),
    open_memory: Callable[[Path], ParametricMemory] | None = None,
    progress: Progress = lambda _task, _done, _total: None,
) -> dict[str, Any]:
    """Run probes one after the other, each written as soon as it is done.

    Args:
        names: Of `PROBES`; all of them, if there are none.
        data: Folder of files of questions; some probes need none.
        out: Folder for the findings; made if it is not there.
        limit: Questions of each sample.
        seed: Of the samples.
        lengths: Tokens that documents are padded to (`length`), and of haystacks (`niah`).
        stored: Atoms that memories hold (`stored`).
        open_memory: Opens an empty memory at a path; by default the built-in one.
        progress: Called as the work goes on.

    Returns:
        What the probes' files hold, by name.

    Raises:
        ConfigError: If a setting makes no sense, naming all that do not, or a probe finds no questions.
    """
    names, data, out = list(names) or list(PROBES), Path(data) if data else None, Path(out)
    _check(names, data, limit, [*lengths, *stored])
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    with TemporaryDirectory(prefix="pmem-probe-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        opened = open_memory or (lambda path: ParametricMemory.from_pretrained(path=path))
        with opened(root / "parts") as parts:
            world = World(parts, data, root / "memories", limit, seed, tuple(lengths), tuple(stored), progress, out)
            settings = _settings(world)
            for name in names:
                results[name] = _run(name, world, out / f"{name}.json", settings)
                write_page(out)
    return results


def write_page(out: Path) -> None:
    """Write ``probes.md`` from the probes' files that are there."""
    files = [out / f"{name}.json" for name in PROBES]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in files if path.exists()]
    pictures = {one["probe"]: _picture(one, out) for one in found}
    (out / "probes.md").write_text(render(found, pictures=pictures), encoding="utf-8")


def _picture(found: Mapping[str, Any], out: Path) -> str:
    """Return the name of a probe's picture, drawn now; empty if it has none, or nothing to draw with is installed."""
    if found["probe"] != "niah":
        return ""
    # Not above: pages of the report show probes.
    from parametric_memory.evaluation.report.curves import maps_of
    from parametric_memory.evaluation.report.plots import depth_maps

    try:
        return depth_maps(maps_of(found["rows"]), out / "niah.svg").name
    except MissingDependencyError as error:
        logger.info("probing: %s", error)
        return ""


def _check(names: Sequence[str], data: Path | None, limit: int, sizes: Sequence[int]) -> None:
    known = ", ".join(PROBES)
    problems = [f"unknown probe {name!r}; known are {known}" for name in names if name not in PROBES]
    problems += [f"probe {name!r} is named twice" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [f"a length or a number of stored atoms is {size}, expected 1 or more" for size in sizes if size < 1]
    if limit < 1:
        problems.append(f"limit is {limit}, expected 1 or more")
    if needy := [name for name in names if name not in WITHOUT_DATA]:
        if data is None:
            problems.append(f"{', '.join(needy)} need a folder of files of questions (--data)")
        elif not data.is_dir():
            problems.append(f"{data} is no folder of files of questions")
    if problems:
        raise ConfigError("the probes cannot start:", problems=problems)


def _run(name: str, world: World, path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if known.get("settings") == settings:
            logger.info("probing: %s was made with these settings; remove it to run the probe again", path)
            return known
    found = PROBES[name](replace(world, folder=world.folder / name))
    logger.info("probed %s", name)
    return write_findings(path, name, found, settings)


def _settings(world: World) -> dict[str, Any]:
    """Return all that the findings depend on, as it reads back from JSON."""
    memory = world.parts
    # All of them, whichever a probe asks; of chunks none can be asked without a document compiler.
    asked = [system for system in SYSTEMS if memory.config.document_checkpoint or system not in CHUNKED]
    settings = parts_of(memory) | {
        "systems": signature({system: dependencies(system, memory) for system in asked}),
        "limit": world.limit,
        "seed": world.seed,
        "lengths": world.lengths,
        "stored": world.stored,
        "config": asdict(memory.config),
        "data": {name: _digest(path) for name, path in world.files().items()},
    }
    read: dict[str, Any] = json.loads(json.dumps(settings))
    return read


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
