from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from optformer.data.studies.errors import SearchSpaceError, StorageError, StudyError, TrialError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study import optuna_access, optuna_store
from optformer.serving.study.optuna_access import file_of, open_storage
from optformer.serving.study.storage import StorageLike, create_store, open_store
from optformer.serving.study.study import Study, create_study, load_study
from optformer.serving.study.trial_store import StudyRecord, TrialStore

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def record(space: SearchSpace) -> StudyRecord:
    return StudyRecord(config=StudyConfig(space, metric="accuracy", goal="maximize"), seed=1)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with Optuna's tables, which take half a second to make."""
    path = tmp_path_factory.mktemp("empty") / "s.db"
    optuna_access.open_storage(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite(empty_database: Path, tmp_path: Path) -> str:
    """Address of an SQLite file without studies."""
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 's.db')}"


@pytest.fixture(params=["sqlite", "journal"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a file storage without studies."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite"))
    return f"journal:///{tmp_path}/studies.journal"


class TrialStoreContract:
    """What every store keeps to; subclasses give the store."""

    @pytest.fixture
    def store(self, record: StudyRecord) -> TrialStore:
        raise NotImplementedError

    @pytest.fixture
    def new(self, point: dict[str, Value]) -> Trial:
        return Trial(number=-1, params=point, study="s")

    def test_append__new_trials__are_numbered_from_zero(
        self, store: TrialStore, new: Trial
    ) -> None:
        assert store.all() == []
        added = [store.append(new) for _ in range(3)]
        assert [trial.number for trial in added] == [0, 1, 2]
        assert store.all() == added
        assert new.number == -1

    def test_append__finished_trials__keep_their_outcome(
        self, store: TrialStore, new: Trial
    ) -> None:
        added = [
            store.append(new.finish(1 / 3, metrics={"accuracy": 1 / 3, "flops": 1e9})),
            store.append(new.finish(-0.0, stopped=True)),
            store.append(new.fail("out of memory")),
        ]
        assert store.all() == added

    def test_append__every_kind_of_value__comes_back_exactly(
        self, store: TrialStore, space: SearchSpace
    ) -> None:
        points: list[dict[str, Value]] = [
            {"x": 0.1 / 3, "kind": "sgd", "momentum": 0.1 + 0.2, "layers": 8, "width": 16},
            {"x": 1e-6, "kind": None, "layers": 1, "width": 64},
        ]
        for point, bias in zip(points, (True, False), strict=True):
            store.append(Trial(number=0, params=space.validate({**point, "bias": bias}), study="s"))
        for trial, point, bias in zip(store.all(), points, (True, False), strict=True):
            assert trial.params == {**point, "bias": bias}
            assert list(trial.params) == [name for name in space if name in trial.params]
            assert [type(v) for v in trial.params.values()] == [
                type(v) for v in {**point, "bias": bias}.values()
            ]

    @pytest.mark.parametrize("outcome", ["completed", "stopped", "failed"])
    def test_update__pending_trial__takes_its_outcome(
        self, store: TrialStore, new: Trial, outcome: str
    ) -> None:
        store.append(new)
        trial = store.append(new)
        finished = {
            "completed": trial.finish(0.1, metrics={"accuracy": 0.1, "loss": 2.5}),
            "stopped": trial.finish(-1e300, stopped=True),
            "failed": replace(trial.fail("loss is nan"), metrics={"epoch": 3.0}),
        }[outcome]
        store.update(finished)
        assert store.all()[1] == finished
        assert store.all()[0].status is TrialStatus.PENDING

    def test_update__finished_trial__is_refused_and_unchanged(
        self, store: TrialStore, new: Trial
    ) -> None:
        trial = store.append(new)
        store.update(trial.finish(0.5))
        for again in (trial.finish(0.5), trial.finish(0.7, stopped=True), trial.fail("late")):
            with pytest.raises(TrialError, match=r"trial 0 .* before: completed with value 0\.5"):
                store.update(again)
        assert store.all() == [trial.finish(0.5)]

    def test_update__unknown_number__is_refused(self, store: TrialStore, new: Trial) -> None:
        with pytest.raises(TrialError, match="has no trial 3; it has no trials"):
            store.update(replace(new, number=3).finish(0.5))
        store.append(new)
        with pytest.raises(TrialError, match="has no trial 3; it has trials 0 to 0"):
            store.update(replace(new, number=3).finish(0.5))

    def test_all__result__belongs_to_the_caller(self, store: TrialStore, new: Trial) -> None:
        store.append(new)
        store.all().clear()
        assert len(store.all()) == 1


