"""Studies in Optuna's storages: written so that Optuna's own tools read them, and the reverse.

A pending trial is RUNNING there, a completed one COMPLETE, a failed one FAIL and one stopped early
PRUNED. The configuration is a study user attribute; a failure's reason and further metrics are
trial user attributes. Whatever ends a trial is written last, so that a process killed half-way
leaves the trial pending.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import optuna
from optuna.distributions import (
    BaseDistribution,
)
from optuna.exceptions import DuplicatedStudyError
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from optformer.data.runtime.optuna_logging import quiet_optuna
from optformer.data.studies.errors import StorageError, StudyError, TrialError
from optformer.data.studies.optuna_distributions import (
    to_distributions,
)
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import INTERRUPTED, Trial, TrialStatus
from optformer.serving.study import optuna_goals
from optformer.serving.study.optuna_access import (
    address_of,
    check_names,
    file_of,
    has_study,
    part_after_fork,
    retry_while_locked,
    study_names,
)
from optformer.serving.study.optuna_studies import Description, read_record
from optformer.serving.study.optuna_trials import REASON, RECORD, read_outcome
from optformer.serving.study.owners import Heartbeat, is_gone, this_process
from optformer.serving.study.storage_locks import StudyLocks
from optformer.serving.study.trial_store import (
    StudyRecord,
    has_ended,
    numbers_of,
    observed_before,
    settled,
    unknown_trial,
)

_LATE = "optformer:late"  # trial system attribute: the interrupted trial this is the outcome of
_ENQUEUED = "fixed_params"  # Optuna's: the parameters of a trial that somebody has enqueued
_AGAIN = "failed_trial"  # Optuna's: the interrupted trial that a new one repeats

OWNER = "optformer:owner"
"""System attribute of a trial: the process that runs it."""

MARK = "optformer:mark"
"""System attribute of a trial: tells whether a write that failed has stored it after all."""

HEARTBEAT = "optformer:heartbeat"
"""System attribute of a trial: when its owner was last heard of, in seconds since 1970."""

_Result = TypeVar("_Result")

_STATES = {
    TrialStatus.PENDING: TrialState.RUNNING,
    TrialStatus.COMPLETED: TrialState.COMPLETE,
    TrialStatus.FAILED: TrialState.FAIL,
    TrialStatus.STOPPED: TrialState.PRUNED,
}


class OptunaStore:
    """Keeps the trials of one study in an Optuna storage; see `TrialStore`.

    Args:
        storage: The storage, for writing.
        study: The study as Optuna opens it, which caches what was read.
        config: What the study is about.
        distributions: How its parameters are written; as those of the space when absent.
    """

    def __init__(
        self,
        storage: BaseStorage,
        study: optuna.Study,
        config: StudyConfig,
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        self._storage = storage
        part_after_fork(storage)
        self.address = address_of(storage)  # now, while a relative one is relative to this folder
        self._locks = StudyLocks(storage, study.study_name)
        self._study = study
        self._config = config
        self._distributions = distributions or to_distributions(config.space)
        self._study_id = retry_while_locked(
            f"read study {study.study_name!r}",
            lambda: storage.get_study_id_from_name(study.study_name),
        )
        self._identity = _identity(study.user_attrs.get(RECORD))
        self._ids: dict[int, int] = {}  # number to the storage's own id
        self._finished: dict[int, Trial] = {}  # finished trials never change
        self._heartbeat = Heartbeat(
            lambda trial_id: storage.set_trial_system_attr(trial_id, HEARTBEAT, time.time()),
            self._hand_over,
        )
        self._uncertain: set[int] = set()  # trials whose last update may or may not be stored
        self._unsure: dict[str, Trial] = {}  # by mark, trials that may or may not be stored

    def suggest_lock(self) -> AbstractContextManager[None]:
        """The turn of the storage; see `TrialStore.suggest_lock`."""
        return self._locks.turn()

    def append(self, trial: Trial) -> Trial:
        """Store a new trial in a single write; see `TrialStore.append`."""
        template = self._template(trial)
        if trial.status is TrialStatus.PENDING:
            template.system_attrs = {**template.system_attrs, **self._claim()}
            self._locks.check_turn()
        added = self._append(template, trial)
        if trial.status is TrialStatus.PENDING:
            self._keep_alive(self._ids[added.number])
        return added

    def update(self, trial: Trial) -> Trial:
        """Write a trial's outcome; see `TrialStore.update`."""
        what = f"write trial {trial.number} of study {trial.study!r}"
        trial_id = self._trial_id(trial)
        self._heartbeat.remove(trial_id)
        with self._locks.write():
            self._check_exists(what)
            frozen = self._ask(what, lambda: self._storage.get_trial(trial_id))
            stored = self._trial(frozen)
            if stored.status is not TrialStatus.PENDING:
                return self._observe_finished(stored, trial)
            trial = settled(stored, trial, datetime.now())
            try:
                self._ask(what, lambda: self._finish(trial_id, trial))
            except StorageError:
                self._uncertain.add(trial.number)
                self._keep_alive(trial_id)
                raise
            except RuntimeError as error:  # mostly Optuna's word for a finished trial
                stored = self.all()[trial.number]
                if stored.status is TrialStatus.PENDING:
                    raise StorageError(f"cannot {what}: {error}") from error
                if stored != trial:  # Optuna's own writers know nothing of the lock
                    raise TrialError(observed_before(stored)) from None
        return trial

    def _observe_finished(self, stored: Trial, trial: Trial) -> Trial:
        """Accept what was stored already, and what comes of an interrupted trial after all."""
        again = settled(stored, trial, datetime.now())
        if trial.number in self._uncertain and stored == again:
            return trial  # the write reported as failed had reached the storage
        if not stored.interrupted:
            raise TrialError(observed_before(stored))
        for frozen in self._frozen():
            if frozen.system_attrs.get(_LATE) == trial.number:
                raise TrialError(observed_before(self._trial(frozen)))
        template = self._template(trial)
        template.system_attrs = {**template.system_attrs, _LATE: trial.number}
        return self._append(template, trial)

    def _append(self, template: FrozenTrial, trial: Trial) -> Trial:
        what = f"add a trial to study {self._study.study_name!r}"
        self._check_exists(what)
        mark, trial_id = self._earlier_attempt(trial)
        if trial_id is None:
            template.system_attrs = {**template.system_attrs, MARK: mark}
            self._unsure[mark] = trial
            trial_id = self._ask(
                what,
                lambda: self._storage.create_new_trial(self._study_id, template_trial=template),
            )
        number = self._ask(what, lambda: self._number(trial_id))
        self._ids[number] = trial_id
        self._unsure.pop(mark, None)
        return replace(trial, number=number)

    def _earlier_attempt(self, trial: Trial) -> tuple[str, int | None]:
        """Mark and id of a trial whose writing seemed to fail; a new mark if it did fail."""
        for mark in [mark for mark, unsure in self._unsure.items() if unsure == trial]:
            for frozen in self._frozen():
                if frozen.system_attrs.get(MARK) == mark:
                    return mark, frozen._trial_id
            del self._unsure[mark]
        return uuid.uuid4().hex, None

    def _is_lost(self, frozen: FrozenTrial) -> bool:
        """Whether a trial was suggested here in a call that seemed to fail."""
        running = frozen.state is TrialState.RUNNING
        return running and frozen.system_attrs.get(MARK) in self._unsure

    def all(self) -> list[Trial]:
        """All trials by number; only those unfinished or new are read from the storage."""
        return [self._trial(frozen) for frozen in self._frozen()]

    def _frozen(self) -> list[FrozenTrial]:
        return self._ask(
            f"read study {self._study.study_name!r}",
            lambda: self._study.get_trials(deepcopy=False),
        )

    def _check_exists(self, what: str) -> None:
        """A journal takes trials of a deleted study, and SQLite gives its id to the next one."""
        if not self.exists(what):
            raise StorageError(_deleted(what))

    def exists(self, what: str) -> bool:
        """Whether the study is still in the storage, and not another one in its place.

        Args:
            what: What is to be done with it, for the error.

        Raises:
            StorageError: The storage cannot be read.
        """
        try:
            if self._identity is None:
                name = retry_while_locked(
                    what, lambda: self._storage.get_study_name_from_id(self._study_id)
                )
                return name == self._study.study_name
            found = retry_while_locked(
                what, lambda: self._storage.get_study_user_attrs(self._study_id)
            )
        except KeyError:
            return False
        return _identity(found.get(RECORD)) == self._identity

    def _ask(self, what: str, call: Callable[[], _Result]) -> _Result:
        """Ask the storage, of a study that somebody may have deleted."""
        try:
            return retry_while_locked(what, call)
        except KeyError:
            raise StorageError(_deleted(what)) from None

    def _number(self, trial_id: int) -> int:
        """Number of a trial just added: mostly the next one, which is a quicker question."""
        following = max(self._ids, default=-1) + 1
        try:
            found = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, following)
        except KeyError:
            found = None
        if found == trial_id:
            return following
        return self._storage.get_trial_number_from_id(trial_id)

    def _trial_id(self, trial: Trial) -> int:
        if trial.number not in self._ids:
            try:
                self._ids[trial.number] = retry_while_locked(
                    f"find trial {trial.number} of study {trial.study!r}",
                    lambda: self._storage.get_trial_id_from_study_id_trial_number(
                        self._study_id, trial.number
                    ),
                )
            except KeyError:
                raise TrialError(unknown_trial(trial, len(self.all()))) from None
        return self._ids[trial.number]

    def report(self, trial: Trial, step: int, value: float) -> float:
        """Store what a trial measured at a step; see `TrialStore.report`."""
        what = f"report step {step} of trial {trial.number} of study {trial.study!r}"
        trial_id, frozen = self._running(what, trial)
        if step in frozen.intermediate_values:
            return frozen.intermediate_values[step]
        self._tell(
            what, trial, lambda: self._storage.set_trial_intermediate_value(trial_id, step, value)
        )
        return value

    def should_prune(self, trial: Trial, pruner: BasePruner) -> bool:
        """Whether a pruner would stop a trial; see `TrialStore.should_prune`."""
        what = f"compare trial {trial.number} of study {trial.study!r}"
        _, frozen = self._running(what, trial)
        # Some pruners also write, to the trial, how far it has come.
        return self._tell(what, trial, lambda: pruner.prune(self._study, frozen))

    def set_user_attr(self, trial: Trial, key: str, value: Any) -> None:
        """Store something else about a trial; see `TrialStore.set_user_attr`."""
        what = f"write to trial {trial.number} of study {trial.study!r}"
        trial_id, _ = self._running(what, trial)
        self._tell(what, trial, lambda: self._storage.set_trial_user_attr(trial_id, key, value))

    def _running(self, what: str, trial: Trial) -> tuple[int, FrozenTrial]:
        """Id and state of a pending trial."""
        trial_id = self._trial_id(trial)
        self._check_exists(what)
        frozen = self._ask(what, lambda: self._storage.get_trial(trial_id))
        if frozen.state.is_finished():
            raise TrialError(has_ended(self._trial(frozen)))
        return trial_id, frozen

    def _tell(self, what: str, trial: Trial, call: Callable[[], _Result]) -> _Result:
        """Write to a pending trial, which somebody may end meanwhile."""
        try:
            return self._ask(what, call)
        except StorageError:
            raise
        except RuntimeError:  # Optuna's word for a finished trial
            stored = self.all()[trial.number]
            if stored.status is TrialStatus.PENDING:
                raise
            raise TrialError(has_ended(stored)) from None

    def enqueue(self, params: Mapping[str, Value]) -> Trial:
        """Store a trial to be handed out; see `TrialStore.enqueue`."""
        template = create_trial(state=TrialState.WAITING, system_attrs={_ENQUEUED: dict(params)})
        return self._append(template, Trial(number=-1, params=params, study=self._study.study_name))

    def waiting(self) -> list[Trial]:
        """Trials that nobody runs yet; see `TrialStore.waiting`."""
        return [
            self._trial(frozen)
            for frozen in self._frozen()
            if _is_waiting(frozen) or self._is_lost(frozen)
        ]

    def hand_out(self, trial: Trial) -> bool:
        """Turn an enqueued trial into a pending one; see `TrialStore.hand_out`."""
        trial_id = self._trial_id(trial)
        what = f"hand out trial {trial.number} of study {trial.study!r}"
        with self._locks.write():
            self._check_exists(what)
            frozen = self._ask(what, lambda: self._storage.get_trial(trial_id))
            if not (_is_waiting(frozen) or self._is_lost(frozen)):
                return False
            mark = frozen.system_attrs.get(MARK) or uuid.uuid4().hex
            self._unsure[mark] = trial
            self._ask(what, lambda: self._run(trial_id, trial, mark))
            del self._unsure[mark]
        self._keep_alive(trial_id)
        return True

    def adopt(self, trial: Trial, helper: int | None = None) -> None:
        """Make this process the owner of a pending trial; see `TrialStore.adopt`."""
        trial_id = self._trial_id(trial)
        what = f"take over trial {trial.number} of study {trial.study!r}"
        with self._locks.write():
            self._check_exists(what)
            stored = self._trial(self._ask(what, lambda: self._storage.get_trial(trial_id)))
            if stored.status is not TrialStatus.PENDING:
                raise TrialError(observed_before(stored))
            self._ask(what, lambda: self._own(trial_id, helper))
        self._keep_alive(trial_id)

    def under_way(self) -> list[Trial]:
        """Pending trials of owners that are there; see `TrialStore.under_way`."""
        return [self._trial(frozen) for frozen in self._frozen() if _is_under_way(frozen)]

    def reclaim(self, *, grace: float, older_than: float | None = None) -> list[Trial]:
        """Fail the trials whose owner is gone; see `TrialStore.reclaim`."""
        return self._give_up(lambda frozen: _is_stale(frozen, grace, older_than))

    def _give_up(self, is_stale: Callable[[FrozenTrial], bool]) -> list[Trial]:
        """Fail the trials that are stale."""
        found = [frozen for frozen in self._frozen() if is_stale(frozen)]
        if not found:
            return []
        with self._locks.write():
            given_up = [self._interrupt(frozen, is_stale) for frozen in found]
        return [trial for trial in given_up if trial is not None]

    def _interrupt(
        self, frozen: FrozenTrial, is_stale: Callable[[FrozenTrial], bool]
    ) -> Trial | None:
        """Fail a trial, unless it is not stale any more."""
        what = f"fail trial {frozen.number} of study {self._study.study_name!r}"
        trial_id = frozen._trial_id
        now = self._ask(what, lambda: self._storage.get_trial(trial_id))
        if not is_stale(now):
            return None
        self._enqueue_again(now)
        trial = self._trial(now).fail(INTERRUPTED)
        self._ask(what, lambda: self._finish(trial_id, trial))
        return trial

    def _enqueue_again(self, frozen: FrozenTrial) -> None:
        """Have a trial that somebody has enqueued run once more."""
        given = frozen.system_attrs.get(_ENQUEUED)
        if given is None or any(
            other.system_attrs.get(_AGAIN) == frozen.number for other in self._frozen()
        ):
            return
        attributes = {_ENQUEUED: given, _AGAIN: frozen.number}
        again = create_trial(
            state=TrialState.WAITING, system_attrs=attributes, user_attrs=frozen.user_attrs
        )
        what = f"enqueue trial {frozen.number} of study {self._study.study_name!r} again"
        self._ask(
            what, lambda: self._storage.create_new_trial(self._study_id, template_trial=again)
        )

    def _own(self, trial_id: int, helper: int | None = None) -> None:
        for key, value in self._claim(helper).items():
            self._storage.set_trial_system_attr(trial_id, key, value)

    def _claim(self, helper: int | None = None) -> dict[str, Any]:
        """What tells whose a pending trial is: of whoever asks for it now."""
        return {HEARTBEAT: time.time(), OWNER: this_process(helper)}

    def _keep_alive(self, trial_id: int) -> None:
        """Say from now on that a pending trial has its owner."""
        self._heartbeat.add(trial_id)

    def _hand_over(self, trial_id: int) -> None:
        file = file_of(self._storage)
        if file is None or file.exists():  # a file that was removed is not made again
            self._storage.set_trial_system_attr(trial_id, OWNER, None)

    def _run(self, trial_id: int, trial: Trial, mark: str | None = None) -> None:
        """Have an enqueued trial run, and write the parameters that it does not have yet."""
        frozen = self._storage.get_trial(trial_id)
        if _is_waiting(frozen):
            self._own(trial_id)
            self._storage.set_trial_system_attr(trial_id, MARK, mark)
            self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        for name, value in trial.params.items():
            if name not in frozen.params:
                distribution = self._distributions[name]
                internal = distribution.to_internal_repr(value)
                self._storage.set_trial_param(trial_id, name, internal, distribution)

    def _finish(self, trial_id: int, trial: Trial) -> None:
        self._run(trial_id, trial)
        known = self._storage.get_trial(trial_id).user_attrs
        for key, value in _attributes(trial).items():
            if known.get(key) != value:
                self._storage.set_trial_user_attr(trial_id, key, value)
        for key, value in optuna_goals.constraints(self._config, trial).items():
            self._storage.set_trial_system_attr(trial_id, key, value)
        values = optuna_goals.values(self._config, trial)
        if trial.status is TrialStatus.STOPPED and trial.value is not None:
            reported = self._storage.get_trial(trial_id).intermediate_values
            last = max(reported, default=-1)
            if reported.get(last) != trial.value:
                self._storage.set_trial_intermediate_value(trial_id, last + 1, trial.value)
        self._storage.set_trial_state_values(trial_id, _STATES[trial.status], values)

    def _template(self, trial: Trial) -> FrozenTrial:
        now = datetime.now()
        reported: dict[int, float] = {}
        if trial.status is TrialStatus.STOPPED and trial.value is not None:
            reported[0] = trial.value
        return FrozenTrial(
            number=-1,
            trial_id=-1,
            state=_STATES[trial.status],
            value=None,
            values=optuna_goals.values(self._config, trial),
            datetime_start=now,
            datetime_complete=None if trial.status is TrialStatus.PENDING else now,
            params=dict(trial.params),
            distributions={name: self._distributions[name] for name in trial.params},
            user_attrs=_attributes(trial),
            system_attrs=optuna_goals.constraints(self._config, trial),
            intermediate_values=reported,
        )

    def _trial(self, frozen: FrozenTrial) -> Trial:
        known = self._finished.get(frozen.number)
        if known is not None:
            return known
        # What was enqueued in Optuna is there before it is written as parameters.
        given = {**frozen.system_attrs.get(_ENQUEUED, {}), **frozen.params}
        status, value, reason = read_outcome(frozen)
        trial = Trial(
            number=frozen.number,
            params={name: given[name] for name in self._config.space if name in given},
            status=status,
            value=value,
            reason=reason,
            metrics={} if status is TrialStatus.PENDING else self._metrics(frozen),
            study=self._study.study_name,
            explanation=self._explanation(frozen),
            intermediate_values=frozen.intermediate_values,
            user_attrs={k: v for k, v in frozen.user_attrs.items() if k != REASON},
            datetime_start=frozen.datetime_start,
            datetime_complete=frozen.datetime_complete,
        )
        if status is not TrialStatus.PENDING:
            self._finished[trial.number] = trial
        return trial

    def _explanation(self, frozen: FrozenTrial) -> Any:
        """Why a trial was suggested, where that is stored; the study itself remembers its own."""

    def _metrics(self, frozen: FrozenTrial) -> dict[str, float]:
        """What a trial tells of its metrics; those of our own are user attributes."""
        known = optuna_goals.foreign_metrics(self._config, frozen)
        return numbers_of({**frozen.user_attrs, **known})


