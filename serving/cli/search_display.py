"""What a search shows while it runs: lines, a live table below them, or JSON for machines."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from optformer.data.runtime.text import visible
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.cli import console
from optformer.serving.cli.search_progress import SearchProgress
from optformer.serving.cli.study_summary import write_summary
from optformer.serving.script.runner import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

    from optformer.data.studies.study_config import StudyConfig
    from optformer.serving.script.script import ScriptOutcome
    from optformer.serving.study.study import Study

ENDING = "ending the running scripts; once more kills them"


class SearchDisplay(Watcher, AbstractContextManager["SearchDisplay"], Protocol):
    """Shows a search, while it is entered and once more at its end."""

    def ending(self) -> None:
        """Say that running scripts are ended; called in the handler of a signal."""

    def finish(self, places: Mapping[str, str]) -> None:
        """Show what the study holds after the search.

        Args:
            places: Where its files are, by what they are.
        """


def create_display(study: Study, *, trials: int, parallel: int, as_json: bool) -> SearchDisplay:
    """The display that fits where the output goes.

    Args:
        study: The study as the search finds it.
        trials: Finished trials wanted.
        parallel: Scripts at a time.
        as_json: Whether machines read the output.
    """
    progress = SearchProgress(study.config, study.trials, wanted=trials, parallel=parallel)
    if as_json:
        return JsonDisplay(study, progress)
    return (LiveDisplay if _moves() else LineDisplay)(study, progress)


def loading(*, as_json: bool) -> AbstractContextManager[object]:
    """Says in a terminal that the model is being loaded, which takes seconds."""
    if as_json or not _moves():
        return nullcontext()
    from rich.console import Console

    return Console().status("loading the model")


def _moves() -> bool:
    """Whether the output is a terminal in which text can be replaced."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class LineDisplay:
    """A line a trial, and once where the metrics are read."""

    def __init__(self, study: Study, progress: SearchProgress) -> None:
        self._study = study
        self._progress = progress
        self._told_sources: set[str] = set()

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def started(self, trial: Trial, since: float) -> None:
        """See `Watcher.started`."""
        self._progress.started(trial, since)

    def reported(self, trial: Trial, step: int, value: float) -> None:
        """See `Watcher.reported`."""
        self._progress.reported(trial, step, value)

    def observed(self, trial: Trial, outcome: ScriptOutcome) -> None:
        """See `Watcher.observed`."""
        self._progress.observed(trial, outcome)
        config = self._study.config
        metrics = ", ".join(
            f"{name} {console.format_value(value)}"
            for name, value in config.metrics_of(trial).items()
            if name in {view.metric_name for view in config.views}
        )
        result = (
            f"{metrics}{_early(trial)}{'' if config.keeps_limits(trial) else ', beyond a limit'}"
            if trial.has_value
            else f"failed: {trial.reason}"
        )
        params = console.format_params(trial.params)
        self._line(f"trial {trial.number}  {result}  ({outcome.seconds:.1f} s)  {params}", trial)
        for name, source in outcome.sources.items():
            if name not in self._told_sources:
                self._told_sources.add(name)
                self._line(f"  {name} was read from {source}")

    def note(self, text: str) -> None:
        """See `Watcher.note`."""
        console.note(text)

    def ending(self) -> None:
        """See `SearchDisplay.ending`."""
        os.write(2, f"\n{ENDING}\n".encode())  # the streams may be in use by what was interrupted

    def finish(self, places: Mapping[str, str]) -> None:
        """See `SearchDisplay.finish`."""
        write_summary(self._study)
        for what, place in places.items():
            console.write(f"{what}: {place}")

    def _line(self, text: str, trial: Trial | None = None) -> None:
        console.write(visible(text))
        sys.stdout.flush()


