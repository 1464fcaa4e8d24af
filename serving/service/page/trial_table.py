"""The trials of a study as a table on the page, and as files to take away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optformer.data.studies.study_tables import written_columns
from optformer.data.studies.table_files import to_csv
from optformer.data.studies.trials import Trial
from optformer.data.studies.yaml_json import to_yaml
from optformer.serving.service.page.history import WORDS, History
from optformer.serving.service.page.texts import line, number, span, value_text

ROWS = 25
"""Trials on one page of the table."""

ORDERS: dict[str, str] = {"newest": "newest first", "oldest": "oldest first", "best": "best first"}
"""Orders of the table, with their words."""


@dataclass(frozen=True)
class Row:
    """A trial in the table; texts are harmless.

    Attributes:
        number: Its number.
        status: What became of it, a word of the page.
        best: Whether it is the best one, or on the Pareto front.
        numbers: Its metrics, the first one first.
        params: Its parameters, empty where not active.
        remark: Why it failed, or how long it took.
    """

    number: int
    status: str
    best: bool
    numbers: Sequence[str]
    params: Sequence[str]
    remark: str


@dataclass(frozen=True)
class TrialTable:
    """One page of the table of trials."""

    metrics: Sequence[str]
    params: Sequence[str]
    rows: Sequence[Row]
    order: str
    page: int
    pages: int
    total: int


def trial_table(history: History, order: str, page: int) -> TrialTable:
    """One page of the table.

    Args:
        history: The study.
        order: A name of `ORDERS`; another one is the first of them.
        page: Which page, from 1; one beyond an end is the last or first one.
    """
    order = order if order in ORDERS else next(iter(ORDERS))
    ordered = _ordered(history, order)
    pages = max(1, -(-len(ordered) // ROWS))
    page = min(max(page, 1), pages)
    metrics = history.metrics
    best = {trial.number for trial in history.front}
    rows = [
        _row(history, trial, metrics, trial.number in best)
        for trial in ordered[(page - 1) * ROWS : page * ROWS]
    ]
    return TrialTable(
        metrics=[line(name, 40) for name in (history.config.metric_name, *metrics)],
        params=[line(name, 40) for name in history.config.space],
        rows=rows,
        order=order,
        page=page,
        pages=pages,
        total=len(ordered),
    )


def csv_of(history: History) -> str:
    """All trials as CSV, in the library's convention for tables."""
    return to_csv(written_columns(history.config, history.trials))


FILES: dict[str, tuple[str, Callable[[History], str]]] = {
    "csv": ("text/csv", csv_of),
    "space.yaml": ("application/yaml", lambda history: to_yaml(history.config.space.to_dict())),
}
"""Files to take away, by their suffix: media type and content. Together they are a study table."""


def _ordered(history: History, order: str) -> list[Trial]:
    if order == "best":
        sign, keeps = history.config.sign, history.config.keeps_limits

        def rank(trial: Trial) -> tuple[bool, bool, float]:
            gain = sign * (trial.value or 0.0)
            return trial.value is None, trial.value is not None and not keeps(trial), -gain

        return sorted(history.trials, key=rank)
    return list(history.trials) if order == "oldest" else list(reversed(history.trials))


def _row(history: History, trial: Trial, metrics: Sequence[str], best: bool) -> Row:
    known = history.config.metrics_of(trial)
    numbers = [number(known[n]) if n in known else "" for n in metrics]
    duration = "" if trial.duration is None else span(trial.duration)
    return Row(
        number=trial.number,
        status=WORDS[trial.status],
        best=best,
        numbers=[number(trial.value) if trial.has_value else "", *numbers],
        params=[
            value_text(trial.params[name]) if name in trial.params else ""
            for name in history.config.space
        ],
        remark=line(trial.reason) if trial.reason else duration,
    )