_Store = TypeVar("_Store", bound=OptunaStore)


def _is_waiting(frozen: FrozenTrial) -> bool:
    return frozen.state is TrialState.WAITING


def _is_stale(frozen: FrozenTrial, grace: float, older_than: float | None) -> bool:
    """Whether a trial is pending and its owner is gone, silent for `grace` seconds."""
    if frozen.state is not TrialState.RUNNING:
        return False
    owner = frozen.system_attrs.get(OWNER)
    if owner is None:  # written by Optuna, or its owner has ended in order
        return older_than is not None and time.time() - _started(frozen) > older_than
    last_sign = _last_sign(frozen)
    return time.time() - last_sign >= grace and is_gone(owner, last_sign)


def _is_under_way(frozen: FrozenTrial) -> bool:
    """Whether a trial is pending and its owner is known to be there."""
    owner = frozen.system_attrs.get(OWNER)
    if frozen.state is not TrialState.RUNNING or owner is None:
        return False
    return not is_gone(owner, _last_sign(frozen))


def _last_sign(frozen: FrozenTrial) -> float:
    """When the owner of a trial was last heard of, in seconds since 1970."""
    heard = frozen.system_attrs.get(HEARTBEAT)
    # Not the start where there is a sign: Optuna writes it without a time zone.
    return heard if isinstance(heard, float) else _started(frozen)


