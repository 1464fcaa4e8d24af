"""Tell a study the curve of a running script."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from optformer.data.studies.trials import Trial
from optformer.serving.script.curve import Curve

_AT_ONCE = 20  # values that are reported before other scripts have their turn


class CurveReport:
    """What a trial has reported of the curve that its script prints.

    Args:
        trial: The trial, pending; what it reported in an earlier search is not reported again.
        curve: What its script prints.
        tell: Called with the trial, the step and the value of each report.
    """

    def __init__(
        self, trial: Trial, curve: Curve, tell: Callable[[Trial, int, float], None]
    ) -> None:
        self._trial = trial
        self._curve = curve
        self._tell = tell
        self._step = max(trial.intermediate_values, default=-1)
        self._pruned = False

    def report(self, *, to_end: bool = False) -> bool:
        """Report what is new.

        Args:
            to_end: Whether the script has ended and everything is reported.

        Returns:
            Whether the trial is to stop early.

        Raises:
            MetricError: A pattern takes too long.
            TrialError: Somebody has observed the trial.
            StorageError: The storage fails; the call can be repeated.
        """
        if self._pruned and not to_end:
            return True
        curve = self._curve.read(to_end=to_end)
        new = [(step, value) for step, value in curve.items() if step > self._step]
        for step, value in islice(new, None if to_end else _AT_ONCE):
            self._trial.report(value, step)
            self._step = step
            self._tell(self._trial, step, value)
            if not to_end and self._trial.should_prune():
                self._pruned = True
                break
        return self._pruned
