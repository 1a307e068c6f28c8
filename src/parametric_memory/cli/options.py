"""The options that commands share, and what their `KEY=VALUE` arguments mean."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from parametric_memory.types import SCOPE_KEYS, Scalar

Filters: TypeAlias = dict[str, Scalar | list[Scalar]]

Folder = Annotated[Path, typer.Option("--memory", "-m", envvar="PMEM_MEMORY", help="Folder of the memory.")]
Base = Annotated[
    str | None,
    typer.Option(
        envvar="PMEM_BASE",
        metavar="NAME",
        help="Base model: a folder, a hub id or the built-in one.",
        show_default=False,
    ),
]
CheckpointFolder = Annotated[
    Path | None,
    typer.Option("--checkpoint", envvar="PMEM_CHECKPOINT", metavar="DIR", help="Folder of a trained hypernetwork."),
]
DocumentCheckpoint = Annotated[
    Path | None,
    typer.Option(
        "--document-checkpoint",
        envvar="PMEM_DOCUMENT_CHECKPOINT",
        metavar="DIR",
        help="Folder of a trained document compiler, to compare with.",
    ),
]
CompilerName = Annotated[
    Literal["hypernetwork", "distillation", "document"] | None,
    typer.Option(
        "--compiler",
        envvar="PMEM_COMPILER",
        help="How text becomes weights: one pass of a trained network, sentence by sentence (hypernetwork) or chunk by "
        "chunk (document), or seconds of gradient steps each on any base model (distillation). By default what the "
        "memory was made with; the hypernetwork for a new one.",
        show_default=False,
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", envvar="PMEM_CONFIG", metavar="FILE.toml", help="All other settings.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
UserId = Annotated[str | None, typer.Option(metavar="ID", help="Whose knowledge is meant.")]
Filter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        "-f",
        metavar="KEY=VALUE",
        help="Only atoms with this metadata; again for more keys, or for more values of one. kind, source and "
        "document_id are keys too.",
    ),
]
MetadataPairs = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Kept with every atom; repeatable.")
]


def filters_of(pairs: Iterable[str] | None, **scope: str | None) -> Filters:
    """Return filters from `KEY=VALUE` pairs, and the scope keys that were given; of a repeated key, any value matches.

    Raises:
        typer.BadParameter: If a pair has no key or no ``=``.
    """
    values: dict[str, list[Scalar]] = {}
    for pair in pairs or ():
        key, value = _pair(pair)
        values.setdefault(key, []).append(value)
    found: Filters = {key: several if len(several) > 1 else several[0] for key, several in values.items()}
    return found | {key: value for key, value in scope.items() if value is not None}


def metadata_of(pairs: Iterable[str] | None) -> dict[str, Scalar]:
    """Return metadata from `KEY=VALUE` pairs; of a repeated key, the last counts.

    Raises:
        typer.BadParameter: If a pair has no key or no ``=``.
    """
    return dict(_pair(pair) for pair in pairs or ())


def _pair(pair: str) -> tuple[str, Scalar]:
    key, equals, value = pair.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{pair!r} is not KEY=VALUE, such as year=2031 or team=harbour")
    # As --user-id has it: whose knowledge it is, is never a number.
    return key, value if key in SCOPE_KEYS else _scalar(value)


def _scalar(value: str) -> Scalar:
    """Return what the value is as JSON: ``2031``, ``true``, or in quotes the text ``"2031"``; else the text itself."""
    try:
        read = json.loads(value)
    except ValueError:
        return value
    finite = isinstance(read, str | int) or (isinstance(read, float) and math.isfinite(read))
    return read if finite else value
