"""Charts of what trials have measured, for plotly.js.

A chart is a figure with the words that stand below it; the words hold its main numbers, for whoever
does not see it. Colors of text and lines of the axes are left to the page, which knows whether it
is dark; those of the data can be told apart from both backgrounds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import plotly.graph_objects as go

from optformer.data.studies.parameters import Float, Int, Parameter, Value
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.service.page.history import WORDS, History
from optformer.serving.service.page.texts import chart_text, counted, number, value_text

BLUE, GREEN, RED, ORANGE, QUIET = "#4a83c9", "#12957a", "#d1495b", "#c4741a", "#7d8790"
_RAMP = 5  # strengths of color that the page gives to lines, from the worst to the best

_DRAWN = 2_000  # trials in the history at most; more would make a phone slow
_CURVES = 80
_LINES = 300
_AXES = 24  # parameters in parallel coordinates
_TOLD = 8  # parameters in the words beside a point
_LABELED = 10  # choices of an axis that are written beside it
LARGEST = 1e100
"""What an axis reaches at most; plotly.js cannot subtract much larger ends."""

_FAR = 6.0  # how many quartile distances an axis goes beyond the quartile on the worse side


@dataclass(frozen=True)
class Chart:
    """A figure, what it is called for those who do not see it, and the words below it."""

    figure: go.Figure
    label: str
    caption: str
    wide: int = 0  # least width in pixels; more than the screen's scrolls

    @cached_property
    def script(self) -> str:
        """The figure as JSON that can stand inside of an HTML page."""
        told = json.dumps(json.loads(self.figure.to_json()), separators=(",", ":"))
        for character in "<>&":
            told = told.replace(character, f"\\u{ord(character):04x}")
        return told


def history_chart(history: History) -> Chart | None:
    """The value of every trial and the best so far; None before one can be drawn."""
    config = history.config
    values = [trial.value for trial in history.trials if trial.value is not None]
    if not any(abs(value) <= LARGEST for value in values):
        return None
    window, outside = _window(values, config.sign)
    shown = {trial.number for trial in _thinned(history)}
    last = max(trial.number for trial in history.trials)
    room = max(0.5, 0.025 * last)
    figure = new_figure()
    for name, trials, marker in (
        ("completed", history.completed, {"color": BLUE, "size": 7, "opacity": 0.8}),
        ("beyond a limit", history.beyond, {"color": QUIET, "size": 8, "symbol": "x-thin-open"}),
        (
            "pruned",
            history.of_status(TrialStatus.STOPPED),
            {"color": ORANGE, "size": 8, "symbol": "circle-open"},
        ),
    ):
        drawn = [trial for trial in trials if trial.number in shown]
        if drawn:
            figure.add_scatter(
                x=[trial.number for trial in drawn],
                y=clipped([trial.value for trial in drawn], window),
                **_points(name, [_told(history, trial) for trial in drawn], marker),
            )
    better = history.improvements
    if better:
        figure.add_scatter(
            x=[*(trial.number for trial in better), last],
            y=clipped([trial.value for trial in (*better, better[-1])], window),
            mode="lines",
            line={"shape": "hv", "color": GREEN, "width": 2.5},
            name="best so far",
            hoverinfo="skip",
        )
    for name, status, color, symbol in (
        ("failed", TrialStatus.FAILED, RED, "x"),
        ("pending", TrialStatus.PENDING, QUIET, "diamond-open"),
    ):
        drawn = [trial for trial in history.of_status(status) if trial.number in shown]
        if drawn:  # they have a place, but no value
            figure.add_scatter(
                x=[trial.number for trial in drawn],
                y=[0.02] * len(drawn),
                yaxis="y2",
                **_points(
                    name,
                    [_told(history, trial) for trial in drawn],
                    {"color": color, "size": 7, "symbol": symbol},
                ),
            )
    figure.update_layout(
        xaxis={"title": {"text": "trial"}, "tickformat": "d", "range": [-room, last + room]},
        yaxis={"title": {"text": chart_text(config.metric_name)}, "range": window},
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    )
    if last < 10:
        figure.update_xaxes(dtick=1)
    return Chart(
        figure,
        "Value of every trial and the best so far",
        _history_words(history, outside, len(history.trials) - len(shown)),
    )


def curves_chart(history: History) -> Chart | None:
    """What the latest trials reported step by step; None when none reported anything."""
    known = [trial for trial in history.trials if len(trial.intermediate_values) > 1]
    if not known:
        return None
    best = history.best
    shown = known[-_CURVES:]
    if best in known and best not in shown:
        shown = [best, *shown]
    shown.sort(key=lambda trial: trial is best)  # the best one lies on top
    reported = [value for trial in shown for value in trial.intermediate_values.values()]
    window, _ = _window(reported, history.config.sign)
    figure = new_figure()
    named: set[str] = set()
    for trial in shown:
        name, line = _curve_style(trial, trial is best)
        steps = sorted(trial.intermediate_values)
        values = [trial.intermediate_values[step] for step in steps]
        figure.add_scatter(
            x=steps,
            y=clipped([value if np.isfinite(value) else math.nan for value in values], window),
            mode="lines+markers" if len(steps) < 4 else "lines",
            line=line,
            opacity=1.0 if trial is best else 0.65,
            name=name,
            legendgroup=name,
            showlegend=name not in named,
            hovertext=f"trial {trial.number}, {WORDS[trial.status]}",
            hoverinfo="text+x+y",
        )
        if trial.status is TrialStatus.STOPPED:
            figure.add_scatter(
                x=steps[-1:],
                y=clipped(values[-1:], window),
                legendgroup=name,
                showlegend=False,
                **_points(name, [f"trial {trial.number}, pruned"], {"color": ORANGE, "size": 7}),
            )
        named.add(name)
    figure.update_layout(
        xaxis={"title": {"text": "step"}, "tickformat": "d"},
        yaxis={
            "title": {"text": chart_text(history.config.metric_name)},
            "range": window,
        },
    )
    pruned = sum(trial.status is TrialStatus.STOPPED for trial in known)
    words = f"{counted(len(known), 'trial')} reported values by step; {pruned} were pruned."
    if len(known) > len(shown):
        words += f" Drawn are the latest {len(shown)}."
    return Chart(figure, "Values reported by step", words)


def front_charts(history: History) -> list[Chart]:
    """Completed trials by the first goal and each other one, and the Pareto front among them."""
    goals = list(history.config.goals)
    charts = (_front_chart(history, goals[0], other) for other in goals[1:])
    return [chart for chart in charts if chart is not None]


def parallel_chart(history: History) -> Chart | None:
    """Every trial as a line across its parameters to its value; None when none has a value."""
    config = history.config
    valued = [trial for trial in history.trials if trial.value is not None]
    if not valued:
        return None
    ranked = sorted(valued, key=lambda trial: -config.sign * (trial.value or 0.0))
    half = _LINES // 2
    chosen = {trial.number for trial in [*ranked[:half], *valued[-half:]]}
    failed = history.of_status(TrialStatus.FAILED)[-half // 3 :]
    names = list(config.space)[:_AXES]
    values = [trial.value or 0.0 for trial in valued]
    window, _ = _window(values, config.sign)
    low, high = window if window is not None else (min(values), max(values))
    figure = new_figure()
    if failed:
        lines = [_across(history, trial, names, None) for trial in failed]
        _add_lines(figure, lines, "failed", {"color": RED, "width": 1, "dash": "dot"}, 0.55)
    best = {trial.number for trial in history.front} if config.further_goals else set()
    if history.best is not None and not config.further_goals:
        best = {history.best.number}
    shown = [trial for trial in ranked if trial.number in chosen and trial.number not in best]
    size = max(1, -(-len(shown) // _RAMP))
    for part in reversed(range(_RAMP)):  # the better ones are drawn over the others
        trials = shown[part * size : (part + 1) * size]
        heights = [_height(trial.value or 0.0, low, high) for trial in trials]
        lines = [_across(history, t, names, h) for t, h in zip(trials, heights, strict=True)]
        if lines:
            name = "best fifth" if part == 0 else "worst fifth" if part == _RAMP - 1 else ""
            ramp = _RAMP - 1 - part
            _add_lines(figure, lines, name, {"color": BLUE, "width": 1.3}, 0.8, {"ramp": ramp})
    on_top = [trial for trial in ranked if trial.number in best]
    if on_top:
        heights = [_height(trial.value or 0.0, low, high) for trial in on_top]
        lines = [_across(history, t, names, h) for t, h in zip(on_top, heights, strict=True)]
        name = "Pareto front" if config.further_goals else "best trial"
        _add_lines(figure, lines, name, {"color": GREEN, "width": 3}, 1.0)
    _mark_axes(figure, history, names, low, high)
    words = f"Lines of {counted(len(shown) + len(on_top), 'trial')}"
    if len(valued) > len(shown) + len(on_top):
        words += f" of {len(valued)}, the best and the latest"
    words += (
        ", stronger in color where the value is better; a gap is a parameter that is not active."
    )
    if len(config.space) > len(names):
        words += f" The first {len(names)} of {len(config.space)} parameters are drawn."
    if history.best is not None and not config.further_goals:
        told = ", ".join(f"{in_words(n)} = {value_text(v)}" for n, v in history.best.params.items())
        words += f" Best trial: {told}."
    return Chart(figure, "Parameters and value of every trial", words, wide=88 * (len(names) + 1))


def in_words(name: str) -> str:
    """A parameter's name in words."""
    return value_text(name)


