"""Create and open the store of a study: in memory, or in one of Optuna's storages."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from optformer.data.studies.errors import StudyError
from optformer.serving.study.memory_store import MemoryStore
from optformer.serving.study.trial_store import StudyRecord, TrialStore

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from optformer.serving.study.optuna_studies import Description

StorageLike: TypeAlias = "str | BaseStorage"
"""An address as in `create_store`, or an open Optuna storage."""


def create_store(
    storage: StorageLike | None, name: str, record: StudyRecord, *, prunes: bool = False
) -> TrialStore:
    """Create a study in a storage and return the store of its trials.

    Args:
        storage: None for memory; an SQL URL such as `sqlite:///studies.db`; a journal file as
            `journal:///studies.journal` or a path ending in .journal or .log; or an Optuna storage.
        name: Name of the new study, unique in its storage.
        record: What to store about the study.
        prunes: Whether a pruner will look at the trials.

    Raises:
        StudyError: The storage holds a study of this name.
        StorageError: The storage cannot be opened or written.
    """
    if storage is None and not prunes:
        return MemoryStore(name)
    from optuna.storages import InMemoryStorage

    from optformer.serving.study import optuna_access, optuna_store

    opened = InMemoryStorage() if storage is None else optuna_access.open_storage(storage)
    return optuna_store.create(opened, name, record)


def open_store(
    storage: StorageLike, name: str | None, description: Description | None = None
) -> tuple[TrialStore, str, StudyRecord]:
    """Open a study of ours, or one that Optuna wrote.

    Args:
        storage: As in `create_store`, but not None.
        name: The study's name; None opens the only study of the storage.
        description: What is known of a study that Optuna wrote.

    Returns:
        The store of its trials, its name, and what is known about it.

    Raises:
        StudyError: There is no such study, or it is one that cannot be searched here.
        StorageError: The storage cannot be opened or read.
    """
    if storage is None:
        raise StudyError("load_study needs storage=; a study in memory ends with its process")
    from optformer.serving.study import optuna_access, optuna_store

    opened = optuna_access.open_storage(storage, create=False)
    return optuna_store.load(opened, name, description)


def list_studies(storage: StorageLike) -> list[str]:
    """Names of the studies in a storage, sorted; those that Optuna wrote, too.

    Args:
        storage: Where they are kept, as in `create_study`.

    Raises:
        StorageError: The storage cannot be opened or read.
    """
    from optformer.serving.study import optuna_access

    return optuna_access.study_names(optuna_access.open_storage(storage, create=False))


def delete_study(name: str, storage: StorageLike) -> None:
    """Delete a study and all its trials, for good.

    Args:
        name: Its name.
        storage: Where it is kept, as in `create_study`.

    Raises:
        StudyError: There is no such study.
        StorageError: The storage cannot be opened or written.
    """
    from optformer.serving.study import optuna_access, optuna_store

    optuna_store.delete(optuna_access.open_storage(storage, create=False), name)
