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

    if must_exist:
        optuna_access.check_file(storage)
    elif (file := optuna_access.file_at(storage)) is not None and not file.exists():
        return []
    return optuna_access.study_names(optuna_access.open_storage(storage))
