"""Clients have their trials for a lease."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from optformer.serving.service.client_store import Lease
from optformer.serving.service.leases import Leases
from optformer.serving.study.study import load_study


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(client: TestClient) -> Clock:
    """The clock of the leases of the server, which the test alone looks at."""
    clock = Clock()
    studies: Any = client.app.state.studies  # type: ignore[attr-defined]
    studies._leases = Leases(clock)
    return clock


def expire(client: TestClient) -> tuple[int, int]:
    """Look for leases that have ended: how many hold, how many have ended."""
    studies: Any = client.app.state.studies  # type: ignore[attr-defined]
    found: tuple[int, int] = studies.expire_leases()
    return found


def test_ended__silent_for_its_seconds__and_no_sooner() -> None:
    clock = Clock()
    leases = Leases(clock)
    assert leases.ended([Lease(1, "a", 10.0), Lease(2, "a", 30.0)]) == {}
    clock.now = 9.0
    assert leases.ended([Lease(1, "b", 10.0), Lease(2, "a", 30.0)]) == {}
    clock.now = 18.0
    assert leases.ended([Lease(1, "b", 10.0), Lease(2, "a", 30.0)]) == {}
    clock.now = 30.0
    assert set(leases.ended([Lease(1, "b", 10.0), Lease(2, "a", 30.0)])) == {1, 2}


def test_leases__of_clients_that_beat_or_report__hold(
    client: TestClient, study: str, clock: Clock
) -> None:
    client.post(f"{study}/suggestions", json={"count": 3, "lease": 60})
    assert expire(client) == (3, 0)
    clock.now = 50.0
    assert client.post(f"{study}/trials/0/heartbeat", json={}).status_code == 204
    client.post(f"{study}/trials/1/reports", json={"step": 0, "value": 1.0})
    assert expire(client) == (3, 0)
    clock.now = 70.0
    assert expire(client) == (2, 1)
    statuses = [trial["status"] for trial in client.get(f"{study}/trials").json()["trials"]]
    assert statuses == ["pending", "pending", "failed"]
    assert client.get(f"{study}/trials/2").json()["reason"] == "interrupted"
    assert client.post(f"{study}/trials/2/heartbeat", json={}).status_code == 409


def test_observe__after_the_lease__becomes_a_new_trial_once(
    client: TestClient, study: str, clock: Clock
) -> None:
    client.post(f"{study}/suggestions", json={"lease": 60})
    expire(client)
    clock.now = 61.0
    assert expire(client) == (0, 1)
    key = {"Idempotency-Key": "late"}
    late, again = (
        client.post(f"{study}/trials/0/observation", json={"value": 1.0}, headers=key)
        for _ in range(2)
    )
    assert late.json() == again.json()
    assert late.json()["trial"]["number"] == 1
    assert client.post(f"{study}/trials/0/observation", json={"value": 2.0}).status_code == 409


def test_leases__when_the_clock_of_the_day_jumps__hold(
    client: TestClient, study: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post(f"{study}/suggestions", json={"lease": 60})
    now = time.time
    for pending, jump in enumerate((-86_400.0, 86_400.0), 1):
        monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
        assert expire(client) == (pending, 0)
        assert client.post(f"{study}/suggestions", json={}).status_code == 200
    statuses = {trial["status"] for trial in client.get(f"{study}/trials").json()["trials"]}
    assert statuses == {"pending"}


def test_trials__that_a_client_has__are_left_alone_by_the_library(
    client: TestClient, study: str, storage: str
) -> None:
    client.post(f"{study}/suggestions", json={"worker": "gpu 3"})
    loaded = load_study(storage=storage, name="my study/1")
    assert loaded.fail_stale_trials() == []
    assert loaded.fail_stale_trials(older_than=0.0) == []


def test_heartbeat__with_a_lease__takes_the_trial_over(
    client: TestClient, study: str, clock: Clock
) -> None:
    client.post(f"{study}/suggestions", json={"lease": 60})
    client.post(f"{study}/trials/0/heartbeat", json={"lease": 600, "worker": "other"})
    expire(client)
    clock.now = 500.0
    assert expire(client) == (1, 0)
    clock.now = 601.0
    assert expire(client) == (0, 1)
