from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optformer.data.studies.errors import SearchSpaceError, StudyError
from optformer.data.studies.limits import read_limits
from optformer.data.studies.parameters import Value
from optformer.serving.study.front_plots import plot_front
from optformer.serving.study.parameter_plots import plot_contour, plot_parallel_coordinates
from optformer.serving.study.plots import best_so_far, plot_comparison, plot_history, plot_response
from optformer.serving.study.responses import predict_response, waking_values
from optformer.serving.study.study import Study


@pytest.fixture
def study(make_study: Callable[..., Study], point: dict[str, Value]) -> Study:
    """Five trials of four statuses; trial 1 is the best."""
    study = make_study(name="digits")
    study.observe(point, 0.5)
    study.observe({**point, "kind": "sgd", "momentum": 0.9}, 0.8)
    study.observe({**point, "x": 0.05}, failed="diverged")
    study.observe({**point, "layers": 8}, 0.3, stopped=True)
    study.suggest()
    return study


def test_plot_history__every_status__is_drawn_and_labelled(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "history.png"
    figure = plot_history(study, path)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trial", "accuracy")
    drawn: dict[object, Any] = {item.get_label(): item for item in [*axes.collections, *axes.lines]}
    assert list(drawn) == ["completed", "stopped", "failed", "best so far"]
    assert drawn["completed"].get_offsets().tolist() == [[0, 0.5], [1, 0.8]]
    assert drawn["stopped"].get_offsets().tolist() == [[3, 0.3]]
    assert drawn["failed"].get_offsets()[0][0] == 2
    assert list(drawn["best so far"].get_ydata()) == [0.5, 0.8, 0.8]
    assert path.read_bytes().startswith(b"\x89PNG")


def test_plot_history__only_failures__is_drawn(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study()
    with pytest.raises(StudyError, match="no observed trial to plot"):
        plot_history(study)
    study.observe(point, failed="diverged")
    assert [item.get_label() for item in plot_history(study).axes[0].collections] == [
        "completed",
        "failed",
    ]


def test_plot_response__log_parameter__has_bands_around_the_mean(
    study: Study, tmp_path: Path
) -> None:
    path = tmp_path / "response.svg"
    (axes,) = plot_response(study, "x", path).axes
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "x", "accuracy")
    labels = [item.get_label() for item in [*axes.collections, *axes.lines]]
    assert labels == [
        "90 % of the prediction",
        "50 % of the prediction",
        "trials",
        "best trial",
        "failed",
        "predicted mean",
    ]
    places, means = np.asarray(axes.lines[0].get_data())
    assert (places[0], places[-1]) == (pytest.approx(1e-6), pytest.approx(1e-1))
    assert means == pytest.approx(5 + places)  # what the fixture's planner predicts
    assert path.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("parameter", "ticks"),
    [("kind", ["sgd", "adam", "None"]), ("width", ["16", "32", "64"]), ("bias", ["True", "False"])],
)
def test_plot_response__choices__are_bars_with_their_names(
    study: Study, parameter: str, ticks: list[str]
) -> None:
    (axes,) = plot_response(study, parameter).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ticks
    assert len(axes.patches) == 2 * len(ticks)