def _started(frozen: FrozenTrial) -> float:
    return 0.0 if frozen.datetime_start is None else frozen.datetime_start.timestamp()


def _identity(described: object) -> str | None:
    """What tells a study from another of the same name; None where nothing does."""
    return described.get("id") if isinstance(described, dict) else None


def _deleted(what: str) -> str:
    return f"cannot {what}: it is not in the storage any more; the study was deleted"


def create(
    storage: BaseStorage,
    name: str,
    record: StudyRecord,
    *,
    kind: type[_Store] = OptunaStore,  # type: ignore[assignment]
    note: Mapping[str, Any] | None = None,
) -> _Store:
    """Create a study; see `storage.create_store`.

    Args:
        storage: The storage.
        name: Name of the study.
        record: What to store about it.
        kind: Which store to return.
        note: What else to store beside the record.
    """
    to_distributions(record.config.space)  # refuse what Optuna cannot hold before writing anything
    config = record.config
    check_names(storage, [name, *config.space, *config.goals, *config.limits])
    what = f"create study {name!r}"

    def describe() -> None:
        study.set_user_attr(RECORD, {**record.to_dict(), **(note or {}), "id": uuid.uuid4().hex})
        with quiet_optuna():  # naming the metric was experimental in Optuna 4
            study.set_metric_names(list(record.config.goals))

    with StudyLocks(storage, name).write():
        study = retry_while_locked(what, lambda: _new_study(storage, name, record.config))
        try:
            retry_while_locked(what, describe)
        except StorageError:
            with suppress(Exception):  # nothing of it is left behind, if the storage lets us
                optuna.delete_study(study_name=study.study_name, storage=storage)
            raise
    return kind(storage, study, record.config)


