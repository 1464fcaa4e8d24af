"""Timings: shape and refusals; the numbers depend on the machine."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.serving.benchmarks import timing
from optformer.serving.benchmarks.timing import (
    FreshProcess,
    SuggestionTime,
    time_fresh_process,
    time_suggestions,
    timing_table,
)


def test_time_suggestions__two_methods__measures_each_history() -> None:
    seen: list[SuggestionTime] = []
    times = time_suggestions(
        ["random", "tpe"], histories=(2, 20), repeats=2, on_measured=seen.append
    )
    assert times == seen
    assert [(t.method, t.history) for t in times] == [
        ("random", 2),
        ("tpe", 2),
        ("random", 20),
        ("tpe", 20),
    ]
    assert all(0 < t.seconds < 5 for t in times)


def test_time_suggestions__space__has_seven_parameters() -> None:
    assert len(timing.timing_study().space) == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["bohb"]}, "unknown search method 'bohb'"),
        ({"histories": (0,)}, r"histories must be at least 1, got \[0\]"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
    ],
)
def test_time_suggestions__impossible__is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        time_suggestions(**{"methods": ["random"], **changes})


def test_timing_table__measurements__are_milliseconds_in_markdown() -> None:
    times = [
        SuggestionTime("tpe", 10, 0.0021),
        SuggestionTime("gp", 10, 0.2),
        SuggestionTime("tpe", 1000, 0.01),
        SuggestionTime("gp", 1000, 4.5),
    ]
    text = timing_table(times, FreshProcess(0.104, 2.5, 300 * 2**20))
    assert text.splitlines() == [
        "| Milliseconds a suggestion after | 10 trials | 1,000 trials |",
        "|---|---:|---:|",
        "| `tpe` | 2.1 | 10.0 |",
        "| `gp` | 200.0 | 4500.0 |",
        "",
        "| Fresh process | |",
        "|---|---:|",
        "| `import optformer` | 0.10 s |",
        "| first suggestion, import included | 2.50 s |",
        "| peak memory | 300 MiB |",
    ]


def _answer(monkeypatch: pytest.MonkeyPatch, **answer: Any) -> None:
    def run(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, **answer)

    monkeypatch.setattr(subprocess, "run", run)


def test_time_fresh_process__answers__are_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    _answer(monkeypatch, returncode=0, stdout="[0.1, 2.0, 1024]\n", stderr="")
    assert time_fresh_process(repeats=3) == FreshProcess(0.1, 2.0, 2**20)


def test_time_fresh_process__fails__tells_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, returncode=1, stdout="", stderr="Traceback\nImportError: no planner\n")
    with pytest.raises(ObjectiveError, match="ImportError: no planner"):
        time_fresh_process(repeats=1)


def test_fresh_process__script__is_valid_python() -> None:
    compile(timing._FRESH_PROCESS, "fresh", "exec")