def test_plot_response__child_awakened_on_the_way__takes_its_best_value(
    make_study: Callable[..., Study], point: dict[str, Value], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    study.observe(point, 0.9)
    asked: list[dict[str, Value]] = []
    predict = study.predict

    def listen(points: Sequence[Mapping[str, Value]]) -> Any:
        asked.extend(map(dict, points))
        return predict(points)

    monkeypatch.setattr(study, "predict", listen)
    plot_response(study, "kind")
    assert [p.get("momentum") for p in asked] == [pytest.approx(0.495), None, None]
    study.observe({**point, "kind": "sgd", "momentum": 0.2}, 0.1)
    asked.clear()
    plot_response(study, "kind")
    assert [p.get("momentum") for p in asked] == [0.2, None, None]


def test_plot_response__impossible__says_why(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study()
    with pytest.raises(StudyError, match="no completed trial yet"):
        plot_response(study, "x")
    study.observe(point, 0.5)
    with pytest.raises(StudyError, match="unknown parameter 'y'"):
        plot_response(study, "y")
    with pytest.raises(StudyError, match="'momentum' is inactive in the best trial, number 0"):
        plot_response(study, "momentum")


def test_plot_comparison__several_searches__shows_the_best_so_far(tmp_path: Path) -> None:
    figure = plot_comparison(
        {"ours": [0.5, 0.2, 0.8], "random": [math.nan, 0.9]},
        goal="minimize",
        metric="loss",
        title="digits",
        path=tmp_path / "c.png",
    )
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trials", "best loss so far")
    assert [line.get_label() for line in axes.lines] == ["ours", "random"]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [0.5, 0.2, 0.2]
    assert (tmp_path / "c.png").exists()
    with pytest.raises(StudyError, match="no value to plot"):
        plot_comparison({"ours": []}, goal="minimize")


def test_best_so_far__failures__count_as_no_value() -> None:
    assert best_so_far([1.0, math.nan, 3.0, 2.0], "maximize") == [1.0, 1.0, 3.0, 3.0]
    assert best_so_far([1.0, 2.0, 0.5], "minimize") == [1.0, 1.0, 0.5]
    assert math.isnan(best_so_far([math.nan, 1.0], "minimize")[0])


def test_plots__in_a_fresh_process__need_no_pyplot() -> None:
    code = (
        "import sys; from optformer.serving.study.plots import plot_comparison;"
        "assert 'matplotlib' not in sys.modules;"
        "plot_comparison({'a': [1.0]}, goal='maximize');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_plot_contour__two_parameters__shows_prediction_and_trials(
    study: Study, tmp_path: Path
) -> None:
    axes, colors = plot_contour(study, "x", "layers", tmp_path / "contour.png").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "layers")
    assert axes.get_xscale() == "log"
    assert colors.get_ylabel() == "predicted accuracy"
    labeled: dict[object, Any] = {item.get_label(): item for item in axes.collections}
    dots, star = labeled["trials"], labeled["best trial"]
    assert dots.get_offsets().tolist() == [[0.001, 3], [0.001, 3], [0.001, 8]]
    assert star.get_offsets().tolist() == [[0.001, 3]]
    assert (tmp_path / "contour.png").read_bytes().startswith(b"\x89PNG")


def test_plot_contour__inactive_for_some_choices__is_empty_there(study: Study) -> None:
    axes = plot_contour(study, "kind", "momentum").axes[0]
    heights = axes.collections[0].get_array()
    assert heights.mask.any(axis=0).tolist() == [False, True, True]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sgd", "adam", "None"]


@pytest.mark.parametrize(
    ("x", "y", "text"), [("x", "depth", "unknown parameter 'depth'"), ("x", "x", "'x' twice")]
)
def test_plot_contour__wrong_parameters__are_named(study: Study, x: str, y: str, text: str) -> None:
    with pytest.raises(StudyError, match=text):
        plot_contour(study, x, y)


def test_plot_parallel_coordinates__trials__are_lines_that_break_where_inactive(
    study: Study,
) -> None:
    (axes,) = plot_parallel_coordinates(study, parameters=["kind", "momentum", "layers"]).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "kind",
        "momentum",
        "layers",
        "accuracy",
    ]
    lines = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 4]
    assert len(lines) == 4  # the pending trial has none
    assert np.isnan(lines[0]).tolist() == [False, True, False, False]
    assert lines[1][-1] == 1.0
    assert np.isnan(lines[2][-1])
    with pytest.raises(StudyError, match="unknown parameter 'depth'"):
        plot_parallel_coordinates(study, parameters=["depth"])


