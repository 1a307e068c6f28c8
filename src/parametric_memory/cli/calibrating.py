"""`pmem calibrate`: a gate that keeps an error rate of your choice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parametric_memory.cli.memory import open_memory
from parametric_memory.cli.options import AsJson, Base, CheckpointFolder, ConfigFile, Folder
from parametric_memory.cli.printing import hint, show_json, show_table, stdout

if TYPE_CHECKING:
    from parametric_memory.memory.calibrating import CalibrationReport, Target
    from parametric_memory.routing.calibration import Interval, Share


def calibrate(
    data: Annotated[Path, typer.Option(metavar="FILE", help='JSON lines: {"question", "answerable"}.')],
    at: Annotated[
        float, typer.Option(metavar="RATE", help="Of the questions it cannot answer, at most this share is taken on.")
    ] = 0.1,
    test: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Other questions, to measure with; halves of --data without.")
    ] = None,
    memory: Folder = Path("memory"),
    base: Base = None,
    checkpoint: CheckpointFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Find, on questions of yours, the threshold that keeps an error rate; the memory abstains by it from then on."""
    from parametric_memory.memory.calibrating import read_labelled

    questions, others = read_labelled(data), read_labelled(test) if test else None
    with open_memory(memory, base=base, checkpoint=checkpoint, config=config) as opened:
        report = opened.calibrate(questions, abstain_at=at, test=others)
    if as_json:
        show_json(report.record())
    else:
        show_calibration(report)


def show_calibration(report: CalibrationReport) -> None:
    """Print the threshold that is used from now on, and what every target would do."""
    stdout().print(
        f"of the questions that the memory cannot answer, at most {report.rate:.0%} are taken on: "
        f"confidence {report.threshold:.3f} or more",
        soft_wrap=True,
    )
    rows = [_row(target, chosen=target.rate == report.rate) for target in report.targets]
    show_table(("target", "threshold", "long run", "error", "coverage", "of those taken on"), rows)
    how = "other questions" if report.tested else "each half of the questions, by the other half's threshold"
    hint(
        f"{report.answerable} answerable and {report.unanswerable} unanswerable questions; measured on {how}. error: "
        "of the unanswerable, those taken on; coverage: of the answerable; of those taken on: unanswerable ones. "
        "Intervals of 95 %. It holds for questions drawn as these were, and for the memory as it is: calibrate again "
        "when it has changed much"
    )


def _row(target: Target, *, chosen: bool) -> tuple[str, ...]:
    measured = target.measured
    shares = (measured.error, measured.coverage, measured.wrong) if measured else ()
    return (
        f"{target.rate:g}" + (" ←" if chosen else ""),
        f"needs {target.needed}" if target.threshold is None else f"{target.threshold:.3f}",
        _between(target.long_run),
        *(tuple(map(_share, shares)) or ("too few", "", "")),
    )


def _share(share: Share) -> str:
    return "" if share.value is None else f"{share.value:.3f} {_between(share.interval)}"


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"