class TestMemoryStore(TrialStoreContract):
    @pytest.fixture
    def store(self, record: StudyRecord) -> TrialStore:
        return create_store(None, "s", record)


class TestOptunaObject(TrialStoreContract):
    @pytest.fixture
    def store(self, record: StudyRecord) -> TrialStore:
        return create_store(optuna.storages.InMemoryStorage(), "s", record)


class TestSqlite(TrialStoreContract):
    @pytest.fixture
    def store(self, sqlite: str, record: StudyRecord) -> TrialStore:
        return create_store(sqlite, "s", record)


class TestJournal(TrialStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, record: StudyRecord) -> TrialStore:
        return create_store(str(tmp_path / "s.log"), "s", record)


def test_reopened_study__any_history__continues_as_without_interruption(
    address: str, make_study: Callable[..., Study], reopen: Callable[..., Study]
) -> None:
    straight, interrupted = make_study(name="a"), make_study(storage=address, name="b")
    for step in range(4):
        for study in (straight, interrupted):
            first, second = study.suggest(2)
            study.observe(first, {"accuracy": 0.1 * step, "loss": 1.0 / (step + 1)})
            if step % 2:
                study.observe(second, failed="diverged")
        interrupted = reopen(address, "b")
    assert [t.params for t in straight.suggest(3)] == [t.params for t in interrupted.suggest(3)]
    assert [replace(trial, study="b") for trial in straight.trials] == interrupted.trials


def test_two_objects_on_one_storage__see_each_other(
    address: str, make_study: Callable[..., Study], reopen: Callable[..., Study]
) -> None:
    one = make_study(storage=address)
    two = reopen(address)
    first, second = one.suggest(), two.suggest()
    assert (first.number, second.number) == (0, 1)
    assert first.params != second.params
    two.observe(first, 0.5)  # a trial suggested elsewhere
    assert one.trials == two.trials
    with pytest.raises(TrialError, match=r"trial 0 .* observed before: completed with value 0\.5"):
        one.observe(first, 0.6)
    with pytest.raises(TrialError, match="observed before"):
        one.observe(first, failed="late")
    assert one.trials[0] == first.finish(0.5)
    assert one.trials[0].metrics == {}


def test_objects_on_one_storage__asked_at_once__give_different_trials(
    address: str, make_study: Callable[..., Study], reopen: Callable[..., Study]
) -> None:
    make_study(storage=address)
    workers = [reopen(address) for _ in range(4)]
    together = threading.Barrier(len(workers))

    def work(study: Study) -> list[Trial]:
        together.wait()
        return [study.suggest() for _ in range(3)]

    with ThreadPoolExecutor(len(workers)) as pool:
        trials = [trial for found in pool.map(work, workers) for trial in found]
    assert sorted(trial.number for trial in trials) == list(range(12))
    assert len({repr(trial.params) for trial in trials}) == 12


def test_suggest_lock__held_by_another_process__is_a_storage_error(
    address: str, make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_store, "_LOCK_PATIENCE", 0.1)
    study = make_study(storage=address)
    other = make_study(storage=address, name="other")
    with other._store.suggest_lock(), pytest.raises(StorageError, match="another process has been"):
        study.suggest()
    assert study.suggest().number == 0