class LiveDisplay(LineDisplay):
    """The same lines, and below them what runs and how far the search is."""

    def __init__(self, study: Study, progress: SearchProgress) -> None:
        super().__init__(study, progress)
        from rich.console import Console
        from rich.live import Live

        self._is_ending = False
        self._began = time.time()
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._table,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def ending(self) -> None:
        """See `SearchDisplay.ending`."""
        self._is_ending = True  # the table says so

    def _line(self, text: str, trial: Trial | None = None) -> None:
        from rich.text import Text

        style = "red" if trial is not None and not trial.has_value else ""
        several = self._study.config.further_goals
        if trial is not None and (
            trial in self._progress.front if several else trial is self._progress.best
        ):
            style = "bold"
        self._console.print(Text(visible(text), style), soft_wrap=True)

    def _table(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        progress, now = self._progress, time.time()
        head = Table.grid(padding=(0, 2, 0, 0))
        head.add_row(
            ProgressBar(progress.wanted, min(progress.finished, progress.wanted), width=24),
            Text(f"{progress.finished} of {progress.wanted} trials", "bold"),
            Text(format_seconds(now - self._began), "dim"),
        )
        parts: list[RenderableType] = ["", head, self._facts(now)]
        running = progress.running
        if running:
            scripts = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
            scripts.add_column("running", justify="right", no_wrap=True)
            scripts.add_column("time", justify="right", no_wrap=True)
            if self._study.prunes:
                scripts.add_column("step", justify="right", no_wrap=True)
                scripts.add_column(Text(visible(self._study.config.metric_name)), no_wrap=True)
            scripts.add_column("parameters")  # gives way where a terminal is narrow
            for script in running:
                latest = map(console.format_value, script.latest or ("", ""))
                scripts.add_row(
                    Text(f"trial {script.trial.number}"),
                    Text(format_seconds(now - script.since)),
                    *(latest if self._study.prunes else ()),
                    Text(
                        console.format_params(script.trial.params),
                        no_wrap=True,
                        overflow="ellipsis",
                    ),
                )
            parts.append(scripts)
        if self._is_ending:
            parts.append(Text(ENDING, "yellow"))
        return Group(*parts)

    def _facts(self, now: float) -> RenderableType:
        """What is known of the search, in a row of cells with their names above."""
        from rich.table import Table
        from rich.text import Text

        facts = self._fact_texts(now)
        table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
        for name in facts:
            table.add_column(Text(visible(name)))
        table.add_row(*(Text(visible(fact)) for fact in facts.values()))
        return table

    def _fact_texts(self, now: float) -> dict[str, str]:
        progress = self._progress
        best, left = progress.best, progress.seconds_left(now)
        config = self._study.config
        if config.further_goals:
            facts = {
                "Pareto front": f"{len(progress.front)} of {progress.ended[TrialStatus.COMPLETED]}"
            }
        else:
            facts = {
                f"best {config.metric_name}": "none yet"
                if best is None
                else f"{console.format_value(best.value)} (trial {best.number})",
                "expected gain": "not known yet"
                if progress.expected_gain is None
                else f"{progress.expected_gain:.2g}",
            }
        facts["time left"] = "not known yet" if left is None else format_seconds(left)
        facts["failed"] = str(progress.ended[TrialStatus.FAILED])
        if progress.ended[TrialStatus.STOPPED]:
            facts["stopped early"] = str(progress.ended[TrialStatus.STOPPED])
        return facts


class JsonDisplay:
    """Events for machines, each an object of JSON on a line of its own; remarks as ever."""

    def __init__(self, study: Study, progress: SearchProgress) -> None:
        self._study = study
        self._progress = progress

    def __enter__(self) -> JsonDisplay:
        config = self._study.config
        self._write(
            "search",
            name=self._study.name,
            metric=config.metric_name,
            goal=config.goal,
            **_aims(config),
            seed=self._study.seed,
            trials=self._progress.wanted,
            finished=self._progress.finished,
        )
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def started(self, trial: Trial, since: float) -> None:
        """See `Watcher.started`."""
        self._progress.started(trial, since)
        self._write(
            "start",
            trial=trial.number,
            params=dict(trial.params),
            expected_gain=self._progress.expected_gain,
        )

    def reported(self, trial: Trial, step: int, value: float) -> None:
        """See `Watcher.reported`."""
        self._progress.reported(trial, step, value)
        told = value if math.isfinite(value) else None
        self._write("report", trial=trial.number, step=step, value=told)

    def observed(self, trial: Trial, outcome: ScriptOutcome) -> None:
        """See `Watcher.observed`."""
        self._progress.observed(trial, outcome)
        left = self._progress.seconds_left(time.time())
        self._write(
            "trial",
            **_described(trial),
            seconds=round(outcome.seconds, 3),
            sources=dict(outcome.sources),
            finished=self._progress.finished,
            **_best_value(self._study.config, self._progress),
            seconds_left=None if left is None else round(left, 1),
        )

    def note(self, text: str) -> None:
        """See `Watcher.note`."""
        console.note(text)

    def ending(self) -> None:
        """See `SearchDisplay.ending`."""
        os.write(2, f"\n{ENDING}\n".encode())

    def finish(self, places: Mapping[str, str]) -> None:
        """See `SearchDisplay.finish`."""
        progress = SearchProgress(self._study.config, self._study.trials, wanted=1, parallel=1)
        self._write(
            "end",
            finished=progress.finished,
            ended={status.value: count for status, count in progress.ended.items()},
            **_best_trials(self._study.config, progress),
            **places,
        )

    def _write(self, event: str, **fields: Any) -> None:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def _aims(config: StudyConfig) -> dict[str, Any]:
    """The goals and limits of a study, where there are several."""
    if not config.several:
        return {}
    limits = {name: str(limit) for name, limit in config.limits.items()}
    return {"goals": config.goals, "limits": limits}


def _best_value(config: StudyConfig, progress: SearchProgress) -> dict[str, Any]:
    if config.further_goals:
        return {"front": [trial.number for trial in progress.front]}
    return {"best": None if progress.best is None else progress.best.value}


def _best_trials(config: StudyConfig, progress: SearchProgress) -> dict[str, Any]:
    if config.further_goals:
        return {"front": [_described(trial) for trial in progress.front]}
    return {"best": None if progress.best is None else _described(progress.best)}


def _early(trial: Trial) -> str:
    return ", stopped early" if trial.status is TrialStatus.STOPPED else ""


def _described(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "status": trial.status.value,
        "value": trial.value,
        "metrics": dict(trial.metrics),
        "reason": trial.reason,
        "params": dict(trial.params),
    }


def format_seconds(seconds: float) -> str:
    """A time as hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
