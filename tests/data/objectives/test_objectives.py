"""Live tuning tasks: real, reserved, repeatable and quick."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from optformer.data.objectives import Objective
from optformer.data.objectives.digits import digits_objective, final_test_accuracy
from optformer.data.objectives.fitting import Array, folds, holdout, mean_score, r2
from optformer.data.objectives.sklearn_tasks import (
    RESERVED_DATASETS,
    RESERVED_FAMILIES,
    dev_tasks,
)
from optformer.data.studies.errors import ObjectiveError, SearchSpaceError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

TASKS = {task.name: task for task in dev_tasks()}
NETWORK = {
    "learning_rate_init": 0.01,
    "solver": "adam",
    "beta_1": 0.9,
    "hidden_layers": 1,
    "hidden_units": 32,
    "activation": "relu",
    "alpha": 1e-4,
    "batch_size": 128,
}


class TestObjective:
    SPACE = SearchSpace(x=Float(-1, 1))

    def objective(self, value: float) -> Objective:
        config = StudyConfig(self.SPACE, "loss", "minimize")
        return Objective("toy", config, lambda params: value + params["x"], reserved=False)

    def test_call__legal_point__is_a_float(self) -> None:
        assert self.objective(1.0)({"x": 0.5}) == 1.5

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_call__value_not_finite__is_a_failed_evaluation(self, value: float) -> None:
        with pytest.raises(ObjectiveError, match=r"toy: the metric is (nan|inf) at \{'x': 0\}"):
            self.objective(value)({"x": 0})

    def test_call__illegal_point__is_refused(self) -> None:
        with pytest.raises(SearchSpaceError, match="'x'"):
            self.objective(1.0)({"x": 2})


class TestDevTasks:
    def test_dev_tasks__as_a_suite__are_varied_and_reserved(self) -> None:
        assert len(TASKS) == len(dev_tasks()) >= 6
        assert all(task.reserved for task in TASKS.values())
        assert {task.config.goal for task in TASKS.values()} == {"maximize", "minimize"}
        assert {task.config.metric for task in TASKS.values()} == {
            "accuracy",
            "log_loss",
            "r2",
            "rmse",
        }
        conditional = [t for t in TASKS.values() if any(p.when for p in t.config.space.values())]
        continuous = [
            t for t in TASKS.values() if all(isinstance(p, Float) for p in t.config.space.values())
        ]
        assert len(conditional) >= 4
        assert len(continuous) >= 2

    @pytest.mark.parametrize("name", TASKS)
    def test_dev_tasks__each__uses_only_what_is_reserved_and_is_described(self, name: str) -> None:
        config = TASKS[name].config
        assert config.metadata["dataset"] in RESERVED_DATASETS or any(
            family in config.metadata["model"] for family in RESERVED_FAMILIES
        )
        assert {"task", "dataset", "dataset size", "model"} <= config.metadata.keys()
        assert 4 <= len(config.space) <= 8
        assert all(parameter.description for parameter in config.space.values())

    @pytest.mark.parametrize("name", TASKS)
    def test_dev_tasks__evaluated_twice__repeat_exactly_without_a_warning(self, name: str) -> None:
        task = TASKS[name]
        rng = np.random.default_rng(0)
        points = [task.config.space.sample(rng) for _ in range(3)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            first = [task(point) for point in points]
            second = [pickle.loads(pickle.dumps(task))(point) for point in points]
        assert first == second
        assert len(set(first)) > 1

    @pytest.mark.parametrize("name", TASKS)
    def test_dev_tasks__each__answers_quickly(self, name: str) -> None:
        task = TASKS[name]
        rng = np.random.default_rng(1)
        seconds = []
        for _ in range(5):
            start = time.process_time()
            task(task.config.space.sample(rng))
            seconds.append(time.process_time() - start)
        assert np.median(seconds) < 0.3

    @pytest.mark.parametrize("name", TASKS)
    def test_dev_tasks__each__leaves_room_between_lucky_and_usual(self, name: str) -> None:
        task = TASKS[name]
        rng = np.random.default_rng(2)
        values = [task.config.sign * task(task.config.space.sample(rng)) for _ in range(15)]
        assert max(values) - np.median(values) > 0.01 * abs(float(np.median(values)))


class TestDigits:
    def test_digits_objective__its_space__mixes_kinds_and_conditions(self) -> None:
        objective = digits_objective()
        assert objective.reserved
        assert len(objective.config.space) >= 5
        assert any(parameter.when for parameter in objective.config.space.values())

    def test_digits_objective__sensible_point__learns_and_tests_alike(self) -> None:
        validation = digits_objective()(NETWORK)
        assert validation == digits_objective()(NETWORK) > 0.93
        assert final_test_accuracy(NETWORK) == pytest.approx(validation, abs=0.04)

    def test_final_test_accuracy__illegal_point__is_refused(self) -> None:
        with pytest.raises(SearchSpaceError, match="'momentum' is inactive"):
            final_test_accuracy({**NETWORK, "momentum": 0.9})


def test_mean_score__fit_that_diverges__is_a_failed_evaluation() -> None:
    class Diverging:
        def fit(self, inputs: Array, targets: Array) -> None:
            raise ValueError("Solver produced non-finite parameter weights")

    splits = folds(np.zeros((4, 1)), np.zeros(4), 2)
    with pytest.raises(ObjectiveError, match="training failed: Solver produced non-finite"):
        mean_score(Diverging, splits, r2)


def test_holdout__parts__are_disjoint_and_of_the_asked_size() -> None:
    targets = np.arange(20)
    split = holdout(targets[:, None], targets, 12, 6)
    assert (len(split.train_targets), len(split.test_targets)) == (12, 6)
    assert len({*split.train_targets, *split.test_targets}) == 18
    assert (split.train_inputs[:, 0] == split.train_targets).all()


def test_folds__every_example__is_tested_once() -> None:
    targets = np.arange(11)
    splits = folds(targets[:, None], targets, 3)
    assert sorted(np.concatenate([split.test_targets for split in splits])) == list(range(11))
    for split in splits:
        assert not {*split.train_targets} & {*split.test_targets}
        assert len(split.train_targets) + len(split.test_targets) == 11


def test_objectives__imported__load_scikit_learn_only_when_called() -> None:
    code = (
        "import sys\n"
        "from optformer.data.objectives.digits import digits_objective\n"
        "from optformer.data.objectives.sklearn_tasks import dev_tasks\n"
        "dev_tasks(); digits_objective()\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
