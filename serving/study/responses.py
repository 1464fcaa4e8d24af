"""The predicted metric along one parameter, the others held at the best trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optformer.data.studies.errors import StudyError
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial
from optformer.serving.study.figures import best_first, changed_point, spread_values

if TYPE_CHECKING:
    from optformer.planning.prediction import Prediction
    from optformer.serving.study.study import Study

_CURVE_POINTS = 61  # where a numeric parameter's response is predicted


@dataclass(frozen=True)
class Response:
    """What is predicted along one parameter.

    Attributes:
        parameter: Its name.
        values: Its values, each choice or evenly spread.
        predictions: One prediction a value.
        best: The trial whose other values are held.
        held: Values that are held instead of the best trial's.
        trials: All trials at the time.
    """

    parameter: str
    values: Sequence[Value]
    predictions: Sequence[Prediction]
    best: Trial
    held: Mapping[str, Value]
    trials: Sequence[Trial]


def predict_response(
    study: Study,
    parameter: str,
    at: Mapping[str, Value] | None = None,
    *,
    count: int = _CURVE_POINTS,
) -> Response:
    """Predict the metric along one parameter, the others held at the best trial.

    With several goals it is the trial of the Pareto front that is the best in the first one. A
    parameter that becomes active only along the way takes the value it has in the best trial that
    knows it, otherwise the middle of its range.

    Args:
        study: A study with at least one completed trial.
        parameter: Name of the parameter, active there.
        at: Values of other parameters that are held instead of the best trial's.
        count: How many values of a numeric parameter, at most.

    Raises:
        StudyError: The parameter is unknown or inactive there, or no trial is completed.
        SearchSpaceError: A value to hold is not legal.
    """
    space = study.config.space
    if parameter not in space:
        raise StudyError(f"unknown parameter {parameter!r}; this space has {list(space)}")
    trials, sign = study.trials, study.config.sign
    front = best_first(study.best_trials, sign) if study.config.further_goals else []
    best = front[0] if front else study.best_trial
    held = {name: space.validate_value(name, value) for name, value in (at or {}).items()}
    values = spread_values(space[parameter], count)
    ranked = [best, *best_first(trials, sign)]
    points = [changed_point(space, {**held, parameter: value}, ranked) for value in values]
    if parameter not in points[0]:
        raise StudyError(
            f"parameter {parameter!r} is inactive in the best trial, number {best.number}; "
            f"it needs {dict(space[parameter].when or {})}: give such values with at="
        )
    return Response(parameter, values, study.predict(points), best, held, trials)


def waking_values(space: SearchSpace, parameter: str) -> dict[str, Value]:
    """Values of other parameters under which a conditional one is active; none for others.

    Args:
        space: The space.
        parameter: A name of it.
    """
    values: dict[str, Value] = {}
    for parent, choices in (space[parameter].when or {}).items():
        values |= {**waking_values(space, parent), parent: choices[0]}
    return values
