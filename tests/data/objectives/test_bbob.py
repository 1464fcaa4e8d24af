"""BBOB through coco-experiment: optima, names and repeatability."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from optformer.data.objectives import bbob
from optformer.data.studies.errors import ConfigError, MissingExtraError
from optformer.data.studies.parameters import Float

cocoex = pytest.importorskip("cocoex")


def test_names__of_the_suite__are_all_functions_in_three_dimensions() -> None:
    assert len(set(bbob.NAMES)) == len(bbob.NAMES) == 24 * 3
    assert {bbob.bbob_objective(name).config.metadata["dimensions"] for name in bbob.NAMES} == {
        "2",
        "5",
        "10",
    }


def test_dev_names__instances__are_not_those_of_the_suite() -> None:
    assert len(set(bbob.DEV_NAMES)) == 12
    assert not {name[-3:] for name in bbob.DEV_NAMES} & {name[-3:] for name in bbob.NAMES}
    assert {name[4:7] for name in bbob.DEV_NAMES} == {"d02", "d05"}


@pytest.mark.parametrize("name", [n for n in bbob.NAMES if "d02" in n])
def test_objective__at_the_librarys_best_point__is_the_optimum(name: str) -> None:
    objective = bbob.bbob_objective(name)
    problem = cocoex.BareProblem("bbob", int(name[1:3]), 2, 1)
    best = problem.best_parameter()
    assert objective({"x1": best[0], "x2": best[1]}) == pytest.approx(objective.optimum, abs=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert objective(objective.config.space.sample(rng)) > float(objective.optimum or 0.0)


def test_objective__value__is_the_librarys_own_and_repeats() -> None:
    objective = bbob.bbob_objective("f15-d05-i02")
    point = {f"x{i + 1}": 0.5 * i for i in range(5)}
    value = cocoex.BareProblem("bbob", 15, 5, 2)(np.arange(5) * 0.5)
    assert objective(point) == pickle.loads(pickle.dumps(objective))(point) == value
    assert objective.config.goal == "minimize"
    assert all(p == Float(-5.0, 5.0) for p in objective.config.space.values())


def test_objective__another_instance__is_another_function() -> None:
    point = {"x1": 1.0, "x2": 2.0}
    assert bbob.bbob_objective("f03-d02-i01")(point) != bbob.bbob_objective("f03-d02-i02")(point)


@pytest.mark.parametrize("name", ["f25-d02-i01", "f00-d02-i01", "f01-d01-i01", "f01-d02-i00", "x"])
def test_objective__impossible_name__is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"f03-d05-i01, got '"):
        bbob.bbob_objective(name)


def test_objective__library_missing__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    bbob._problem.cache_clear()
    monkeypatch.setitem(sys.modules, "cocoex", None)
    with pytest.raises(MissingExtraError, match=r"optformer\[benchmark\]"):
        bbob.bbob_objective("f01-d02-i01")