def test_suggest_lock__in_another_folder_than_the_study_was_made_in__is_beside_its_file(
    tmp_path: Path, make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = make_study(storage="here.journal")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with study._store.suggest_lock():
        assert (tmp_path / "here.journal.turn").exists()


def test_file_of__storages__is_the_file_of_those_that_have_one(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    for address in (str(path), f"journal:///{path}"):
        assert file_of(open_storage(address)) == path
    database = tmp_path / "a.db"
    assert file_of(open_storage(f"sqlite:///{database}")) == database
    assert file_of(open_storage("sqlite://")) is None
    assert file_of(optuna.storages.InMemoryStorage()) is None


def test_written_study__opened_by_optuna__has_everything(
    address: str, make_study: Callable[..., Study], space: SearchSpace
) -> None:
    study = make_study(storage=address, goal="minimize", metric=Weighted(loss=1.0, cost=0.5))
    trials = study.suggest(4, fixed={"kind": "sgd"})
    study.observe(trials[0], {"loss": 0.25, "cost": 1.0})
    study.observe(trials[1], failed="out of memory")
    study.observe(trials[2], {"loss": 0.5, "cost": 1.0}, stopped=True)
    opened = optuna.load_study(study_name="s", storage=optuna_access.open_storage(address))
    assert opened.direction is optuna.study.StudyDirection.MINIMIZE
    assert opened.metric_names == ["1 loss + 0.5 cost"]
    assert StudyConfig.from_dict(opened.user_attrs["optformer"]["config"]) == study.config
    found = opened.trials
    assert [t.state.name for t in found] == ["COMPLETE", "FAIL", "PRUNED", "RUNNING"]
    assert [t.value for t in found] == [0.75, None, 1.0, None]
    assert [dict(t.params) for t in found] == [dict(t.params) for t in trials]
    assert found[0].user_attrs == {"loss": 0.25, "cost": 1.0}
    assert found[1].user_attrs == {"optformer:reason": "out of memory"}
    assert found[2].intermediate_values == {0: 1.0}
    assert all(t.datetime_start is not None for t in found)
    assert [t.datetime_complete is None for t in found] == [False, False, False, True]
    assert list(found[0].distributions) == list(space)
    assert opened.best_trial.number == 0
    assert len(opened.trials_dataframe()) == 4


def test_optuna_study__opened_here__gives_space_goal_and_trials(address: str) -> None:
    storage = optuna_access.open_storage(address)
    theirs = optuna.create_study(study_name="theirs", storage=storage, direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 1e-5, 1.0 if trial.number else 0.1, log=True)
        depth = trial.suggest_int("depth", 2, 10, step=2)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        if trial.number == 1:
            trial.suggest_float("only", 0.0, 1.0)
        if trial.number == 2:
            trial.report(0.25, 4)
            raise optuna.TrialPruned
        if trial.number == 3:
            raise RuntimeError("broken")
        if trial.number == 4:
            return float("inf")
        trial.set_user_attr("seconds", 12)
        trial.set_user_attr("host", "alpha")
        return x * depth + (kind == "a")

    optuna_verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    theirs.optimize(objective, n_trials=5, catch=(RuntimeError,))
    optuna.logging.set_verbosity(optuna_verbosity)
    asked = theirs.ask()
    theirs.enqueue_trial({"depth": 4})

    ours = load_study(storage=address, name="theirs")
    assert ours.config == StudyConfig(
        SearchSpace(
            x=Float(1e-5, 1.0, log=True),
            depth=Int(2, 10, step=2),
            kind=Categorical(["a", "b"]),
            only=Float(0.0, 1.0),
        ),
        metric="value",
        goal="maximize",
    )
    trials = ours.trials
    assert [trial.status.value for trial in trials] == [
        *["completed", "completed", "stopped", "failed", "failed", "pending", "pending"]
    ]
    assert trials[0].params == theirs.trials[0].params
    assert trials[0].value == theirs.trials[0].value
    assert trials[0].metrics == {"seconds": 12.0}
    assert trials[2].value == 0.25
    assert "inf" in str(trials[4].reason)
    assert trials[6].params == {"depth": 4}
    assert load_study(storage=address).seed == ours.seed

    ours.observe(trials[asked.number], 3.0)
    added = ours.observe({"x": 0.5, "depth": 4, "kind": "b", "only": 0.5}, 2.0)
    assert theirs.trials[asked.number].value == 3.0
    assert theirs.trials[added.number].params == dict(added.params)
    assert "optformer" not in theirs.user_attrs


def test_optuna_study__metric_name__is_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "o.log")
    theirs = optuna.create_study(study_name="o", storage=optuna_access.open_storage(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        theirs.set_metric_names(["loss"])
    theirs.tell(theirs.ask({"one": optuna.distributions.IntDistribution(3, 3)}), 1.0)
    config = load_study(storage=path).config
    assert (config.metric, config.goal) == ("loss", "minimize")
    assert config.space == SearchSpace(one=Ordinal([3]))


def test_load_study__nothing_to_search__says_why(tmp_path: Path) -> None:
    path = str(tmp_path / "o.log")
    with pytest.raises(StorageError, match="cannot be opened: there is no file"):
        load_study(storage=path)
    assert not list(tmp_path.iterdir())  # looking for it makes none
    storage = optuna_access.open_storage(path)
    with pytest.raises(StudyError, match=re.escape("needs name=; this storage has []")):
        load_study(storage=path)
    optuna.create_study(study_name="empty", storage=storage)
    optuna.create_study(study_name="two goals", storage=storage, directions=["minimize"] * 2)
    with pytest.raises(StudyError, match=re.escape("this storage has ['empty', 'two goals']")):
        load_study(storage=path)
    with pytest.raises(StudyError, match="there is no study 'other'; this storage has"):
        load_study(storage=path, name="other")
    with pytest.raises(StudyError, match=r"'empty' has neither .* its search space is unknown"):
        load_study(storage=path, name="empty")
    with pytest.raises(StudyError, match="'two goals' has 2 objectives"):
        load_study(storage=path, name="two goals")
    with pytest.raises(StudyError, match="needs storage="):
        load_study(storage=None)  # type: ignore[arg-type]


def test_create_study__name_taken__says_how_to_open_it(
    address: str, make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    make_study(storage=address).observe(point, 0.5)
    with pytest.raises(StudyError, match="'s' is already in this storage; open it with load_study"):
        make_study(storage=address)
    assert len(load_study(storage=address).trials) == 1


def test_create_study__space_that_optuna_cannot_hold__writes_nothing(address: str) -> None:
    space = SearchSpace(flag=Categorical([True, 1]))
    with pytest.raises(SearchSpaceError, match="parameter 'flag': Optuna cannot tell True from 1"):
        create_study(space, metric="accuracy", goal="maximize", storage=address, name="s")
    assert optuna.get_all_study_names(optuna_access.open_storage(address)) == []


def test_load_study__newer_format__is_refused(tmp_path: Path, record: StudyRecord) -> None:
    path = str(tmp_path / "s.log")
    create_store(path, "s", record)
    study = optuna.load_study(study_name="s", storage=optuna_access.open_storage(path))
    study.set_user_attr("optformer", {**record.to_dict(), "format_version": 99})
    with pytest.raises(StorageError, match=r"format_version 99, this version .* reads 1"):
        open_store(path, "s")


def test_study_record__to_dict__is_read_back(record: StudyRecord) -> None:
    full = replace(record, strategy="ts", model="/models/ours")
    assert StudyRecord.from_dict(full.to_dict()) == full


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


def test_suggest_and_observe__sqlite__write_once_each(
    sqlite: str, make_study: Callable[..., Study]
) -> None:
    storage = optuna.storages.RDBStorage(sqlite)
    study = make_study(storage=storage)
    waiting: list[str] = []
    commits: list[list[str]] = []

    @sqlalchemy.event.listens_for(storage.engine, "before_cursor_execute")
    def collect(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            waiting.append(statement)

    @sqlalchemy.event.listens_for(storage.engine, "commit")
    def count(conn: Any) -> None:
        if waiting:
            commits.append(list(waiting))
            waiting.clear()

    trial = study.suggest()
    assert len(commits) == 1
    assert any("INSERT INTO trials " in statement for statement in commits[0])
    study.observe(trial, 0.5)
    assert len(commits) == 2


@pytest.mark.slow
def test_suggest_and_observe__sqlite__costs_milliseconds(
    sqlite: str, make_study: Callable[..., Study]
) -> None:
    study = make_study(storage=sqlite)
    started = time.process_time()
    for step in range(100):
        study.observe(study.suggest(), step)
    assert (time.process_time() - started) / 100 < 0.050  # measured: 0.017, taking turns 0.002


# ------------------------------------------------------------------------------- faults


def test_full_disk__sqlite__loses_nothing(
    sqlite: str, make_study: Callable[..., Study], reopen: Callable[..., Study]
) -> None:
    storage = optuna.storages.RDBStorage(sqlite)
    study = make_study(storage=storage)
    first, second = study.suggest(2)
    study.observe(first, 0.5)
    full = True

    @sqlalchemy.event.listens_for(storage.engine, "begin")
    def limit(connection: sqlalchemy.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages if full else 10**6}")

    reason = "x" * 50_000
    with pytest.raises(StorageError, match=r"trial 1 .*the disk is full .*repeat the call"):
        study.observe(second, failed=reason)
    assert study.trials == [first.finish(0.5), second]
    assert reopen(sqlite).trials == [first.finish(0.5), second]
    full = False
    study.observe(second, failed=reason)
    assert reopen(sqlite).trials[1] == second.fail(reason)


@pytest.mark.parametrize("landed", [False, True])
def test_full_disk__journal__loses_nothing(
    tmp_path: Path,
    make_study: Callable[..., Study],
    reopen: Callable[..., Study],
    monkeypatch: pytest.MonkeyPatch,
    landed: bool,
) -> None:
    path = str(tmp_path / "s.log")
    study = make_study(storage=path)
    trial = study.suggest()
    whole = os.path.getsize(path)

    def no_space(descriptor: int) -> None:
        if not landed:  # the system took half of the line
            os.ftruncate(descriptor, whole + 20)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(StorageError, match=r"trial 0 .*the disk is full .*repeat the call"):
            study.observe(trial, 0.5)
    if not landed:
        assert study.trials == [trial]
        assert reopen(path).trials == [trial]
    assert study.observe(trial, 0.5) == trial.finish(0.5)
    assert study.trials == reopen(path).trials == [trial.finish(0.5)]
    with pytest.raises(TrialError, match="observed before"):
        study.observe(trial, 0.5)


def test_suggest__disk_full_half_way__names_the_recorded_trials(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = make_study(storage=storage)
    create = storage.create_new_trial

    def fail_third(study_id: int, template_trial: Any = None) -> int:
        if storage.get_n_trials(study_id) == 2:
            raise OSError(28, "No space left on device")
        return create(study_id, template_trial)

    monkeypatch.setattr(storage, "create_new_trial", fail_third)
    with pytest.raises(
        StorageError, match=r"disk is full .*; trials 0, 1 of this call are pending"
    ):
        study.suggest(4)
    assert [trial.status for trial in study.trials] == [TrialStatus.PENDING] * 2
    monkeypatch.undo()
    assert study.suggest().number == 2


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


_WORKER = """
    import sys
    from optformer.data.studies.trials import Trial
    from optformer.serving.study.storage import open_store

    store, name, record = open_store(sys.argv[1], "s")
    point = {"x": 0.001, "kind": "adam", "layers": 3, "width": 32, "bias": True}
    for step in range(int(sys.argv[2])):
        trial = store.append(Trial(number=-1, params=point, study=name))
        store.update(trial.finish(step / 8, metrics={"step": float(step)}))
        print(trial.number, step, flush=True)
"""


def _start_worker(address: str, steps: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WORKER), address, str(steps)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("lines", [1, 7])
def test_killed_process__at_any_moment__loses_no_observed_trial(
    address: str, record: StudyRecord, lines: int
) -> None:
    create_store(address, "s", record)
    worker = _start_worker(address, 10_000)
    assert worker.stdout is not None
    told = [worker.stdout.readline() for _ in range(lines)]
    worker.send_signal(signal.SIGKILL)
    told += worker.stdout.readlines()
    worker.wait()
    worker.stdout.close()
    trials = open_store(address, "s")[0].all()
    assert len(told) >= lines
    for number, step in (map(int, line.split()) for line in told if line.endswith("\n")):
        assert trials[number].value == step / 8
        assert trials[number].metrics == {"step": step}
    assert len(trials) <= len(told) + 2


def test_two_processes__writing_at_once__lose_nothing(address: str, record: StudyRecord) -> None:
    create_store(address, "s", record)
    workers = [_start_worker(address, 8) for _ in range(2)]
    told = [worker.communicate()[0].split("\n")[:-1] for worker in workers]
    assert [len(lines) for lines in told] == [8, 8]
    numbers = sorted(int(line.split()[0]) for lines in told for line in lines)
    assert numbers == list(range(16))
    trials = open_store(address, "s")[0].all()
    assert [trial.number for trial in trials] == numbers
    assert all(trial.status is TrialStatus.COMPLETED for trial in trials)