def new_figure() -> go.Figure:
    """An empty figure without a background."""
    return go.Figure(
        layout={
            "template": None,
            "margin": {"l": 58, "r": 14, "t": 8, "b": 42},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "closest",
            "dragmode": False,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "xaxis": {"zeroline": False, "showgrid": False, "automargin": True},
            "yaxis": {"zeroline": False, "automargin": True, "nticks": 6},
        }
    )


def axis_of(parameter: Parameter, values: Sequence[Value]) -> dict[str, Any]:
    """The settings of an axis along a parameter whose choices lie at 0, 1, ..."""
    if isinstance(parameter, Float | Int):
        low, high = float(parameter.low), float(parameter.high)
        if not parameter.log:
            room = 0.04 * (high - low)
            return {"range": [low - room, high + room], "nticks": 5}
        bottom, top = math.log10(low), math.log10(high)
        room = 0.04 * (top - bottom)
        ticks = _log_ticks(low, high)
        return {
            "type": "log",
            "range": [bottom - room, top + room],
            "tickvals": ticks,
            "ticktext": [_short(tick) for tick in ticks],
        }
    step = max(1, -(-len(values) // _LABELED))
    places = list(range(0, len(values), step))
    texts = [chart_text(value_text(values[place]), 14) for place in places]
    return {"tickvals": places, "ticktext": texts, "range": [-0.6, len(values) - 0.4]}


def _log_ticks(low: float, high: float) -> list[float]:
    """Up to seven round numbers between two ends."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1,)):
        ticks = [float(f"{digit}e{exponent}") for exponent in exponents for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 7:
            return ticks or [low, high]
    return ticks[:: -(-len(ticks) // 7)]


def _short(value: float) -> str:
    """A number as it stands beside an axis: `1e-5`."""
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")


def value_window(values: Sequence[float], sign: float) -> list[float] | None:
    """The range of an axis of values, None where all of them can be shown."""
    return _window(values, sign)[0]


def clipped(values: Sequence[float | None], window: Sequence[float] | None) -> list[float]:
    """Values no farther outside of a window than a browser can draw; NaN for None."""
    known = [math.nan if value is None else value for value in values]
    if window is None:
        return known
    room = 2 * (window[1] - window[0])
    low, high = window[0] - room, window[1] + room
    return [value if math.isnan(value) else min(max(value, low), high) for value in known]


def _front_chart(history: History, across: str, up: str) -> Chart | None:
    config = history.config
    known = {
        trial.number: config.metrics_of(trial)
        for trial in history.trials
        if trial.status is TrialStatus.COMPLETED and _has(config.metrics_of(trial), across, up)
    }
    front = sorted(
        (trial for trial in history.front if trial.number in known),
        key=lambda trial: known[trial.number][across],
    )
    if not known:
        return None
    on_front = {trial.number for trial in front}
    beaten = [t for t in history.completed if t.number in known and t.number not in on_front]
    beyond = [trial for trial in history.beyond if trial.number in known]
    figure = new_figure()
    for name, trials, marker in (
        ("beaten", beaten, {"color": BLUE, "size": 7, "opacity": 0.7}),
        ("beyond a limit", beyond, {"color": QUIET, "size": 8, "symbol": "x-thin-open"}),
        ("Pareto front", front, {"color": GREEN, "size": 10}),
    ):
        if trials:
            figure.add_scatter(
                x=[known[trial.number][across] for trial in trials],
                y=[known[trial.number][up] for trial in trials],
                **_points(name, [_told(history, trial) for trial in trials], marker),
            )
    if front and len(config.goals) == 2:  # what the front is sure to reach
        figure.add_scatter(
            x=[known[trial.number][across] for trial in front],
            y=[known[trial.number][up] for trial in front],
            mode="lines",
            line={
                "shape": "vh" if config.goals[across] == "maximize" else "hv",
                "color": GREEN,
                "width": 2,
            },
            showlegend=False,
            hoverinfo="skip",
        )
    for name, limit in config.limits.items():
        if name in (across, up):
            draw = figure.add_vline if name == across else figure.add_hline
            draw(limit.bound, line={"color": QUIET, "dash": "dash", "width": 1})
    figure.update_xaxes(title={"text": f"{chart_text(across)} ({config.goals[across]})"})
    figure.update_yaxes(title={"text": f"{chart_text(up)} ({config.goals[up]})"})
    words = f"{counted(len(front), 'trial')} of {len(known)} are on the Pareto front"
    if front:
        ends = [known[front[0].number], known[front[-1].number]]
        words += ", from " + " to ".join(
            f"{in_words(across)} {number(end[across])} with {in_words(up)} {number(end[up])}"
            for end in ends[: len(front)]
        )
    return Chart(figure, f"Trials by {in_words(across)} and {in_words(up)}", f"{words}.")


def _has(metrics: Mapping[str, float], *names: str) -> bool:
    """Whether there are such metrics, and they can be drawn."""
    return all(abs(metrics.get(name, math.inf)) <= LARGEST for name in names)


def _thinned(history: History) -> list[Trial]:
    """At most `_DRAWN` trials or a few more: every improvement, and others evenly."""
    trials = list(history.trials)
    if len(trials) <= _DRAWN:
        return trials
    kept = {*np.linspace(0, len(trials) - 1, _DRAWN).astype(int).tolist()}
    kept |= {trial.number for trial in history.improvements}
    return [trial for trial in trials if trial.number in kept]


def _window(values: Sequence[float], sign: float) -> tuple[list[float] | None, int]:
    """The range of an axis that a few far worse values do not crush, and how many lie outside.

    None where the axis may show everything.
    """
    finite = np.asarray([value for value in values if abs(value) <= LARGEST])
    huge = len(values) - len(finite)
    if len(finite) < 4 and not huge:
        return None, 0
    gains = sign * finite if len(finite) else np.zeros(1)
    low, middle, top = np.quantile(gains, (0.25, 0.5, 1.0))
    spread = max(top - middle, middle - low)
    floor = low - _FAR * spread if spread > 0 and len(gains) > 3 else gains.min()
    outside = int((gains < floor).sum()) + huge
    if not outside:
        return None, 0
    floor = float(gains[gains >= floor].min())
    room = 0.06 * (top - floor) or 1.0
    ends = [sign * (floor - room), sign * (float(top) + room)]
    return sorted(ends), outside


def _history_words(history: History, outside: int, left_out: int) -> str:
    counts = ", ".join(f"{n} {WORDS[status]}" for status, n in history.counts.items() if n)
    words = f"{counted(len(history.trials), 'trial')}: {counts}."
    best = history.improvements[-1] if history.improvements else None
    if best is not None:
        words += (
            f" The best {value_text(history.config.metric_name)} is {number(best.value)}, "
            f"of trial {best.number}"
        )
        before = len(history.improvements) - 1
        words += f", after {counted(before, 'improvement')}." if before else "."
    if outside:
        words += f" Outside of the chart: {counted(outside, 'trial')} with extreme values."
    if left_out:
        words += f" Left out of the drawing: {counted(left_out, 'trial')}."
    return words


def _curve_style(trial: Trial, best: bool) -> tuple[str, dict[str, Any]]:
    if best:
        return "best trial", {"color": GREEN, "width": 3}
    color = {TrialStatus.STOPPED: ORANGE, TrialStatus.FAILED: RED}.get(trial.status, BLUE)
    dash = "dot" if trial.status is TrialStatus.FAILED else "solid"
    return WORDS[trial.status], {"color": color, "width": 1.3, "dash": dash}


def _points(name: str, texts: Sequence[str], marker: dict[str, Any]) -> dict[str, Any]:
    """What the points of one kind of trials share."""
    if str(marker.get("symbol", "")).endswith("-thin-open"):
        marker = {**marker, "line": {"width": 1.5, "color": marker["color"]}}
    return {
        "mode": "markers",
        "name": name,
        "marker": marker,
        "hovertext": texts,
        "hoverinfo": "text",
    }


def _told(history: History, trial: Trial) -> str:
    """What stands beside a point."""
    head = f"<b>trial {trial.number}</b>, {WORDS[trial.status]}"
    metrics = history.config.metrics_of(trial)
    lines = [f"{chart_text(name)}: {number(value)}" for name, value in metrics.items()]
    if trial.reason:
        lines.append(chart_text(trial.reason, 60))
    params = list(trial.params.items())
    lines += [f"{chart_text(n)} = {chart_text(value_text(v))}" for n, v in params[:_TOLD]]
    if len(params) > _TOLD:
        lines.append(f"and {len(params) - _TOLD} more")
    return "<br>".join([head, *lines])


def _across(
    history: History, trial: Trial, names: Sequence[str], end: float | None
) -> list[float | None]:
    space = history.config.space
    return [*(_unit(space[name], trial, name) for name in names), end]


def _unit(parameter: Parameter, trial: Trial, name: str) -> float | None:
    """Where a trial's value lies on a vertical axis, from 0 to 1; None where it has none there."""
    if name not in trial.params:
        return None
    value = trial.params[name]
    if isinstance(parameter, Float | Int):
        unit = parameter.to_unit(value)
        return unit if 0 <= unit <= 1 else None  # Optuna takes values outside of the space, too
    if value not in parameter.choices:
        return None
    return parameter.index(value) / max(1, len(parameter.choices) - 1)


def _height(value: float, low: float, high: float) -> float:
    """Where a value lies between two ends, from 0 to 1."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0)) if high > low else 0.5


def _add_lines(
    figure: go.Figure,
    lines: Sequence[Sequence[float | None]],
    name: str,
    style: dict[str, Any],
    opacity: float,
    meta: dict[str, int] | None = None,
) -> None:
    """Lines as one trace, with a gap after each."""
    width = len(lines[0])
    figure.add_scatter(
        x=[place for _ in lines for place in (*range(width), None)],
        y=[height for line in lines for height in (*line, None)],
        mode="lines+markers",
        marker={"size": 3},
        line=style,
        opacity=opacity,
        meta=meta,
        name=name,
        showlegend=bool(name),
        hoverinfo="skip",
    )


def _mark_axes(
    figure: go.Figure, history: History, names: Sequence[str], low: float, high: float
) -> None:
    """Vertical axes with their names and ends."""
    space, metric = history.config.space, history.config.metric_name
    marks = [(place, *mark) for place, name in enumerate(names) for mark in _marks(space[name])]
    marks += [(len(names), 0.0, number(low, 4)), (len(names), 1.0, number(high, 4))]
    for place in range(len(names) + 1):
        figure.add_vline(place, line={"color": QUIET, "width": 1}, layer="below")
    for place, height, text in marks:
        figure.add_annotation(
            x=place, y=height, text=text, xanchor="left", xshift=4, showarrow=False, name="mark"
        )
    figure.update_xaxes(
        tickvals=list(range(len(names) + 1)),
        ticktext=[*(chart_text(name, 18) for name in names), f"<b>{chart_text(metric, 18)}</b>"],
        range=[-0.45, len(names) + 0.65],
        showline=False,
        ticklabeloverflow="allow",
    )
    figure.update_yaxes(visible=False, range=[-0.06, 1.06])
    figure.update_layout(margin={"l": 10, "r": 10})


def _marks(parameter: Parameter) -> list[tuple[float, str]]:
    """Where a vertical axis is labeled, and how."""
    if isinstance(parameter, Float | Int):
        ends = ((0.0, parameter.low), (1.0, parameter.high))
        return [(height, _short(end)) for height, end in ends]
    choices = list(parameter.choices)
    if len(choices) > _LABELED:
        choices = [choices[0], choices[-1]]
    last = max(1, len(parameter.choices) - 1)
    return [(parameter.index(c) / last, chart_text(value_text(c), 12)) for c in choices]
