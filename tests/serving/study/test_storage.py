"""One study in several processes, and faults that may lose nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from optformer.data.studies.errors import StorageError, StudyError, TrialError
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.storage import create_store, delete_study, list_studies, open_store
from optformer.serving.study.study import Study
from optformer.serving.study.trial_store import StudyRecord

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

    reason = "x" * 10_000
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


def test_delete_study__one_of_two__is_gone_for_good(
    make_study: Callable[..., Study], address: str
) -> None:
    for name in ("b", "a"):
        make_study(storage=address, name=name).suggest()
    assert list_studies(address) == ["a", "b"]
    delete_study("a", address)
    assert list_studies(address) == ["b"]
    with pytest.raises(StudyError, match=r"no study 'a'; this storage has \['b'\]"):
        delete_study("a", address)
    assert make_study(storage=address, name="a").trials == []


def test_list_studies__no_such_file__makes_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no file"):
        list_studies(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []
