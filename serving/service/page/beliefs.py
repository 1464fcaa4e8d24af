"""What the model believes of a study: the slow parts of its page.

Each part is computed for one history and says what it cannot tell, with the library's own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optformer.data.studies.errors import OptFormerError, SearchSpaceError, StudyError
from optformer.data.studies.parameters import Float, Int, Parameter, Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.service.page.charts import (
    BLUE,
    GREEN,
    LARGEST,
    QUIET,
    RED,
    Chart,
    axis_of,
    clipped,
    in_words,
    new_figure,
    value_window,
)
from optformer.serving.service.page.history import History
from optformer.serving.service.page.texts import chart_text, number, value_text
from optformer.serving.study.responses import Response, predict_response, waking_values
from optformer.serving.study.study import Study

if TYPE_CHECKING:
    from optformer.planning.prediction import Explanation, Prediction

RESPONSES = 6
"""Parameters whose response is drawn at a time."""

_POINTS = 31  # of a numeric parameter; the curves of the model are smooth
_SOURCES = {
    "start": "one of the first trials, which together cover the space",
    "space": "drawn from the whole space",
    "optimum": "drawn from what the model believes about where the best lies",
    "mutation": "a change of one of the best trials",
    "axis": "a move of a few parameters of one of the best trials",
    "local": "a small step around the most promising point",
}


@dataclass(frozen=True)
class NextTrial:
    """The trial that comes next, and why.

    Attributes:
        trial: The trial, which is not stored.
        explanation: Why it was chosen; None when somebody has enqueued it.
        nearest: The most similar past trials.
        gain_share: The expected gain as a share of the range of all values so far; None when it is
            not known.
    """

    trial: Trial
    explanation: Explanation | None
    nearest: Sequence[Trial]
    gain_share: float | None

    @property
    def prediction(self) -> Prediction | None:
        """What is expected of it; None before any value is known."""
        return None if self.explanation is None else self.explanation.prediction

    @property
    def source(self) -> str:
        """Who proposed it, in words."""
        if self.explanation is None:
            return "enqueued by somebody"
        return _SOURCES.get(self.explanation.source, self.explanation.source)


def next_trial(study: Study, history: History) -> NextTrial:
    """What the study would suggest now; nothing is stored.

    Raises:
        OptFormerError: There is no suggestion.
    """
    trial = study.preview()
    explanation = trial.explanation
    near = () if explanation is None else explanation.nearest
    by_number = {each.number: each for each in history.trials}
    nearest = [by_number[n] for n in near if n in by_number]
    return NextTrial(trial, explanation, nearest, _gain_share(explanation, history))


def importances(study: Study) -> dict[str, list[tuple[str, float]]]:
    """For each goal the parameters and their shares, the largest first.

    Raises:
        OptFormerError: They cannot be rated yet.
    """
    return {goal: list(study.importances(metric=goal).items()) for goal in study.config.goals}


@dataclass(frozen=True)
class ParameterResponse:
    """The response of each goal along one parameter, or why there is none."""

    parameter: str
    charts: Mapping[str, Chart]
    reason: str = ""


def response_order(study: Study) -> list[str]:
    """Parameters that are not fixed, the most important first."""
    names = [name for name in study.config.space if name not in study.config.fixed]
    try:
        rated = dict(study.importances())
    except OptFormerError:  # too few trials
        rated = {}
    return sorted(names, key=lambda name: -rated.get(name, 0.0))


def response_charts(study: Study, names: Sequence[str]) -> list[ParameterResponse]:
    """The predicted response along some parameters.

    Raises:
        OptFormerError: There is no prediction yet.
    """
    charts = []
    for name in names:
        at = waking_values(study.config.space, name)
        fixed = study.config.fixed
        if any(parent in fixed and fixed[parent] != value for parent, value in at.items()):
            charts.append(ParameterResponse(name, {}, "It is not active in this study."))
            continue
        if _is_endless(study.config.space[name]):
            charts.append(ParameterResponse(name, {}, "Its range is too wide to be drawn."))
            continue
        try:
            response = _response(study, name, at)
        except (SearchSpaceError, StudyError) as error:
            if study.best_trials:
                charts.append(ParameterResponse(name, {}, str(error)))
                continue
            raise
        drawn = {goal: _response_chart(study.config, response, goal) for goal in study.config.goals}
        charts.append(ParameterResponse(name, drawn))
    return charts


def _is_endless(parameter: Parameter) -> bool:
    if not isinstance(parameter, Float) or parameter.log:
        return False
    return max(abs(parameter.low), abs(parameter.high)) > LARGEST


def _response(study: Study, name: str, at: Mapping[str, Value]) -> Response:
    """Where a parameter is not active in the best trial, it is woken."""
    try:
        return predict_response(study, name, count=_POINTS)
    except StudyError:
        if not at:
            raise
        return predict_response(study, name, at, count=_POINTS)


def _response_chart(config: StudyConfig, response: Response, goal: str) -> Chart:
    parameter = config.space[response.parameter]
    numeric = isinstance(parameter, Float | Int)
    values = list(response.values)
    places: list[Any] = values if numeric else list(range(len(values)))
    predictions = [prediction.metrics.get(goal, prediction) for prediction in response.predictions]
    measured = {
        trial.number: config.metrics_of(trial)[goal]
        for trial in response.trials
        if goal in config.metrics_of(trial)
    }
    sign = 1.0 if config.goals[goal] == "maximize" else -1.0
    ends = [quantile for p in predictions for quantile in (p.quantiles[0.05], p.quantiles[0.95])]
    window = value_window([*measured.values(), *ends], sign)
    figure = new_figure()
    for low, high, color in (
        (0.05, 0.95, "rgba(74,131,201,.18)"),
        (0.25, 0.75, "rgba(74,131,201,.30)"),
    ):
        lower = clipped([prediction.quantiles[low] for prediction in predictions], window)
        upper = clipped([prediction.quantiles[high] for prediction in predictions], window)
        name = f"{100 * (high - low):.0f} % of the prediction"
        if numeric:
            figure.add_scatter(
                x=[*places, *reversed(places)],
                y=[*upper, *reversed(lower)],
                fill="toself",
                fillcolor=color,
                mode="none",
                hoverinfo="skip",
                name=name,
            )
        else:
            figure.add_bar(
                x=places,
                y=np.subtract(upper, lower).tolist(),
                base=lower,
                width=0.5,
                marker={"color": color, "line": {"width": 0}},
                hoverinfo="skip",
                name=name,
            )
    figure.add_scatter(
        x=places,
        y=clipped([prediction.mean for prediction in predictions], window),
        mode="lines" if numeric else "markers",
        line={"color": BLUE, "width": 2.5},
        marker={"color": BLUE, "symbol": "line-ew-open", "size": 22, "line": {"width": 3}},
        hovertext=[
            f"{chart_text(value_text(value))}<br>predicted {number(p.mean)}<br>90 %: "
            f"{number(p.quantiles[0.05])} to {number(p.quantiles[0.95])}"
            for value, p in zip(values, predictions, strict=True)
        ],
        hoverinfo="text",
        name="predicted mean",
    )
    seen = dict(zip(measured, clipped(list(measured.values()), window), strict=True))
    _add_trials(figure, response, measured, seen, None if numeric else values)
    figure.update_layout(
        barmode="overlay",
        showlegend=False,
        margin={"l": 50, "r": 8, "t": 6, "b": 26},
        yaxis={"range": window, "nticks": 5},
    )
    figure.update_xaxes(**axis_of(parameter, values))
    return Chart(
        figure,
        f"Predicted {in_words(goal)} along {in_words(response.parameter)}",
        _response_words(response, predictions, goal, sign),
    )


def _add_trials(
    figure: Any,
    response: Response,
    measured: Mapping[int, float],
    seen: Mapping[int, float],
    choices: list[Value] | None,
) -> None:
    """Dots for past trials, which differ in the other parameters, too."""
    name, best = response.parameter, response.best

    def place(trial: Trial) -> float:
        value = trial.params[name]
        return float(value if choices is None else choices.index(value))

    legal = [t for t in response.trials if name in t.params]
    if choices is not None:
        legal = [trial for trial in legal if trial.params[name] in choices]
    shown = [t for t in legal if t.number in measured and t.number != best.number][-500:]
    for trials, marker in (
        (shown, {"color": QUIET, "size": 5, "opacity": 0.6}),
        ([best] if best in legal else [], {"color": GREEN, "size": 12, "symbol": "star"}),
    ):
        if trials:
            figure.add_scatter(
                x=[place(trial) for trial in trials],
                y=[seen[trial.number] for trial in trials],
                mode="markers",
                marker=marker,
                hovertext=[f"trial {t.number}: {number(measured[t.number])}" for t in trials],
                hoverinfo="text",
            )
    failed = [trial for trial in legal if trial.status is TrialStatus.FAILED][-200:]
    if failed:
        figure.add_scatter(
            x=[place(trial) for trial in failed],
            y=[0.03] * len(failed),
            yaxis="y2",
            mode="markers",
            marker={"color": RED, "size": 5, "symbol": "x", "opacity": 0.7},
            hovertext=[f"trial {trial.number}: failed" for trial in failed],
            hoverinfo="text",
        )
        figure.update_layout(
            yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
        )


def _response_words(
    response: Response, predictions: Sequence[Prediction], goal: str, sign: float
) -> str:
    gains = [sign * prediction.mean for prediction in predictions]
    top, low = int(np.argmax(gains)), int(np.argmin(gains))
    metric = in_words(goal)
    best, worst = predictions[top], predictions[low]
    words = (
        f"Best near {_rough(response.values[top])}: {metric} {number(best.mean, 4)} "
        f"(90 %: {number(best.quantiles[0.05], 4)} to {number(best.quantiles[0.95], 4)}). "
        f"Worst near {_rough(response.values[low])}: {number(worst.mean, 4)}."
    )
    if response.held:
        held = ", ".join(f"{in_words(n)} = {value_text(v)}" for n, v in response.held.items())
        words += f" With {held}."
    return words


def _rough(value: Value) -> str:
    return number(value, 2) if isinstance(value, float) else value_text(value)


def _gain_share(explanation: Explanation | None, history: History) -> float | None:
    prediction = None if explanation is None else explanation.prediction
    values = [trial.value for trial in history.trials if trial.value is not None]
    if prediction is None or not values or max(values) == min(values):
        return None
    return prediction.expected_improvement / (max(values) - min(values))
