"""The memory's calibration: questions with known answerability in, a threshold that keeps a stated error rate out.

It is kept as ``calibration.json`` in the memory's folder: numbers alone, no word of a question. What it means and what
it guarantees, `parametric_memory.routing.calibration` says.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from parametric_memory.config import RoutingConfig
from parametric_memory.errors import ConfigError, UnreadableDocumentError
from parametric_memory.protocols import Router
from parametric_memory.routing.calibration import (
    Calibration,
    Interval,
    Logistic,
    Measured,
    cross_measured,
    questions_needed,
)
from parametric_memory.routing.gate import with_threshold
from parametric_memory.types import Scalar, stable_id

if TYPE_CHECKING:
    from parametric_memory.memory.memory import ParametricMemory

logger = logging.getLogger(__name__)

FILE = "calibration.json"
#: Targets that a report looks at, beside the one that was chosen.
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question of which it is known whether the memory answers it.

    ``filters`` narrow what it is asked of. ``group`` names what stands or falls together, such as one document's
    questions; empty for a question on its own.
    """

    question: str
    answerable: bool
    filters: Mapping[str, Scalar | Sequence[Scalar]] = field(default_factory=dict)
    group: str = ""


#: The same in the shapes that callers have it in: ``(question, answerable)``, or a line of a file of questions.
Labelled: TypeAlias = LabelledQuestion | tuple[str, bool] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration in use: whose confidences they are, and the error rate that was chosen.

    Attributes:
        calibration: The confidences.
        rate: Of the questions that the memory cannot answer, at most this share is taken on.
        router: What gave the confidences: those of another router mean something else.
        logistic: Confidences as probabilities; None if no question was answerable.
    """

    calibration: Calibration
    rate: float
    router: str
    logistic: Logistic | None

    def save(self, folder: Path) -> Path:
        """Write it into a memory's folder, whole or not at all; return the file."""
        path = folder / FILE
        fresh = path.with_name(f"{FILE}.new")
        fresh.write_text(json.dumps({"version": 1, **asdict(self)}, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)
        return path

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the calibration of a memory's folder; None if there is none.

        Raises:
            ConfigError: If the file is not one.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            sides = {kind: tuple(map(float, read["calibration"][kind])) for kind in ("answerable", "unanswerable")}
            logistic = Logistic(**read["logistic"]) if read["logistic"] else None
            return cls(Calibration(**sides), float(read["rate"]), str(read["router"]), logistic)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"reading the calibration {path}: {error}; remove the file, or calibrate again with `pmem calibrate`"
            ) from error

    def fits(self, router: Router) -> bool:
        """Whether these are confidences of this router, or of one whose confidences mean the same."""
        return self.router == router_name(router)

    def probability(self, confidence: float) -> float:
        """Return a confidence as the probability that the memory answers; as it is, where nothing else is known."""
        return self.logistic.probability(confidence) if self.logistic else confidence


@dataclass(frozen=True, slots=True)
class Target:
    """A target error rate, the threshold that keeps it, and what that threshold does to questions.

    Attributes:
        rate: Of the questions that the memory cannot answer, at most this share is taken on.
        needed: Unanswerable questions that it takes, at least, to guarantee it.
        threshold: On the confidence; None if there are fewer.
        long_run: The middle 95 % of the error rates that such a threshold has in the long run; None likewise.
        measured: On questions that had no say in the threshold; None if there are too few for that.
    """

    rate: float
    needed: int
    threshold: float | None
    long_run: Interval | None
    measured: Measured | None


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What came of calibrating: the target that is kept from now on, and what others would do.

    ``tested`` says whether the targets were measured on other questions; else each half of the questions was measured
    by the other half's threshold.
    """

    rate: float
    threshold: float
    answerable: int
    unanswerable: int
    tested: bool
    targets: tuple[Target, ...]

    def record(self) -> dict[str, Any]:
        """Return it as JSON; intervals are of 95 %."""
        return asdict(replace(self, targets=())) | {"targets": [_target_record(target) for target in self.targets]}


def calibrate(
    memory: ParametricMemory,
    questions: Iterable[LabelledQuestion],
    *,
    rate: float,
    test: Iterable[LabelledQuestion] | None = None,
) -> tuple[Calibrated, CalibrationReport]:
    """Ask the router how sure it is in each question; return the calibration that follows, and what it does.

    Raises:
        ConfigError: If the rate is none, or there are too few questions for it.
    """
    questions_needed(rate)  # a wrong rate is an error now, not after all the questions
    asked = list(questions)
    sure, can = confidences(memory, asked), [one.answerable for one in asked]
    calibration = Calibration.of(sure, can)
    threshold = calibration.threshold(rate)
    others = None if test is None else list(test)
    tested = (
        None if others is None else Calibration.sorted(confidences(memory, others), [one.answerable for one in others])
    )
    groups = [one.group or number for number, one in enumerate(asked)]

    def target(goal: float) -> Target:
        needed = questions_needed(goal)
        if len(calibration.unanswerable) < needed:
            return Target(goal, needed, None, None, None)
        found = calibration.threshold(goal)
        measured = tested.measure(found) if tested else cross_measured(sure, can, goal, groups=groups)
        return Target(goal, needed, found, calibration.long_run(goal), measured)

    targets = tuple(target(goal) for goal in sorted({*RATES, rate}))
    logistic = Logistic.fit(calibration) if calibration.answerable else None
    report = CalibrationReport(
        rate, threshold, len(calibration.answerable), len(calibration.unanswerable), tested is not None, targets
    )
    return Calibrated(calibration, rate, router_name(memory.router), logistic), report


def confidences(memory: ParametricMemory, questions: Iterable[LabelledQuestion]) -> list[float]:
    """Return how sure the memory's router is in each question, whatever its gate says."""
    found = []
    for one in questions:
        query = memory.encode_query(one.question)
        candidates = memory.candidates(query, filters=one.filters)
        found.append(memory.route(query, candidates, calibrated=False).confidence)
    return found


