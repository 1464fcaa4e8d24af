from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from optformer.data.studies.errors import StudyError
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.spaces import SearchSpace
from optformer.serving.study.importances import EVALUATORS
from optformer.serving.study.study import Study


@pytest.fixture
def study(make_study: Callable[..., Study]) -> Study:
    """Forty trials whose accuracy depends on one parameter, and whose cost on another."""
    space = SearchSpace(x=Float(0, 1), width=Int(1, 100), kind=Categorical(["a", "b"]))
    study, rng = make_study(space=space), np.random.default_rng(0)
    for _ in range(40):
        point = space.sample(rng, {})
        study.observe(point, {"accuracy": point["x"], "cost": point["width"]})  # type: ignore[dict-item]
    study.observe(point, failed="diverged")
    return study


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_importances__each_evaluator__finds_what_decides(study: Study, evaluator: str) -> None:
    before = np.random.get_state()[1]
    shares = study.importances(evaluator)
    assert np.array_equal(before, np.random.get_state()[1])
    assert next(iter(shares)) == "x"
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert study.importances(evaluator) == shares
    assert next(iter(study.importances(evaluator, metric="cost"))) == "width"


def test_importances__cannot_be_told__says_why(
    make_study: Callable[..., Study], study: Study
) -> None:
    with pytest.raises(StudyError, match=r"one of .*'fanova'.*got 'anova'"):
        study.importances("anova")
    with pytest.raises(StudyError, match="at least two completed trials with 'loss', got 0"):
        study.importances(metric="loss")
    with pytest.raises(StudyError, match="at least two completed trials with 'accuracy', got 0"):
        make_study().importances()
