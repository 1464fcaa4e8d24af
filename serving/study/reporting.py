"""What running trials tell their study, and whether it stops them early."""

from __future__ import annotations

import json
import math
import pickle
import threading
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from optformer.data.studies.errors import OptFormerWarning, StudyError, TrialError
from optformer.data.studies.parameters import is_whole
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.serving.study.storage import open_store
from optformer.serving.study.trial_store import TrialStore

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from optformer.serving.study.pruning import PrunerLike


def checked_pruner(pruner: PrunerLike | None, config: StudyConfig) -> BasePruner | None:
    """The pruner of a study, None if it has none.

    Raises:
        StudyError: There is no such pruner, or the study has several goals.
    """
    if pruner is None:
        return None
    if config.further_goals:
        raise StudyError(
            f"a pruner compares trials by one goal, and there are {list(config.goals)}; "
            "leave pruner= out"
        )
    from optformer.serving.study.pruning import make_pruner

    return make_pruner(pruner)


class Reporter:
    """The way of a study's trials to the study, from other processes too.

    Args:
        config: What the metric means.
        store: Where trials are kept.
        name: The study's name.
        pruner: Which trials stop early; none do without it.
        lock: Held for every use of the store.
    """

    def __init__(
        self,
        config: StudyConfig,
        store: TrialStore,
        name: str,
        pruner: PrunerLike | None,
        lock: threading.RLock,
    ) -> None:
        # A report is of the one metric that is searched.
        self._config = replace(config, further_goals={}, limits={})
        self._store, self._name = store, name
        self.pruner, self._lock = pruner, lock
        self._made = checked_pruner(pruner, config)
        self._told: set[int] = set()  # trials that were told to stop

    def __reduce__(self) -> tuple[Any, ...]:
        return _Remote, (self._store.address, self._name, pickle.dumps(self.pruner))

    def __deepcopy__(self, memo: object) -> Reporter:
        return self

    def report(self, trial: Trial, value: float | Mapping[str, float], step: int) -> None:
        """Store what was measured at a step; see `Trial.report`."""
        warning = self.keep(trial, value, step)
        if warning:
            warnings.warn(warning, OptFormerWarning, stacklevel=3)

    def keep(self, trial: Trial, value: float | Mapping[str, float], step: int) -> str | None:
        """Store what was measured at a step; returns what to warn of."""
        if not is_whole(step) or step < 0:
            raise TrialError(f"step must be a whole number of at least 0, got {step!r}")
        measured, _ = self._config.measure(value)
        with self._lock:
            kept = self._store.report(trial, int(step), measured)
            self._told.discard(trial.number)
        if kept == measured or (math.isnan(kept) and math.isnan(measured)):
            return None
        return (
            f"trial {trial.number} reported {kept!r} at step {step} before; "
            f"it keeps that, {measured!r} is left out"
        )

    def should_prune(self, trial: Trial) -> bool:
        """Whether a trial is to stop early; see `Trial.should_prune`."""
        with self._lock:
            if self._made is None or not self._store.should_prune(trial, self._made):
                return False
            self._told.add(trial.number)
            return True

    def was_told_to_stop(self, trial: Trial) -> bool:
        """Whether `should_prune` said so since the trial's last report."""
        return trial.number in self._told

    def set_user_attr(self, trial: Trial, key: str, value: Any) -> None:
        """Store something else about a trial; see `Trial.set_user_attr`."""
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise TrialError(f"attribute {key!r} must be what JSON can hold: {error}") from None
        if not isinstance(key, str) or not key.strip():
            raise TrialError(f"the name of an attribute must be text, got {key!r}")
        with self._lock:
            self._store.set_user_attr(trial, key, value)


class _Remote:
    """The same way, in another process: it opens the study when it is first used."""

    def __init__(self, address: str | None, name: str, pruner: bytes) -> None:
        self._place = (address, name, pruner)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Remote, self._place

    def report(self, trial: Trial, value: float | Mapping[str, float], step: int) -> None:
        _opened(*self._place).report(trial, value, step)

    def should_prune(self, trial: Trial) -> bool:
        return _opened(*self._place).should_prune(trial)

    def was_told_to_stop(self, trial: Trial) -> bool:
        return _opened(*self._place).was_told_to_stop(trial)

    def set_user_attr(self, trial: Trial, key: str, value: Any) -> None:
        _opened(*self._place).set_user_attr(trial, key, value)


@cache
def _opened(address: str | None, name: str, pruner: bytes) -> Reporter:
    if address is None:
        raise StudyError(
            f"study {name!r} is in the memory of another process, its trials cannot report from "
            "here; create it with storage=, such as 'sqlite:///studies.db'"
        )
    store, _, record = open_store(address, name)
    return Reporter(record.config, store, name, pickle.loads(pruner), threading.RLock())
