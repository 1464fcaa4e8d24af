"""What a storage holds."""

from __future__ import annotations


def study_names(storage: str, *, must_exist: bool = True) -> list[str]:
    """Names of the studies in a storage, sorted.

    Args:
        storage: Its address, as in `create_study`.
        must_exist: Whether a file that is not there is an error, or holds no studies. It is never
            created, as opening it would.

    Raises:
        StorageError: The storage cannot be opened or read.
    """
    from optformer.serving.study import optuna_access

    file = optuna_access.file_at(storage)
    if not must_exist and file is not None and (not file.exists() or file.stat().st_size == 0):
        return []
    return optuna_access.study_names(optuna_access.open_storage(storage, create=not must_exist))
