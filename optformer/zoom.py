"""The neighbourhood of the best trial as a study of its own.

Its trials set the scale of the metric and the unit intervals of the parameters, so the model sees
apart what lies together in the whole study. Trust regions of Gaussian processes have the same
purpose (Eriksson et al. 2019, "Scalable global optimization via local Bayesian optimization").
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from optformer.data.errors import SearchSpaceError
from optformer.data.parameters import Float
from optformer.data.spaces import SearchSpace
from optformer.data.studies import StudyConfig
from optformer.data.trials import Trial

INSIDE = 12  # measured trials that the box holds beside the best
LEAST_WIDTH = 0.01  # half of a box, in parts of the range


def zoom(
    config: StudyConfig, history: Sequence[Trial], fixed: Collection[str] = ()
) -> tuple[StudyConfig, list[Trial]] | None:
    """Cut the continuous parameters to a box around the best trial.

    Args:
        config: The study.
        history: Its trials, pending and failed ones too.
        fixed: Parameters that are not searched.

    Returns:
        The study in the box and the trials inside; None when the best trial has no continuous
        parameter to cut, or when not enough trials are measured.
    """
    measured = [trial for trial in history if trial.value is not None]
    if len(measured) <= INSIDE:
        return None
    best = max(measured, key=lambda trial: config.sign * (trial.value or 0.0))
    cut = {
        name: (parameter, parameter.to_unit(best.params[name]))
        for name, parameter in config.space.items()
        if isinstance(parameter, Float) and parameter.step is None
        if name in best.params and name not in fixed
    }
    if not cut:
        return None

    def distance(trial: Trial) -> float:
        return max(
            abs(parameter.to_unit(trial.params[name]) - centre)
            for name, (parameter, centre) in cut.items()
            if name in trial.params
        )

    comparable = [trial for trial in measured if cut.keys() & trial.params.keys()]
    gaps = sorted(distance(trial) for trial in comparable)
    half = max(gaps[min(INSIDE, len(gaps) - 1)], LEAST_WIDTH)
    box = {name: _cut(parameter, centre, half) for name, (parameter, centre) in cut.items()}
    inner = SearchSpace({**config.space, **box})
    inside = (_inside(trial, inner) for trial in history)
    return replace(config, space=inner), [trial for trial in inside if trial is not None]


def _cut(parameter: Float, centre: float, half: float) -> Float:
    """The part of a parameter's range at most `half` of it away from a place in it."""
    low, high = (
        parameter.from_unit(min(max(end, 0.0), 1.0)) for end in (centre - half, centre + half)
    )
    return replace(parameter, low=low, high=high) if low < high else parameter


def _inside(trial: Trial, space: SearchSpace) -> Trial | None:
    """The trial with round-off at the box's ends removed, None when it lies outside."""
    try:
        return replace(trial, params=space.validate(trial.params))
    except SearchSpaceError:
        return None
