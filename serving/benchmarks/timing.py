"""Measure how long a suggestion takes beside Optuna's samplers, and what a fresh process costs."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optformer.data.methods import METHODS
from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.data.studies.parameters import Categorical, Float, Int, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.serving.benchmarks.methods import create_method

HISTORIES = (10, 50, 100, 300, 1000)
"""Numbers of finished trials at which a suggestion is timed."""

_WARM_UP = 12  # past the random start-up of every method

_FRESH_PROCESS = """
import json, resource, sys, time
model = sys.argv[1] or None
start = time.perf_counter()
import optformer
imported = time.perf_counter()
space = optformer.SearchSpace.from_dict(json.loads(sys.argv[2]))
study = optformer.create_study(space, metric="accuracy", goal="maximize", model=model, seed=0)
study.suggest()
suggested = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([imported - start, suggested - start, peak]))
"""


@dataclass(frozen=True)
class SuggestionTime:
    """Wall-clock time of one suggestion.

    Attributes:
        method: Name of the method.
        history: Finished trials before it.
        seconds: Median over the repeats.
    """

    method: str
    history: int
    seconds: float


@dataclass(frozen=True)
class FreshProcess:
    """What the first suggestion costs in a new process; medians over the repeats.

    Attributes:
        import_seconds: `import optformer`.
        first_suggestion_seconds: From before the import until the first suggestion is there.
        peak_bytes: Largest resident memory.
    """

    import_seconds: float
    first_suggestion_seconds: float
    peak_bytes: int


def time_suggestions(
    methods: Sequence[str],
    *,
    histories: Sequence[int] = HISTORIES,
    repeats: int = 5,
    model: Path | None = None,
    on_measured: Callable[[SuggestionTime], None] | None = None,
) -> list[SuggestionTime]:
    """Time suggestions in a space of 7 parameters, all methods in this process.

    Each repeat starts the method on a fresh history of random points, asks once unmeasured, as a
    study in use has been asked before, tells the value and measures the next suggestion.

    Args:
        methods: Names of methods.
        histories: Numbers of finished trials, each at least 1.
        repeats: Measurements behind each median, at least 1.
        model: Checkpoint of OptFormer; None is the shipped one.
        on_measured: Called with each result as soon as it is there.

    Raises:
        ConfigError: A name is unknown, or a number out of range.
        MissingExtraError: A method needs a package that is not installed.
    """
    METHODS.check(methods)
    _check_repeats(repeats)
    if any(history < 1 for history in histories):
        raise ConfigError(f"histories must be at least 1, got {list(histories)}")
    config = timing_study()
    for method in methods:  # the first call imports what the method needs
        _time_one(method, config, _WARM_UP, seed=0, model=model)
    measured = []
    for history in histories:
        for method in methods:
            seconds = [
                _time_one(method, config, history, seed=repeat, model=model)
                for repeat in range(repeats)
            ]
            result = SuggestionTime(method, history, statistics.median(seconds))
            measured.append(result)
            if on_measured is not None:
                on_measured(result)
    return measured


def time_fresh_process(*, repeats: int = 5, model: Path | None = None) -> FreshProcess:
    """Time the import and the first suggestion in new Python processes.

    Raises:
        ConfigError: `repeats` is below 1.
        ObjectiveError: The process failed; the message ends with its last line of errors.
    """
    _check_repeats(repeats)
    arguments = [str(model) if model else "", json.dumps(timing_study().space.to_dict())]
    found = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", _FRESH_PROCESS, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ObjectiveError(f"the first suggestion in a fresh process failed: {last}")
        found.append(json.loads(done.stdout))
    imports, suggestions, peaks = zip(*found, strict=True)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return FreshProcess(
        statistics.median(imports), statistics.median(suggestions), int(max(peaks)) * unit
    )


def timing_table(times: Sequence[SuggestionTime], fresh: FreshProcess | None) -> str:
    """The measurements as Markdown: one row a method, milliseconds a suggestion."""
    histories = sorted({measured.history for measured in times})
    cells = {(measured.method, measured.history): measured.seconds for measured in times}
    header = ["Milliseconds a suggestion after", *(f"{n:,} trials" for n in histories)]
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * len(histories)]
    for method in dict.fromkeys(measured.method for measured in times):
        values = [f"{cells[method, n] * 1000:.1f}" for n in histories]
        lines.append("| " + " | ".join([f"`{method}`", *values]) + " |")
    if fresh is not None:
        lines += [
            "",
            "| Fresh process | |",
            "|---|---:|",
            f"| `import optformer` | {fresh.import_seconds:.2f} s |",
            f"| first suggestion, import included | {fresh.first_suggestion_seconds:.2f} s |",
            f"| peak memory | {fresh.peak_bytes / 2**20:.0f} MiB |",
        ]
    return "\n".join(lines) + "\n"


def timing_study() -> StudyConfig:
    """The study behind the timings: 7 parameters of a small network."""
    return StudyConfig(
        space=SearchSpace(
            learning_rate=Float(1e-5, 1e-1, log=True),
            weight_decay=Float(1e-7, 1e-2, log=True),
            momentum=Float(0.0, 0.99),
            dropout=Float(0.0, 0.6),
            width=Int(16, 512, log=True),
            layers=Int(1, 8),
            activation=Categorical(["relu", "gelu", "tanh"]),
        ),
        metric="accuracy",
        goal="maximize",
        metadata={"task": "image classification", "model": "multilayer perceptron"},
    )


def _time_one(
    method: str, config: StudyConfig, history: int, *, seed: int, model: Path | None
) -> float:
    rng = np.random.default_rng(seed)
    searcher = create_method(method, config, seed, model=model)
    points = [config.space.sample(rng) for _ in range(history - 1)]
    trials = [Trial(i, point).finish(_accuracy(point)) for i, point in enumerate(points)]
    (point,) = searcher.suggest(trials, 1, rng)
    trials.append(Trial(len(trials), point).finish(_accuracy(point)))
    began = time.perf_counter()
    searcher.suggest(trials, 1, rng)
    return time.perf_counter() - began


def _accuracy(params: Mapping[str, Value]) -> float:
    """A smooth response: the methods should find something to model."""
    rate = math.log10(params["learning_rate"]) + 3.0
    decay = math.log10(params["weight_decay"]) + 4.0
    size = math.log2(params["width"] / 128.0)
    loss = rate**2 + 0.1 * decay**2 + 0.05 * size**2 + (params["dropout"] - 0.2) ** 2
    loss += 0.02 * (params["layers"] - 4) ** 2 + (params["momentum"] - 0.9) ** 2
    return math.exp(-0.2 * loss) - 0.02 * ["relu", "gelu", "tanh"].index(params["activation"])


def _check_repeats(repeats: int) -> None:
    if repeats < 1:
        raise ConfigError(f"repeats must be at least 1, got {repeats}")
