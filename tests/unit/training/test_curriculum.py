import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.config import read_toml
from parametric_memory.errors import ConfigError
from parametric_memory.training.curriculum import STAGES, Stage, TrainingConfig, Weights, moment
from parametric_memory.training.run import learning_rate


@given(st.integers(1, 5000))
def test_a_run_is_as_long_as_asked_for_and_its_stages_share_it(steps):
    config = TrainingConfig(steps=steps)
    assert config.total_steps == steps
    if steps >= 100:
        assert [stage.name for stage in config.curriculum] == [stage.name for stage in STAGES]
        share = STAGES[-1].steps / sum(stage.steps for stage in STAGES)
        assert abs(config.curriculum[-1].steps / steps - share) < 0.02


def test_every_step_has_its_place_in_one_stage():
    stages = TrainingConfig(steps=50).curriculum
    at = [moment(stages, step) for step in range(50)]
    assert [each.stage.name for each in at] == [stage.name for stage in stages for _ in range(stage.steps)]
    assert [each.step for each in at] == [step for stage in stages for step in range(stage.steps)]
    with pytest.raises(IndexError):
        moment(stages, 50)


def test_the_gates_come_first_and_need_no_base_model():
    assert not STAGES[0].weights.answers and all(stage.weights.answers for stage in STAGES[1:])


def test_the_learning_rate_rises_then_falls():
    rates = [learning_rate(step, steps=100, highest=1.0, warmup=10) for step in range(100)]
    assert rates[0] < rates[9] and rates[9] > rates[50] > rates[99] > 0
    assert max(rates) <= 1.0


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"completions": 1.5}, {"distractors": ()}, {"distractors": (-1,)}, {"nothing": -0.1}],
)
def test_a_stage_that_cannot_be_run_is_refused_by_name(wrong):
    with pytest.raises(ConfigError, match="stage 'mine'"):
        Stage(**{"name": "mine", "steps": 3, "weights": Weights(nll=1.0), **wrong})


@pytest.mark.parametrize("wrong", [{}, {"nll": -1.0}])
def test_weights_that_teach_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match="at least one positive"):
        Weights(**wrong)


def test_a_recipe_file_holds_stages_and_their_weights(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        "steps = 70\nbatch_size = 8\n"
        "[[stages]]\nname = 'gates'\nsteps = 2\ndistractors = [1, 3]\n[stages.weights]\nspan = 1.0\n"
        "[[stages]]\nname = 'answers'\nsteps = 5\n[stages.weights]\nnll = 1.0\nteacher = 0.5\n"
    )
    config = read_toml(path, TrainingConfig)
    assert [(stage.name, stage.steps) for stage in config.curriculum] == [("gates", 20), ("answers", 50)]
    assert config.stages[0].distractors == (1, 3) and config.stages[1].weights.teacher == 0.5
    path.write_text("[[stages]]\nname = 'gates'\nsteps = 2\ntypo = 1\n[stages.weights]\nspan = 1.0\n")
    with pytest.raises(ConfigError, match="typo"):
        read_toml(path, TrainingConfig)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "cannot be weighed"),
        ({"gates": "router"}, "learned by gates"),
        ({"gates": "router", "stages": (Stage(name="mine", steps=1, weights=Weights(nll=1.0, span=0.1)),)}, "'mine'"),
    ],
)
def test_a_compiler_without_gates_of_its_own_learns_from_others_and_not_to_find(wrong, says):
    with pytest.raises(ConfigError, match=says):
        TrainingConfig(gate_layers=0, **wrong)
    said = (Stage(name="saying", steps=1, weights=Weights(nll=1.0)),)
    assert TrainingConfig(gate_layers=0, gates="told", stages=said).total_steps == 4000
