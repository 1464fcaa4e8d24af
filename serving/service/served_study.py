"""A study whose trials are run by clients."""

from __future__ import annotations

from collections.abc import Mapping

from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial
from optformer.serving.service.problems import Problem
from optformer.serving.study.study import Study


class ServedStudy(Study):
    """A study with the verbs that a server needs: they name trials by number, and never warn."""

    def trial(self, number: int) -> Trial:
        """The trial of a number.

        Raises:
            Problem: There is none.
        """
        trials = self.trials
        if number >= len(trials):
            have = f"0 to {len(trials) - 1}" if trials else "none, there is no trial yet"
            raise Problem(
                404, "TrialError", field="number", expected=f"a trial ({have})", got=number
            )
        return trials[number]

    def record_outcome(
        self,
        trial: Trial | Mapping[str, Value],
        value: float | Mapping[str, float] | None,
        failed: str | None,
        stopped: bool,
    ) -> tuple[Trial, list[str]]:
        """Like `observe`; the trial as recorded, and what to warn of."""
        finished, warning = self._observe(trial, value, failed, stopped)
        return finished, [warning] if warning else []

    def record_report(
        self, trial: Trial, value: float | Mapping[str, float], step: int
    ) -> list[str]:
        """Like `Trial.report`; what to warn of."""
        warning = self._reporter.keep(trial, value, step)
        return [warning] if warning else []