def _labels(figure: Any) -> dict[str, Any]:
    """What is drawn, by its name in the legend."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def _several(make_study: Callable[..., Study], **goals: str) -> Study:
    limits = read_limits({"memory": "<= 8", "latency": "<= 20"})
    study = make_study(further_goals={"latency": "minimize", **goals}, limits=limits)
    rows = ((0.9, 9, 4), (0.8, 3, 4), (0.7, 5, 8), (0.95, 2, 9))
    for accuracy, latency, memory in rows:
        told = {"accuracy": accuracy, "latency": latency, "memory": memory, "size": -accuracy}
        study.observe(study.suggest(), told)
    return study


def test_plot_front__two_goals_and_limits__trials_are_told_apart(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    path = tmp_path / "front.png"
    figure = plot_front(_several(make_study), path=path)
    drawn = _labels(figure)
    assert drawn["Pareto front"].get_offsets().tolist() == [[0.8, 3.0], [0.9, 9.0]]
    assert drawn["beaten"].get_offsets().tolist() == [[0.7, 5.0]]
    assert drawn["beyond a limit"].get_offsets().tolist() == [[0.95, 2.0]]
    assert drawn["latency <= 20.0"].get_ydata() == [20.0, 20.0]
    assert path.stat().st_size > 1000


def test_plot_front__goals_chosen__first_is_to_the_right(make_study: Callable[..., Study]) -> None:
    study = _several(make_study, size="minimize")
    axes = plot_front(study, ("latency", "size")).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latency (minimize)", "size (minimize)")
    assert len(axes.lines) == 1  # the limit: no line through a front of three goals
    with pytest.raises(StudyError, match="unknown goal 'memory'; this study has"):
        plot_front(study, ("latency", "memory"))


def test_plot_front__nothing_to_draw__says_why(make_study: Callable[..., Study]) -> None:
    with pytest.raises(StudyError, match="has one goal; plot_history draws it"):
        plot_front(make_study())
    empty = make_study(further_goals={"latency": "minimize"})
    with pytest.raises(StudyError, match="has no completed trial to plot yet"):
        plot_front(empty)


def test_plot_history__limit__best_is_of_the_trials_that_keep_it(
    make_study: Callable[..., Study],
) -> None:
    figure = plot_history(_several(make_study))
    drawn = _labels(figure)
    assert drawn["beyond a limit"].get_offsets().tolist() == [[3.0, 0.95]]
    assert max(drawn["best so far"].get_ydata()) == 0.9


def test_plot_response__inactive_in_the_best_trial__is_plotted_at_values_that_wake_it(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study()
    study.observe(point, 0.5)
    (axes,) = plot_response(study, "momentum", at={"kind": "sgd"}).axes
    assert "kind = sgd" in axes.get_title(loc="left")
    with pytest.raises(StudyError, match="give such values with at="):
        plot_response(study, "momentum", at={"x": 1e-3})
    with pytest.raises(SearchSpaceError, match="'kind'"):
        plot_response(study, "momentum", at={"kind": "no such"})


def test_plot_history__failures_before_the_first_value__are_in_sight(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study()
    for _ in range(5):
        study.observe(point, failed="out of memory")
    for value in (0.5, 0.4):
        study.observe(point, value)
    (axes,) = plot_history(study).axes
    low, high = axes.get_xlim()
    assert low <= 0
    assert high >= 6


def test_predict_response__several_goals__holds_the_fronts_best_of_the_first(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study(
        further_goals={"latency": "minimize"}, limits=read_limits({"latency": "<= 5"})
    )
    for accuracy, latency in ((0.5, 1.0), (0.7, 2.0), (0.9, 9.0)):
        study.observe(
            {**point, "layers": int(latency) % 8 + 1}, {"accuracy": accuracy, "latency": latency}
        )
    response = predict_response(study, "x", count=5)
    assert (response.best.number, len(response.values), len(response.predictions)) == (1, 5, 5)
    with pytest.raises(StudyError, match="inactive in the best trial, number 1"):
        predict_response(study, "momentum")
    at = waking_values(study.config.space, "momentum")
    assert at == {"kind": "sgd"}
    assert predict_response(study, "momentum", at).held == at
