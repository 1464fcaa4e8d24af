"""What a storage holds."""

from __future__ import annotations


def quiet_storage() -> None:
    """Keep the storage library's remarks out of the command line's output."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def study_names(storage: str, *, must_exist: bool = True) -> list[str]:
    """Names of the studies in a storage, sorted.

    Args:
        storage: Its address, as in `create_study`.
        must_exist: Whether a file that is not there is an error, or holds no studies. It is never
            created, as opening it would.

    Raises:
        StorageError: The storage cannot be opened or read.
    """
    import optuna

    from optformer.serving.optuna_access import check_file, file_at, open_storage, patiently

    if must_exist:
        check_file(storage)
    elif (file := file_at(storage)) is not None and not file.exists():
        return []
    opened = open_storage(storage)
    return sorted(patiently("list studies", lambda: optuna.get_all_study_names(opened)))
