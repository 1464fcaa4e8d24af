"""What a study suggests: the trials that were enqueued, then those that its planner proposes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from optformer.data.studies.errors import OptFormerWarning, SearchSpaceError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.planning_ahead import Plan, PlanRequest
from optformer.serving.study.trial_store import StudyRecord, TrialStore

if TYPE_CHECKING:
    from optformer.planning.planner import Suggestion
    from optformer.planning.prediction import Prediction

_FRESH_ATTEMPTS = 3  # plans made at most when other processes keep changing the history meanwhile


class StudyPlanner(Protocol):
    """What a study asks of its planner; `optformer.planning.planner.Planner` is the real one."""

    def suggest(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        count: int,
        *,
        seed: int,
        fixed: Mapping[str, Value] | None = None,
    ) -> Sequence[Suggestion]:
        """Propose points, a pure function of its arguments."""

    def predict(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        points: Sequence[Mapping[str, Value]],
    ) -> Sequence[Prediction]:
        """Predict the metric at points."""


class Suggester:
    """Proposes points of one study; whoever calls it holds the study's lock.

    Args:
        record: Configuration, seed, strategy and model.
        store: Where the trials are kept.
        name: The study's name.
        planner: Who suggests; None loads the record's model when it is first needed.
    """

    def __init__(
        self, record: StudyRecord, store: TrialStore, name: str, planner: StudyPlanner | None
    ) -> None:
        self._record, self._config = record, record.config
        self._store, self._name = store, name
        self._planner, self._own = planner, planner is None
        self.ahead: Plan | None = None  # made elsewhere; taken if it still holds
        self._inside: set[int] = set()  # trials known to lie in the space
        self._outside: set[int] = set()  # trials that were warned of

    def planner(self) -> StudyPlanner:
        """The planner, which takes seconds to load."""
        if self._planner is None:
            from optformer.planning.planner import load_planner

            self._planner = load_planner(self._record.model, strategy=self._record.strategy)
        return self._planner

    def held(self, fixed: Mapping[str, Value]) -> dict[str, Value]:
        """Values fixed for one call, checked.

        Raises:
            SearchSpaceError: One is not legal, or contradicts the study's own.
        """
        if not isinstance(fixed, Mapping):
            raise SearchSpaceError(f"fixed must map parameters to values, got {fixed!r}")
        held: dict[str, Value] = {}
        for name, value in fixed.items():
            held[name] = self._config.space.validate_value(name, value)
            if name in self._config.fixed and self._config.fixed[name] != held[name]:
                raise SearchSpaceError(
                    f"parameter {name!r} is fixed to {self._config.fixed[name]!r} in this study, "
                    f"suggest cannot fix it to {value!r}"
                )
        return held

    def request(self) -> PlanRequest | None:
        """What another process needs to plan the next suggestion; None when it is not to."""
        if not self._own or self._store.waiting():
            return None
        return PlanRequest(self._record, self.history())

    def plan(self, count: int, fixed: Mapping[str, Value]) -> Sequence[Suggestion]:
        """Suggestions for the history as it is when they are ready.

        Planning takes a while, in which another process may have suggested the very same points.
        """
        history = self.history()
        ahead, self.ahead = self.ahead, None
        if ahead is not None and (count, fixed, history) == (1, {}, ahead.history):
            return [ahead.suggestion]
        planner = self.planner()
        for _ in range(_FRESH_ATTEMPTS):
            suggestions = planner.suggest(
                self._config, history, count, seed=self._record.seed, fixed=fixed
            )
            planned, history = history, self.history()
            if history == planned:
                break
        return suggestions

    def preview(self) -> Trial:
        """The trial that comes next, as things are now; nothing is stored."""
        trials = self._store.all()
        for waiting in self._store.waiting():
            try:
                given = self.held(waiting.params)
            except SearchSpaceError:
                continue
            return replace(waiting, params=self._completed(waiting, given))
        (suggestion,) = self.plan(1, {})
        return Trial(
            number=len(trials),
            params=self._config.space.validate(suggestion.params),
            study=self._name,
            explanation=suggestion.explanation,
        )

    def predict(self, points: Sequence[Mapping[str, Value]]) -> list[Prediction]:
        """Predictions at legal points, from the trials so far."""
        return list(self.planner().predict(self._config, self.history(), points))

    def hand_out(self, count: int, fixed: Mapping[str, Value]) -> list[Trial]:
        """The first trials that somebody has enqueued, completed where they leave values open."""
        trials: list[Trial] = []
        for waiting in self._store.waiting():
            if len(trials) == count:
                break
            try:
                given = self.held(waiting.params)
            except SearchSpaceError:
                continue  # such trials are left out of the history, with a warning
            if any(name in given and given[name] != value for name, value in fixed.items()):
                continue
            trial = replace(waiting, params=self._completed(waiting, {**fixed, **given}))
            if self._store.hand_out(trial):
                trials.append(trial)
        return trials

    def _completed(self, waiting: Trial, given: Mapping[str, Value]) -> dict[str, Value]:
        """A legal point with the given values."""
        try:
            return self._config.space.validate({**self._config.fixed, **given})
        except SearchSpaceError:
            history = [trial for trial in self.history() if trial.number != waiting.number]
            (suggestion,) = self.planner().suggest(
                self._config, history, 1, seed=self._record.seed, fixed=given
            )
            return self._config.space.validate(suggestion.params)

    def history(self) -> list[Trial]:
        """The trials that lie in the space; Optuna takes others too, and only warns."""
        trials = self._store.all()
        outside = [trial.number for trial in trials if not self._is_inside(trial)]
        new = set(outside) - self._outside
        if new:
            self._outside |= new
            warnings.warn(
                f"trials {sorted(new)} of study {self._name!r} have values outside of its space "
                "and are left out; load the study again if its ranges were widened",
                OptFormerWarning,
                stacklevel=5,
            )
        return [trial for trial in trials if trial.number not in outside] if outside else trials

    def _is_inside(self, trial: Trial) -> bool:
        if trial.number in self._inside:
            return True
        try:
            for name, value in trial.params.items():
                self._config.space.validate_value(name, value)
        except SearchSpaceError:
            return False
        if trial.status is not TrialStatus.PENDING:  # its parameters are settled
            self._inside.add(trial.number)
        return True
