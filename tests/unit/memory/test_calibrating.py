import json
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from parametric_memory.config import MemoryConfig, RoutingConfig, StoreConfig
from parametric_memory.errors import ConfigError, UnreadableDocumentError
from parametric_memory.memory import LabelledQuestion
from parametric_memory.memory.calibrating import FILE, labelled, read_labelled
from parametric_memory.routing.calibration import Logistic
from parametric_memory.types import Route, RoutedAtom

HALLS = [f"The keeper of Hall {n} is Person{n} Orme." for n in range(24)]
CONFIG = MemoryConfig(store=StoreConfig(index="numpy"))
#: Halls 0 to 23 have keepers; of ships and prices the memory knows nothing.
ANSWERABLE = [(f"Who is the keeper of Hall {n}?", True) for n in range(24)]
UNANSWERABLE = [
    (f"{what} {thing}?", False)
    for what in ("Which ship brought", "What is the price of", "Who painted")
    for thing in ("the salt", "the oranges", "a red lamp", "the long bridge", "an old piano", "the tin roof", "Hall Z")
]


@pytest.fixture
def halls(open_memory):
    memory = open_memory("halls", CONFIG)
    memory.add(HALLS)
    return memory


def test_a_calibrated_memory_abstains_by_its_threshold_also_when_opened_again(halls, open_memory):
    before = halls.explain(UNANSWERABLE[0][0])
    assert before.threshold == CONFIG.routing.abstain_below
    report = halls.calibrate([*ANSWERABLE, *UNANSWERABLE], abstain_at=0.2)
    for memory in (halls, open_memory("halls", CONFIG)):
        routes = [(memory.explain(question), can) for question, can in [*ANSWERABLE, *UNANSWERABLE]]
        assert {route.threshold for route, _ in routes} == {report.threshold}
        assert all(route.abstained == (route.confidence < report.threshold) for route, _ in routes)
        assert sum(not route.abstained for route, can in routes if not can) <= 0.2 * 21
    assert [target.rate for target in report.targets if target.threshold is None] == [0.01, 0.02]


def test_a_question_may_aim_for_its_own_rate_and_the_configuration_for_another(halls, open_memory):
    halls.calibrate([*ANSWERABLE, *UNANSWERABLE], abstain_at=0.2)
    strict, usual = (halls.explain("Who painted Hall 3?", abstain_at=rate).threshold for rate in (0.05, None))
    assert strict > usual
    configured = open_memory("halls", replace(CONFIG, routing=RoutingConfig(abstain_at=0.05)))
    assert configured.explain("Who painted Hall 3?").threshold == strict
    assert configured.ask("Who painted Hall 3?", abstain_at=0.2).route.threshold == usual


def test_a_lower_rate_takes_on_no_more_of_anything(halls):
    report = halls.calibrate([*ANSWERABLE, *UNANSWERABLE], abstain_at=0.1, test=[*ANSWERABLE, *UNANSWERABLE])
    measured = [target.measured for target in report.targets if target.measured]
    for low, high in pairwise(measured):
        assert low.error.count <= high.error.count and low.coverage.count <= high.coverage.count
    assert report.tested and json.dumps(report.record())


def test_too_few_questions_are_an_error_that_leaves_everything_as_it_was(halls):
    with pytest.raises(ConfigError, match=r"takes 19 unanswerable questions to guarantee, and there are 12"):
        halls.calibrate([*ANSWERABLE, *UNANSWERABLE[:12]], abstain_at=0.05)
    assert halls.calibrated is None and not (halls.store.path / FILE).exists()


def test_a_target_without_a_calibration_is_refused_until_there_is_one(halls, open_memory):
    with pytest.raises(ConfigError, match="is not calibrated"):
        halls.ask("Who?", abstain_at=0.1)
    aiming = open_memory("halls", replace(CONFIG, routing=RoutingConfig(abstain_at=0.1)))
    with pytest.raises(ConfigError, match="is not calibrated"):
        aiming.ask("Who?")
    report = aiming.calibrate([*ANSWERABLE, *UNANSWERABLE])
    assert aiming.explain("Who?").threshold == report.threshold


