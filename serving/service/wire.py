"""Trials, predictions and explanations as JSON, for both ends of the wire.

Numbers that JSON lacks are the texts "NaN", "Infinity" and "-Infinity". Spaces and configurations
are on the wire as `StudyConfig.to_dict` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from optformer.data.studies.trials import Trial, TrialStatus

_ODD_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

ODD_NUMBERS = tuple(_ODD_NUMBERS)
"""The texts that stand for numbers which JSON lacks."""


def number_to_wire(number: float) -> float | str:
    """A number as JSON can hold it."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def number_from_wire(number: float | str) -> float:
    """The inverse of `number_to_wire`."""
    return _ODD_NUMBERS[number] if isinstance(number, str) else number


def trial_to_wire(trial: Trial) -> dict[str, Any]:
    """A trial as plain JSON-ready values, times in UTC; `trial_from_wire` reads them back."""
    return {
        "number": trial.number,
        "params": dict(trial.params),
        "status": trial.status.value,
        "value": trial.value,
        "reason": trial.reason,
        "metrics": dict(trial.metrics),
        "explanation": explanation_to_wire(trial.explanation),
        "intermediate_values": {
            str(step): number_to_wire(value) for step, value in trial.intermediate_values.items()
        },
        "user_attrs": dict(trial.user_attrs),
        "datetime_start": _time_to_wire(trial.datetime_start),
        "datetime_complete": _time_to_wire(trial.datetime_complete),
    }


def trial_from_wire(described: Mapping[str, Any], study: str) -> Trial:
    """Read a trial written by `trial_to_wire`, of a study; its times are local ones again."""
    return Trial(
        number=described["number"],
        params=described["params"],
        status=TrialStatus(described["status"]),
        value=described["value"],
        reason=described["reason"],
        metrics=described["metrics"],
        study=study,
        explanation=explanation_from_wire(described["explanation"]),
        intermediate_values={
            int(step): number_from_wire(value)
            for step, value in described["intermediate_values"].items()
        },
        user_attrs=described["user_attrs"],
        datetime_start=_time_from_wire(described["datetime_start"]),
        datetime_complete=_time_from_wire(described["datetime_complete"]),
    )


def prediction_to_wire(prediction: Any) -> dict[str, Any]:
    """A `Prediction` as plain JSON-ready values; `prediction_from_wire` reads them back."""
    return {
        "mean": number_to_wire(prediction.mean),
        "std": number_to_wire(prediction.std),
        "quantiles": {str(q): number_to_wire(v) for q, v in prediction.quantiles.items()},
        **{name: number_to_wire(getattr(prediction, name)) for name in _EXPECTED},
        "metrics": {name: prediction_to_wire(p) for name, p in prediction.metrics.items()},
    }


def prediction_from_wire(described: Mapping[str, Any]) -> Any:
    """Read a `Prediction` written by `prediction_to_wire`."""
    from optformer.planning.prediction import Prediction

    return Prediction(
        mean=number_from_wire(described["mean"]),
        std=number_from_wire(described["std"]),
        quantiles={float(q): number_from_wire(v) for q, v in described["quantiles"].items()},
        **{name: number_from_wire(described[name]) for name in _EXPECTED},
        metrics={name: prediction_from_wire(p) for name, p in described["metrics"].items()},
    )


_EXPECTED = (
    "probability_of_improvement",
    "probability_of_failure",
    "expected_improvement",
    "probability_of_keeping",
)


def explanation_to_wire(explanation: Any) -> dict[str, Any] | None:
    """An `Explanation` as plain JSON-ready values; None where a trial has none."""
    if explanation is None:
        return None
    prediction = explanation.prediction
    return {
        "prediction": None if prediction is None else prediction_to_wire(prediction),
        "nearest": list(explanation.nearest),
        "source": explanation.source,
    }


def explanation_from_wire(described: Mapping[str, Any] | None) -> Any:
    """Read an `Explanation` written by `explanation_to_wire`."""
    if described is None:
        return None
    from optformer.planning.prediction import Explanation

    prediction = described["prediction"]
    return Explanation(
        prediction=None if prediction is None else prediction_from_wire(prediction),
        nearest=tuple(described["nearest"]),
        source=described["source"],
    )


def _time_to_wire(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()


def _time_from_wire(time: str | None) -> datetime | None:
    return None if time is None else datetime.fromisoformat(time).astimezone().replace(tzinfo=None)
