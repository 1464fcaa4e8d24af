"""Studies and trials that Optuna has stored, in our words."""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial, TrialState

from optformer.data.studies.trials import TrialStatus

RECORD = "optformer"
"""User attribute of a study of ours: its `StudyRecord`."""

REASON = "optformer:reason"
"""User attribute of a failed trial: why it failed."""


def read_outcome(frozen: FrozenTrial) -> tuple[TrialStatus, float | None, str | None]:
    """Status, value and reason of a stored trial, whoever wrote it."""
    if not frozen.state.is_finished():
        return TrialStatus.PENDING, None, None
    if frozen.state is TrialState.FAIL:
        return TrialStatus.FAILED, None, frozen.user_attrs.get(REASON)
    value = frozen.values[0] if frozen.values else None  # of several goals the first
    if value is None and frozen.intermediate_values:
        value = frozen.intermediate_values[max(frozen.intermediate_values)]
    if value is None and frozen.state is TrialState.PRUNED:
        return TrialStatus.FAILED, None, "pruned before it reported a value"
    if value is None or not math.isfinite(value):  # Optuna takes infinity
        return TrialStatus.FAILED, None, f"no finite value: {value}"
    pruned = frozen.state is TrialState.PRUNED
    return TrialStatus.STOPPED if pruned else TrialStatus.COMPLETED, value, None