def gated(router: Router, calibrated: Calibrated | None, rate: float | None) -> Router:
    """Return the router whose gate keeps a target error rate; the router as it is, if nothing is aimed for.

    Args:
        router: The memory's.
        calibrated: The memory's calibration, if it has one.
        rate: The target; None for the one that the memory was calibrated with.

    Raises:
        ConfigError: If a target is given and the memory was not calibrated for it.
    """
    if calibrated is not None and calibrated.fits(router):
        return with_threshold(router, calibrated.calibration.threshold(calibrated.rate if rate is None else rate))
    if rate is None:
        return router
    found = "is not calibrated" if calibrated is None else f"was calibrated with another router ({calibrated.router})"
    raise ConfigError(
        f"asking with abstain_at={rate:g}: the memory {found}; calibrate it on questions of yours: "
        "`pmem calibrate`, or memory.calibrate(...)"
    )


def router_name(router: Router) -> str:
    """Return what tells one router's confidences from another's: its name or class, and what it was set to."""
    config = getattr(router, "config", None)
    # The gate and the length of a route do not change how sure a router is.
    told = replace(config, **_REST) if isinstance(config, RoutingConfig) else None
    name = str(getattr(router, "name", type(router).__qualname__))
    return name if told is None else f"{name}:{stable_id(repr(told))[:8]}"


def read_labelled(path: Path) -> list[LabelledQuestion]:
    """Read questions from JSON lines: ``{"question", "answerable"}``, and if you like ``filters`` and ``group``.

    Without ``answerable``, what has ``answers`` is answerable. ``doc_id`` names a group, too. May be gzipped.

    Raises:
        UnreadableDocumentError: If the file cannot be read, or naming the line that is wrong.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UnreadableDocumentError(f"reading the questions of {path}: {error}") from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [_labelled(line, f"reading the questions of {path}, line {number}") for number, line in lines]


def labelled(questions: Iterable[Labelled]) -> Iterator[LabelledQuestion]:
    """Yield questions in whatever shape they come: as they are, as ``(question, answerable)``, or as lines of a file.

    Raises:
        UnreadableDocumentError: If one has another shape.
    """
    for number, one in enumerate(questions, 1):
        if isinstance(one, LabelledQuestion):
            yield one
        else:
            is_pair = isinstance(one, tuple | list) and len(one) == 2
            record = dict(zip(("question", "answerable"), one, strict=True)) if is_pair else one
            yield _of_record(record, f"calibrating, question {number}")


_REST: Mapping[str, Any] = {
    "abstain_below": 0.0,
    "abstain_at": None,
    "unsure_below": 0.0,
    "margin": 0.0,
    "max_atoms": 0,
}


def _labelled(line: str, where: str) -> LabelledQuestion:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnreadableDocumentError(f"{where}: it is not JSON ({error}); write one JSON object per line") from error
    return _of_record(record, where)


def _of_record(record: Any, where: str) -> LabelledQuestion:
    if not isinstance(record, Mapping) or not isinstance(record.get("question"), str) or not record["question"].strip():
        raise UnreadableDocumentError(f'{where}: expected an object with a "question", got {str(record)[:60]!r}')
    answerable = record.get("answerable", bool(record["answers"]) if "answers" in record else None)
    if not isinstance(answerable, bool):
        raise UnreadableDocumentError(f'{where}: say whether the memory answers it: "answerable": true or false')
    filters = record.get("filters") or {}
    if not isinstance(filters, Mapping):
        raise UnreadableDocumentError(f'{where}: "filters" must be an object, got {str(filters)[:60]!r}')
    return LabelledQuestion(
        record["question"], answerable, filters, str(record.get("group") or record.get("doc_id") or "")
    )


def _target_record(target: Target) -> dict[str, Any]:
    shares = {} if target.measured is None else {
        name: {"share": share.value, "interval": share.interval, "count": share.count, "of": share.of}
        for name, share in (
            ("error", target.measured.error),
            ("coverage", target.measured.coverage),
            ("wrong", target.measured.wrong),
        )
    }  # fmt: skip
    return asdict(replace(target, measured=None)) | {"measured": shares or None}