def _new_study(storage: BaseStorage, name: str, config: StudyConfig) -> optuna.Study:
    """A study without record and trials: a new one, or one whose creation was cut short."""
    directions = optuna_goals.directions(config)
    with quiet_optuna():
        try:
            return optuna.create_study(study_name=name, storage=storage, directions=directions)
        except DuplicatedStudyError:
            study = optuna.load_study(study_name=name, storage=storage)
        if not _is_unfinished(study):
            found = storage.get_study_name_from_id(study._study_id)
            same = "" if found == name else f", and {name!r} is the same to it"
            raise StudyError(
                f"study {found!r} is already in this storage{same}; open it with "
                f"load_study(storage=..., name={found!r}) or choose another name"
            )
        aims = [optuna_goals.goal_of(direction) for direction in study.directions]
        if aims == directions:
            return study
        if study.user_attrs or len(aims) != len(directions):
            raise StudyError(
                f"study {name!r} is already in this storage, empty and to "
                f"{' and '.join(aims)}; choose another name"
            )
        optuna.delete_study(study_name=name, storage=storage)
        return optuna.create_study(study_name=name, storage=storage, directions=directions)


def _is_unfinished(study: optuna.Study) -> bool:
    """Whether a study may be one of ours that has only a name yet."""
    return RECORD not in study.user_attrs and not study.get_trials(deepcopy=False)


