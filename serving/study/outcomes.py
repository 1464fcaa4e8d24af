"""What an observation makes of a trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from optformer.data.runtime.text import shorten
from optformer.data.studies.errors import TrialError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.trial_store import observed_before

_REASON_CHARACTERS = 10_000  # as much as any database takes, in any alphabet


def decide_outcome(
    config: StudyConfig,
    trial: Trial,
    value: float | Mapping[str, float] | None,
    failed: str | BaseException | None,
    stopped: bool,
) -> tuple[Trial, str | None]:
    """Decide what an observation makes of a trial: the one place with all the cases.

    Args:
        config: The study's configuration, which says what the metrics mean.
        trial: The trial as stored.
        value: What was measured, if anything.
        failed: Why it failed, if it did: a text, or the exception that ended it.
        stopped: Whether it was stopped early.

    Returns:
        The finished trial, and what the user should be warned of.

    Raises:
        TrialError: The trial is not pending, or not exactly one of value and failure is given.
        MetricError: A metric of the study is missing, or something is not a number.
    """
    if trial.status is not TrialStatus.PENDING and not trial.interrupted:
        raise TrialError(observed_before(trial))
    if not isinstance(stopped, bool):
        raise TrialError(f"stopped must be True or False, got {stopped!r}")
    if failed is not None:
        if value is not None or stopped:
            given = f"value={value!r}" if value is not None else "stopped=True"
            raise TrialError(f"observe takes a value or failed=, got both failed and {given}")
        if isinstance(failed, BaseException):
            name, text = type(failed).__name__, str(failed)
            failed = f"{name}: {text}" if text.strip() else name
        if not isinstance(failed, str) or not failed.strip():
            raise TrialError(f"failed must say why, got {failed!r}")
        return trial.fail(shorten(failed, _REASON_CHARACTERS)), None
    if value is None and not (stopped and trial.intermediate_values):
        raise TrialError(
            f"observe needs a value of {config.metric_name!r} or failed='reason', got neither"
        )
    metrics: dict[str, float] = {}
    if value is None:
        measured = trial.intermediate_values[max(trial.intermediate_values)]
    else:
        measured, metrics = config.measure(value)
    kept = {name: number for name, number in metrics.items() if math.isfinite(number)}
    odd = [f"{name!r} is {number}" for name, number in metrics.items() if name not in kept]
    lacking = config.several and value is not None and not kept.keys() >= {*config.needed}
    if lacking or not math.isfinite(measured):
        reason = "metric " + ", ".join(odd or [f"{config.metric_name!r} is {measured}"])
        return replace(trial.fail(reason), metrics=kept), f"{reason}; recorded as failed"
    warning = f"metric {', '.join(odd)}; left out" if odd else None
    return trial.finish(measured, stopped=stopped, metrics=kept), warning
