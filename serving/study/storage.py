"""Where the trials of a study are kept: in memory, or in one of Optuna's storages.

A study's history is its only state, so a store has three verbs: append a trial, update one that was
pending, and read all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from optformer.data.studies.errors import StorageError, StudyError, TrialError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

StorageLike: TypeAlias = "str | BaseStorage"
"""An address as in `create_store`, or an open Optuna storage."""

FORMAT_VERSION = 1
"""Version of `StudyRecord.to_dict`; a reader refuses versions it does not know."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What is stored about a study besides its trials.

    Attributes:
        config: Space, metric, goal, metadata and fixed values.
        seed: Seed of its suggestions.
        strategy: How suggestions are chosen.
        model: Checkpoint that suggests; None is the shipped one.
    """

    config: StudyConfig
    seed: int
    strategy: str = "ei"
    model: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON-ready values; `from_dict` reads them back."""
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "seed": self.seed,
            "strategy": self.strategy,
            "model": self.model,
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> StudyRecord:
        """Read a record written by `to_dict`.

        Raises:
            StorageError: It was written in a format this version does not know.
        """
        version = described.get("format_version")
        if version != FORMAT_VERSION:
            raise StorageError(
                f"the study was stored with format_version {version!r}, "
                f"this version of OptFormer reads {FORMAT_VERSION}; install a newer one"
            )
        return cls(
            config=StudyConfig.from_dict(described["config"]),
            seed=described["seed"],
            strategy=described["strategy"],
            model=described["model"],
        )


class TrialStore(Protocol):
    """Keeps the trials of one study, numbered from 0 without gaps."""

    def turn(self) -> AbstractContextManager[None]:
        """While it lasts no other process has its turn, where the storage can see to that.

        Raises:
            StorageError: Another process does not end its turn.
        """

    def append(self, trial: Trial) -> Trial:
        """Store a new trial durably and return it with its number; the given one is ignored.

        Raises:
            StorageError: The storage could not be written; the trial is not stored.
        """

    def update(self, trial: Trial) -> None:
        """Durably replace the pending trial of the same number by its finished self.

        Raises:
            TrialError: No trial has this number, or it is not pending any more.
            StorageError: The storage could not be written; the stored trial stays pending and the
                call can be repeated.
        """

    def all(self) -> list[Trial]:
        """All trials by number, those of other processes on the same storage too.

        Raises:
            StorageError: The storage could not be read.
        """


class MemoryStore:
    """Keeps trials in this process only."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []

    def turn(self) -> AbstractContextManager[None]:
        """Nobody else has this store."""
        return nullcontext()

    def append(self, trial: Trial) -> Trial:
        """Store a new trial; see `TrialStore.append`."""
        numbered = replace(trial, number=len(self._trials))
        self._trials.append(numbered)
        return numbered

    def update(self, trial: Trial) -> None:
        """Replace a pending trial; see `TrialStore.update`."""
        if not 0 <= trial.number < len(self._trials):
            raise TrialError(unknown_trial(trial, len(self._trials)))
        if self._trials[trial.number].status is not TrialStatus.PENDING:
            raise TrialError(observed_before(self._trials[trial.number]))
        self._trials[trial.number] = trial

    def all(self) -> list[Trial]:
        """All trials by number."""
        return list(self._trials)


def create_store(storage: StorageLike | None, name: str, record: StudyRecord) -> TrialStore:
    """Create a study in a storage and return the store of its trials.

    Args:
        storage: None for memory; an SQL URL such as `sqlite:///studies.db`; a journal file as
            `journal:///studies.journal` or a path ending in .journal or .log; or an Optuna storage.
        name: Name of the new study, unique in its storage.
        record: What to store about the study.

    Raises:
        StudyError: The storage holds a study of this name.
        StorageError: The storage cannot be opened or written.
    """
    if storage is None:
        return MemoryStore()
    from optformer.serving.study import optuna_access, optuna_store

    return optuna_store.create(optuna_access.open_storage(storage), name, record)


def open_store(storage: StorageLike, name: str | None) -> tuple[TrialStore, str, StudyRecord]:
    """Open a study of ours, or one that Optuna wrote.

    Args:
        storage: As in `create_store`, but not None.
        name: The study's name; None opens the only study of the storage.

    Returns:
        The store of its trials, its name, and what is known about it.

    Raises:
        StudyError: There is no such study, or it is one that cannot be searched here.
        StorageError: The storage cannot be opened or read.
    """
    if storage is None:
        raise StudyError("load_study needs storage=; a study in memory ends with its process")
    from optformer.serving.study import optuna_access, optuna_store

    if isinstance(storage, str):
        optuna_access.check_file(storage)
    return optuna_store.load(optuna_access.open_storage(storage), name)


def unknown_trial(trial: Trial, count: int) -> str:
    """The message about a trial whose number the study does not have."""
    have = f"trials 0 to {count - 1}" if count else "no trials"
    return f"study {trial.study!r} has no trial {trial.number}; it has {have}"


def observed_before(trial: Trial) -> str:
    """The message about a trial that is not pending any more."""
    outcome = f"value {trial.value!r}" if trial.has_value else f"reason {trial.reason!r}"
    return (
        f"trial {trial.number} of study {trial.study!r} was observed before: "
        f"{trial.status.value} with {outcome}; observe each trial once"
    )