def test_confidences_of_another_router_do_not_count(halls, open_memory):
    halls.calibrate([*ANSWERABLE, *UNANSWERABLE])
    other = open_memory("halls", replace(CONFIG, routing=RoutingConfig(dense_weight=0.2)))
    assert other.explain("Who painted Hall 3?").threshold == CONFIG.routing.abstain_below
    with pytest.raises(ConfigError, match="another router"):
        other.explain("Who painted Hall 3?", abstain_at=0.1)
    sure = Route("Who?", (RoutedAtom(other.store.atoms()[0], 1.0),), confidence=CONFIG.routing.unsure_below)
    other.calibrated = replace(other.calibrated, logistic=Logistic(slope=0.0, bias=-9.0, log_odds=False))
    assert other.passages(sure, "hybrid_unsure") == []
    # The gate and the length of a route change nothing about how sure the router is.
    same = RoutingConfig(abstain_below=2.0, margin=0.1, max_atoms=1)
    assert open_memory("halls", replace(CONFIG, routing=same)).explain("Who?").threshold < 2.0


def test_the_file_holds_no_word_of_a_question_and_a_broken_one_is_named(halls, open_memory):
    halls.calibrate([*ANSWERABLE, *UNANSWERABLE])
    written = (halls.store.path / FILE).read_text()
    assert "keeper" not in written and "ship" not in written
    (halls.store.path / FILE).write_text(written[:40])
    with pytest.raises(ConfigError, match=r"calibration\.json.*calibrate again"):
        open_memory("halls", CONFIG)


@dataclass
class Coin:
    """A router that knows of no threshold, and whose confidences are no probabilities."""

    name = "coin"

    def route(self, query, candidates):
        sure = float(sum(query.vector[:3])) * 40
        return Route(query.text, tuple(RoutedAtom(c.atom, 1.0) for c in candidates[:1]), confidence=sure)


def test_a_router_of_ones_own_is_calibrated_like_any_other(halls):
    halls.router = Coin()
    report = halls.calibrate([*ANSWERABLE, *UNANSWERABLE], abstain_at=0.1)
    taken = [not halls.explain(question).abstained for question, _ in UNANSWERABLE]
    assert sum(taken) <= 0.1 * len(taken)
    assert halls.explain(UNANSWERABLE[0][0]).threshold == report.threshold


def test_the_probability_of_a_calibrated_confidence_grows_with_it(halls):
    halls.calibrate([*ANSWERABLE, *UNANSWERABLE])
    found = [halls.calibrated.probability(c) for c in np.linspace(0, 1, 11)]
    assert found == sorted(found) and found[0] < 0.5 < found[-1]


# ---------------------------------------------------------------- questions


def test_questions_are_read_from_json_lines(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question": "Who?", "answerable": True, "filters": {"user_id": "u"}, "group": "a"},
        {"question": "Why?", "answers": [], "doc_id": "d"},
        {"question": "When?", "answers": ["1887"]},
    ]
    path.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    assert read_labelled(path) == [
        LabelledQuestion("Who?", True, {"user_id": "u"}, "a"),
        LabelledQuestion("Why?", False, group="d"),
        LabelledQuestion("When?", True),
    ]
    assert list(labelled([("When?", True), rows[1]])) == [LabelledQuestion("When?", True), read_labelled(path)[1]]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 1: it is not JSON"),
        ('{"question": " ", "answerable": true}', "line 1: expected an object with a"),
        ('{"question": "Who?"}', "line 1: say whether"),
        ('{"question": "Who?", "answerable": "yes"}', "line 1: say whether"),
        ('{"question": "Who?", "answerable": true, "filters": [1]}', "line 1: .filters. must be"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, problem):
    (tmp_path / "questions.jsonl").write_text(line)
    with pytest.raises(UnreadableDocumentError, match=problem):
        read_labelled(tmp_path / "questions.jsonl")


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        (("Who?", "no"), "question 2: say whether"),
        ("ab", "question 2: expected an object"),
        ("hello", "question 2: expected an object"),
        (("Who?", True, "more"), "question 2: expected an object"),
        ((" ", True), "question 2: expected an object"),
    ],
)
def test_a_question_of_a_wrong_shape_is_named(one, problem):
    with pytest.raises(UnreadableDocumentError, match=problem):
        list(labelled([["When?", True], one]))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableDocumentError, match=r"none\.jsonl"):
        read_labelled(tmp_path / "none.jsonl")
