"""Pending trials of processes that have ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from optformer.data.studies.errors import TrialError
from optformer.data.studies.trials import TrialStatus
from optformer.serving.study import optuna_access, owners
from optformer.serving.study.study import Study


def _ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_is_gone__this_process__is_there() -> None:
    assert not owners.is_gone(owners.this_process(), 0.0)


def test_is_gone__process_that_ended__is_gone() -> None:
    ended = {**owners.this_process(), "process": _ended_process()}
    assert owners.is_gone(ended, time.time())


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="beginnings are not told")
def test_is_gone__number_used_again__is_gone() -> None:
    assert owners.is_gone({**owners.this_process(), "began": "1"}, time.time())


def test_is_gone__another_machine__is_gone_after_its_lease() -> None:
    other = {**owners.this_process(), "host": "elsewhere", "process": _ended_process()}
    assert not owners.is_gone(other, time.time() - owners.LEASE_SECONDS + 10)
    assert owners.is_gone(other, time.time() - owners.LEASE_SECONDS - 10)


def test_is_gone__process_that_tells_nothing__is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owners.this_process()
    monkeypatch.setattr(owners, "_began", lambda process: None)  # as /proc with hidepid
    assert not owners.is_gone(owner, 0.0)


@pytest.mark.parametrize("owner", [None, "text", {}, {"process": "1"}])
def test_is_gone__nothing_is_known__is_not_gone(owner: object) -> None:
    assert not owners.is_gone(owner, 0.0)


def test_fail_stale_trials__owner_was_killed__fails_its_trials_alone(
    address: str, make_study: Callable[..., Study], reopen: Callable[..., Study]
) -> None:
    study = make_study(storage=address)
    mine = study.suggest()
    if (child := os.fork()) == 0:
        reopen(address).suggest(2)
        os._exit(0)
    os.waitpid(child, 0)
    other = reopen(address)
    assert [trial.number for trial in other.fail_stale_trials()] == [1, 2]
    assert [trial.interrupted for trial in study.trials] == [False, True, True]
    assert other.fail_stale_trials() == []
    assert other.observe(mine, 0.5).value == 0.5


def test_fail_stale_trials__trial_of_optuna__is_failed_by_its_age_if_wanted(
    address: str, reopen: Callable[..., Study]
) -> None:
    theirs = optuna.create_study(storage=optuna_access.open_storage(address), study_name="s")
    theirs.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    theirs.enqueue_trial({"x": 0.5})
    study = reopen(address)
    assert study.fail_stale_trials() == []
    assert study.fail_stale_trials(older_than=60) == []
    assert [trial.number for trial in study.fail_stale_trials(older_than=0)] == [0]
    assert study.trials[1].status is TrialStatus.PENDING


def _suggest_in_a_process_that(ends: str, reopen: Callable[..., Study], address: str) -> None:
    if (child := os.fork()) == 0:
        reopen(address).suggest()
        if ends == "in order":
            owners._hand_over()  # what multiprocessing and the interpreter do at their end
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.parametrize("ends", ["killed", "in order"])
def test_suggest__owner_ended__gives_up_its_trials_after_the_lease_if_it_was_killed(
    ends: str,
    address: str,
    make_study: Callable[..., Study],
    reopen: Callable[..., Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(storage=address)
    _suggest_in_a_process_that(ends, reopen, address)
    study.suggest()
    assert not study.trials[0].interrupted
    later = time.time() + owners.LEASE_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    study.suggest()
    assert [trial.interrupted for trial in study.trials] == [ends == "killed", False, False]


def test_adopt__trial_of_a_killed_process__is_left_alone_from_then_on(
    address: str, make_study: Callable[..., Study], reopen: Callable[..., Study]
) -> None:
    study = make_study(storage=address)
    _suggest_in_a_process_that("killed", reopen, address)
    study.adopt(study.trials[0])
    assert reopen(address).fail_stale_trials() == []
    study.observe(study.trials[0], 0.5)
    with pytest.raises(TrialError, match="observed before"):
        study.adopt(study.trials[0])


def test_fail_stale_trials__enqueued_trial__is_enqueued_again_once(
    address: str, make_study: Callable[..., Study], reopen: Callable[..., Study]
) -> None:
    study = make_study(storage=address)
    theirs = optuna.load_study(study_name="s", storage=optuna_access.open_storage(address))
    theirs.enqueue_trial({"x": 0.01})
    for number in (0, 1):
        _suggest_in_a_process_that("killed", reopen, address)
        assert [trial.number for trial in study.fail_stale_trials()] == [number]
    again = study.suggest()
    assert (again.number, again.params["x"]) == (2, 0.01)


def test_heartbeat__trial_that_another_process_has_observed__ends(
    address: str,
    make_study: Callable[..., Study],
    reopen: Callable[..., Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners, "HEARTBEAT_SECONDS", 0.02)
    before = set(threading.enumerate())
    study = make_study(storage=address)
    reopen(address).observe(study.suggest(), 0.5)
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_heartbeat__fork__has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()

    def beat(trial: int) -> None:
        os.write(writer, b"%d" % trial)

    heartbeat = owners.Heartbeat(beat, print)
    heartbeat.add(1)
    monkeypatch.setattr(owners, "HEARTBEAT_SECONDS", 0.01)
    if (child := os.fork()) == 0:
        heartbeat.add(2)
        time.sleep(10)
        os._exit(1)
    try:
        assert os.read(reader, 1) == b"2"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        heartbeat.remove(1)


def test_heartbeat__pending_trial__is_told_until_it_is_observed(
    address: str, make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "HEARTBEAT_SECONDS", 0.02)
    study = make_study(storage=address)
    before = set(threading.enumerate())
    trial = study.suggest()
    stored = optuna.load_study(study_name="s", storage=optuna_access.open_storage(address))
    deadline = time.monotonic() + 10

    def heard() -> Any:
        return stored.trials[0].system_attrs.get("optformer:heartbeat")

    while heard() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert heard() == pytest.approx(time.time(), abs=10)
    study.observe(trial, 0.5)
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