def delete(storage: BaseStorage, name: str) -> None:
    """Delete a study; see `storage.delete_study`."""
    what = f"delete study {name!r}"
    with StudyLocks(storage, name).write():
        try:
            study_id = retry_while_locked(what, lambda: storage.get_study_id_from_name(name))
        except KeyError:
            raise StudyError(
                f"there is no study {name!r}; this storage has {study_names(storage)}"
            ) from None
        retry_while_locked(what, lambda: storage.delete_study(study_id))


def load(
    storage: BaseStorage,
    name: str | None,
    description: Description | None = None,
    *,
    kind: type[_Store] = OptunaStore,  # type: ignore[assignment]
) -> tuple[_Store, str, StudyRecord]:
    """Open a study in a store of a kind; see `storage.open_store`."""
    if name is None:
        names = study_names(storage)
        if len(names) != 1:
            raise StudyError(f"load_study needs name=; this storage has {names}")
        (name,) = names
    elif not has_study(storage, name):
        raise StudyError(f"there is no study {name!r}; this storage has {study_names(storage)}")
    description = description or Description()
    what = f"read study {name!r}"
    study = retry_while_locked(what, lambda: optuna.load_study(study_name=name, storage=storage))
    if retry_while_locked(what, lambda: _is_unfinished(study)):
        StudyLocks(storage, name).await_writers()  # it may be written at this moment
    described = retry_while_locked(what, lambda: study.user_attrs).get(RECORD)
    if described is not None:
        if description.given():
            raise StudyError(
                f"study {name!r} knows its space, metric, goal and metadata; leave out "
                f"{'= and '.join(description.given())}=, which are for studies that Optuna wrote"
            )
        record = StudyRecord.from_dict(described)
        return kind(storage, study, record.config), name, record
    trials = retry_while_locked(what, lambda: study.get_trials(deepcopy=False))
    record, distributions = read_record(study, trials, description)
    return kind(storage, study, record.config, distributions), name, record


def _attributes(trial: Trial) -> dict[str, str | float]:
    """A trial's user attributes: its metrics by name, and the reason of its failure."""
    reason = {} if trial.reason is None else {REASON: trial.reason}
    return {**trial.metrics, **reason}
