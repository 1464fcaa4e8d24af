from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from optformer.data.studies.trials import INTERRUPTED, Trial, TrialStatus
from optformer.serving.cli.search_display import (
    JsonDisplay,
    LineDisplay,
    LiveDisplay,
    SearchDisplay,
    create_display,
    format_seconds,
)
from optformer.serving.cli.search_progress import SearchProgress
from optformer.serving.script.script import ScriptOutcome
from optformer.serving.study.study import Study

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def study(make_study: Callable[..., Study]) -> Study:
    return make_study(goal="minimize", metric="loss")


def outcome(seconds: float = 2.0) -> ScriptOutcome:
    return ScriptOutcome({"loss": 1.0}, None, seconds, {"loss": "line 1 of stdout.txt: 'loss: 1'"})


def expecting(trial: Trial, gain: float) -> Trial:
    """The trial as if the model had suggested it."""
    prediction = SimpleNamespace(expected_improvement=gain)
    return Trial(trial.number, trial.params, explanation=SimpleNamespace(prediction=prediction))


def test_create_display__by_where_the_output_goes(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*, as_json: bool = False) -> type[SearchDisplay]:
        return type(create_display(study, trials=3, parallel=1, as_json=as_json))

    monkeypatch.setenv("TERM", "xterm")
    assert made() is LineDisplay
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert made() is LiveDisplay
    assert made(as_json=True) is JsonDisplay
    monkeypatch.setenv("TERM", "dumb")
    assert made() is LineDisplay


def test_progress__counts_finished_trials_and_estimates_the_rest(study: Study) -> None:
    earlier = [Trial(0, {}).finish(3.0), Trial(1, {}).fail(INTERRUPTED), Trial(2, {})]
    progress = SearchProgress(study.config, earlier, wanted=5, parallel=2)
    assert (progress.finished, progress.seconds_left(0.0)) == (1, None)
    progress.started(expecting(Trial(3, {}), 0.25), since=100.0)
    assert [running.trial.number for running in progress.running] == [3]
    assert progress.expected_gain == 0.25
    progress.observed(Trial(3, {}).finish(2.0), outcome(seconds=8.0))
    progress.started(Trial(4, {}), since=110.0)
    assert progress.expected_gain is None
    assert progress.seconds_left(now=114.0) == (3 * 8.0 - 4.0) / 2
    progress.observed(Trial(4, {}).finish(1.0, stopped=True), outcome(seconds=8.0))
    assert progress.best is not None
    assert progress.best.number == 3  # a trial that was stopped early is not compared
    assert progress.ended == {
        TrialStatus.COMPLETED: 2,
        TrialStatus.FAILED: 1,
        TrialStatus.STOPPED: 1,
    }


def test_live_display__terminal__table_below_the_lines(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    first, second = study.suggest(2)
    with create_display(study, trials=30, parallel=2, as_json=False) as display:
        display.started(first, time.time())
        display.started(expecting(second, 0.125), time.time() - 75)
        display.observed(study.observe(first, 0.5), outcome())
        display.ending()
    shown = _CONTROL.sub("", terminal.getvalue())
    assert "trial 0  loss 0.5  (2.0 s)" in shown
    last = shown[shown.rindex("of 30 trials") - 20 :]
    assert "1 of 30 trials" in last
    assert re.search(r"best loss +expected gain +time left +failed", last)
    assert re.search(r"0\.5 \(trial 0\) +0\.12 +0:28 +0", last)
    assert re.search(r"trial 1 +1:15 +x=", last)
    assert "once more kills them" in last


def test_live_display__pruner__shows_the_latest_value_of_each_script(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = make_study(metric="loss", storage=f"{tmp_path}/s.journal", pruner="median")
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    first, second = study.suggest(2)
    with create_display(study, trials=3, parallel=2, as_json=False) as display:
        display.started(first, time.time())
        display.started(second, time.time())
        display.reported(second, 17, 0.123456789)
        display.observed(study.observe(first, 0.5, stopped=True), outcome())
    shown = _CONTROL.sub("", terminal.getvalue())
    assert "trial 0  loss 0.5, stopped early  (2.0 s)" in shown
    assert re.search(r"\n *running +time +step +loss +parameters", shown)
    assert re.search(r"trial 1 +0:00 +17 +0\.123457 +x=.*…", shown)


def test_live_display__hostile_text__does_nothing_to_the_terminal(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(metric="[red]m\x1b]0;title\x07[/red]")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    trial = study.suggest()
    with create_display(study, trials=3, parallel=1, as_json=False) as display:
        display.started(trial, time.time())
        display.observed(study.observe(trial, failed="\x1b[2J [bold]:smile:"), outcome())
    shown = _CONTROL.sub("", terminal.getvalue().replace("\x1b[2J", "CLEARED"))
    assert "failed: \\x1b[2J [bold]:smile:" in shown
    assert "[red]m\\x1b]0;title\\x07[/red]" in shown
    assert "CLEARED" not in shown
    assert "\x1b" not in shown


def test_json_display__events__one_object_a_line(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = study.suggest(2)
    with create_display(study, trials=2, parallel=2, as_json=True) as display:
        display.started(expecting(first, 0.125), time.time())
        display.reported(first, 3, 0.75)
        display.reported(first, 4, float("nan"))
        display.observed(study.observe(first, 0.5), outcome())
        display.observed(study.observe(second, failed="é\n"), ScriptOutcome(None, "é\n", 1.0, {}))
    display.finish({"logs": "/somewhere"})
    events = list(map(json.loads, capsys.readouterr().out.splitlines()))
    search, start, report, odd, completed, failed, end = events
    assert report == {"event": "report", "trial": 0, "step": 3, "value": 0.75}
    assert odd["value"] is None
    assert search == {
        "event": "search",
        "name": "s",
        "metric": "loss",
        "goal": "minimize",
        "seed": 0,
        "trials": 2,
        "finished": 0,
    }
    assert (start["event"], start["trial"], start["expected_gain"]) == ("start", 0, 0.125)
    assert start["params"] == completed["params"] == dict(first.params)
    assert (completed["value"], completed["best"], completed["finished"]) == (0.5, 0.5, 1)
    assert completed["seconds_left"] == 1.0
    assert (failed["status"], failed["value"], failed["reason"]) == ("failed", None, "é\n")
    assert end["event"] == "end"
    assert end["ended"] == {"completed": 1, "failed": 1}
    assert end["best"]["trial"] == 0
    assert end["logs"] == "/somewhere"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0:00"), (75, "1:15"), (3600, "1:00:00"), (90061, "25:01:01")]
)
def test_format_seconds__hours_only_where_there_are_some(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_live_display__several_goals__shows_the_front(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    study = make_study(metric="accuracy", further_goals={"latency": "minimize"})
    progress = SearchProgress(study.config, [], wanted=4, parallel=1)
    with LiveDisplay(study, progress) as display:
        for number, metrics in enumerate([(0.9, 3.0), (0.8, 4.0), (0.7, 1.0)]):
            given = dict(zip(("accuracy", "latency"), metrics, strict=True))
            trial = Trial(number, {}).finish(metrics[0], metrics=given)
            display.started(expecting(Trial(number, {}), 0.25), since=time.time())
            display.observed(trial, outcome())
    assert [trial.number for trial in progress.front] == [0, 2]
    assert progress.expected_gain is None
    shown = _CONTROL.sub("", terminal.getvalue())
    assert "trial 1  accuracy 0.8, latency 4" in shown
    assert re.search(r"Pareto front .*\n2 of 3 ", shown)
    assert "expected gain" not in shown
