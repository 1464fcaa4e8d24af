"""What a storage holds."""

from __future__ import annotations

from pathlib import Path

from optformer.data.errors import StorageError


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
    file = _file(storage)
    if file is not None and not file.exists():
        if must_exist:
            raise StorageError(f"storage {storage!r} cannot be opened: there is no file {file}")
        return []
    import optuna

    from optformer.serving.optuna_access import open_storage, patiently

    opened = open_storage(storage)
    return sorted(patiently("list studies", lambda: optuna.get_all_study_names(opened)))


def _file(storage: str) -> Path | None:
    """The file behind an address, None for a database server."""
    scheme, separator, path = storage.partition(":///")
    if not separator:
        return Path(storage) if "://" not in storage else None
    if scheme == "journal" or scheme.partition("+")[0] == "sqlite":
        return Path(path.partition("?")[0])
    return None
