from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import StorageError
from optformer.serving.study.optuna_access import file_at, file_of, open_storage, sqlite_address

names = st.text(
    alphabet=st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
    | st.sampled_from("?%#{}&=+@:;~'\" \\\n"),
    min_size=1,
    max_size=30,
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@given(names)
def test_sqlite_address__any_path__names_that_file(name: str) -> None:
    file = Path("/tmp") / name / "study.db"
    assert file_at(sqlite_address(file)) == file


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names)
def test_sqlite_address__any_folder__the_database_lies_there(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    storage = open_storage(sqlite_address(folder / "study.db"))
    assert (folder / "study.db").is_file()
    assert file_of(storage) == folder / "study.db"


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///x.db", "x.db"),
        ("sqlite+pysqlite:////a/x.db?timeout=5", "/a/x.db"),
        ("sqlite:///file:a/x.db?uri=true&mode=ro", "a/x.db"),
        ("journal:///a?b", "a?b"),
        ("x.journal", "x.journal"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file:x?mode=memory&uri=true", None),
        ("sqlite:///file::memory:?cache=shared&uri=true", None),
        ("postgresql://me:a@b/c", None),
        ("://", None),
        ("nonsense", None),
    ],
)
def test_file_at__address__its_file(address: str, file: str | None) -> None:
    assert file_at(address) == (None if file is None else Path(file))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret@127.0.0.1:1/studies",
        "nonsense://me:secret@host/x",
        "sqlite:////nowhere/x.db?password=secret&uri=true",
        "sqlite:////{nowhere}/x.db?password=secret",
    ],
)
def test_open_storage__cannot_be_opened__says_why_without_the_password(address: str) -> None:
    with pytest.raises(StorageError) as raised:
        open_storage(address)
    assert "secret" not in str(raised.value)
