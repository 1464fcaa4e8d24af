"""Opening storages, waiting for locked ones, mending cut ones."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import StorageError
from optformer.data.studies.parameters import Value
from optformer.serving.study import optuna_access
from optformer.serving.study.optuna_access import file_at, file_of, open_storage, sqlite_address
from optformer.serving.study.storage import StorageLike
from optformer.serving.study.study import Study


def test_file_of__storages__is_the_file_of_those_that_have_one(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    for address in (str(path), f"journal:///{path}"):
        assert file_of(open_storage(address)) == path
    database = tmp_path / "a.db"
    assert file_of(open_storage(f"sqlite:///{database}")) == database
    assert file_of(open_storage("sqlite://")) is None
    assert file_of(optuna.storages.InMemoryStorage()) is None


@pytest.mark.parametrize(
    ("storage", "text"),
    [
        ("studies.db", "'studies.db' is not understood; expected an SQL URL"),
        ("nosuch://x", "cannot open storage 'nosuch://x'"),
        ("sqlite:////no/such/folder/s.db", "unable to open database file"),
        ("journal:////no/such/folder/s.log", "No such file or directory"),
        (3, "must be an address or an Optuna storage, got int"),
    ],
)
def test_open_storage__bad_address__says_what_is_wrong(storage: StorageLike, text: str) -> None:
    with pytest.raises(StorageError, match=re.escape(text)):
        optuna_access.open_storage(storage)


def test_open_storage__not_a_database__is_a_storage_error(tmp_path: Path) -> None:
    broken = tmp_path / "s.db"
    broken.write_bytes(b"this is no database at all" * 50)
    with pytest.raises(StorageError, match="not a database"):
        optuna_access.open_storage(f"sqlite:///{broken}")
    broken = tmp_path / "s.log"
    broken.write_text("no json\n" * 3)
    with pytest.raises(StorageError, match="cannot open storage"):
        optuna_access.open_storage(str(broken))


@pytest.mark.parametrize("tables", [[], ["runs", "alembic_version"]])
def test_open_storage__others_database__is_refused_and_unchanged(
    tmp_path: Path, tables: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_access, "_MAKING", 0.1)
    file = tmp_path / "mlflow.db"
    file.touch()
    with sqlite3.connect(file) as database:
        for table in tables:
            database.execute(f"create table {table}(version_num text)")
    database.close()
    content = file.read_bytes()
    with pytest.raises(StorageError, match="is a database without Optuna's tables"):
        open_storage(f"sqlite:///{file}", create=False)
    if tables:
        with pytest.raises(StorageError, match="choose another file"):
            open_storage(f"sqlite:///{file}")
    assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_open_storage__without_making__changes_nothing(
    sqlite: str, make_study: Callable[..., Study]
) -> None:
    make_study(storage=sqlite)
    file = Path(sqlite.removeprefix("sqlite:///"))
    content = file.read_bytes()
    assert optuna_access.study_names(open_storage(sqlite, create=False)) == ["s"]
    assert file.read_bytes() == content


@pytest.mark.parametrize("line", ["3", "[]", "{}", '{"op_code": 99}', "null"])
def test_open_storage__json_lines_that_are_no_journal__is_a_storage_error(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "train.log"
    path.write_text(f"{line}\n{line}\n")
    with pytest.raises(StorageError, match="cannot open storage"):
        open_storage(str(path), create=False)


def test_open_storage__new_file_opened_by_several__all_succeed(tmp_path: Path) -> None:
    code = (
        "import sys; from optformer.serving.study.optuna_access import open_storage; "
        "open_storage(sys.argv[1])"
    )
    address = f"sqlite:///{tmp_path}/new.db"
    opening = [subprocess.Popen([sys.executable, "-P", "-c", code, address]) for _ in range(4)]
    assert [process.wait() for process in opening] == [0] * 4


def test_locked_database__briefly__is_waited_for(
    sqlite: str, make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, holder = _study_and_lock(sqlite, make_study)
    trial = study.suggest()
    holder.execute("BEGIN EXCLUSIVE")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            holder.rollback()

    monkeypatch.setattr("optformer.serving.study.optuna_access.time.sleep", sleep)
    assert study.observe(trial, 0.5).value == 0.5
    assert waits == [0.1, 0.2]


def test_locked_database__for_long__is_an_error_and_changes_nothing(
    sqlite: str, make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, holder = _study_and_lock(sqlite, make_study)
    trial = study.suggest()
    monkeypatch.setattr(optuna_access, "_PATIENCE", 0.3)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match=r"write trial 0 .* stayed locked for .*repeat the call"):
        study.observe(trial, 0.5)
    with pytest.raises(StorageError, match=r"read study 's'.* stayed locked"):
        study.suggest()
    holder.rollback()
    assert study.trials == [trial]
    assert study.observe(trial, 0.5).value == 0.5
    assert study.suggest().number == 1


def _study_and_lock(
    sqlite: str, make_study: Callable[..., Study]
) -> tuple[Study, sqlite3.Connection]:
    """A study in SQLite that waits for locks a moment, and a connection that can lock it."""
    storage = optuna.storages.RDBStorage(sqlite, engine_kwargs={"connect_args": {"timeout": 0.01}})
    path = sqlite.removeprefix("sqlite:///")
    return make_study(storage=storage), sqlite3.connect(path, isolation_level=None)


@pytest.mark.parametrize("cut", [b'{"op_code":4,"stu', b"{"])
def test_journal__last_line_cut_short__is_mended_at_the_next_write(
    tmp_path: Path,
    make_study: Callable[..., Study],
    reopen: Callable[..., Study],
    point: dict[str, Value],
    cut: bytes,
) -> None:
    path = tmp_path / "s.log"
    first = make_study(storage=str(path)).observe(point, 0.5)
    with path.open("ab") as journal:
        journal.write(cut)
    study = reopen(str(path))
    assert study.trials == [first]
    second = study.observe(point, 0.7)
    assert reopen(str(path)).trials == [first, second]


names = st.text(
    alphabet=st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
    | st.sampled_from("?%#{}&=+@:;~'\" \\\n\udce9"),
    min_size=1,
    max_size=30,
).filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) < 200)


def test_open_storage__braces_in_an_address__stand_for_themselves(tmp_path: Path) -> None:
    file = tmp_path / "{x}.db"
    assert file_of(open_storage(f"sqlite:///{file}")) == file
    assert file.is_file()


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


@pytest.mark.parametrize(
    ("address", "write"),
    [
        ("postgres://me:secret@host/studies", "postgresql+psycopg://"),
        ("postgresql+psycopg2://me:secret@host/studies", "postgresql+psycopg://"),
        ("mysql://me:secret@host/studies", "mysql+pymysql://"),
        ("mariadb+nonsense://me:secret@host/studies", "mariadb+pymysql://"),
    ],
)
def test_open_storage__driver_is_missing__names_one_and_how_to_install_it(
    address: str, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(StorageError, match=re.escape(write)) as raised:
        open_storage(address)
    assert "pip install 'optformer[servers]'" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_open_storage__server_accepts_and_says_nothing__is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setattr(optuna_access, "_CONNECT_SECONDS", 2)  # the least that libpq takes
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"postgresql+psycopg://me@127.0.0.1:{server.getsockname()[1]}/studies"
        with pytest.raises(StorageError, match="timeout"):
            open_storage(address)
