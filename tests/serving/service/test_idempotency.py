"""Requests that are repeated are done once, also by another server and after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.service.app import create_app
from optformer.serving.service.client_store import ClientStore

SPACE = SearchSpace(x=Float(0.0, 1.0), kind=Categorical(["a", "b"]))
CONFIG = StudyConfig(SPACE, metric="m", goal="maximize").to_dict()
KEY = {"Idempotency-Key": "k-1"}


@pytest.fixture
def two(storage: str, make_planner: Any) -> Iterator[list[TestClient]]:
    """Clients of two servers on one storage."""
    with ExitStack() as stack:
        apps = [create_app(storage, make_planner=make_planner) for _ in range(2)]
        yield [stack.enter_context(TestClient(app)) for app in apps]


@pytest.fixture
def path(two: list[TestClient]) -> str:
    created = two[0].post("/v1/studies", json={"name": "s", "config": CONFIG, "seed": 1})
    assert created.status_code == 201
    return "/v1/studies/s"


def test_create__repeated__is_the_same_study(two: list[TestClient]) -> None:
    first, second = (c.post("/v1/studies", json={"config": CONFIG}, headers=KEY) for c in two)
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert two[0].get("/v1/studies").json()["names"] == [first.json()["name"]]
    other = two[1].post(
        "/v1/studies", json={"config": CONFIG, "name": first.json()["name"]}, headers=KEY
    )
    assert (other.status_code, other.json()["faults"][0]["field"]) == (422, "Idempotency-Key")
    again = {"config": CONFIG, "name": first.json()["name"]}
    assert two[1].post("/v1/studies", json=again).status_code == 409


def test_suggest__repeated__gives_the_same_trials(two: list[TestClient], path: str) -> None:
    two[0].post(f"{path}/enqueued", json={"params": {"x": 0.25}})
    first, second = (
        client.post(f"{path}/suggestions", json={"count": 3}, headers=KEY) for client in two
    )
    assert first.json() == second.json()
    assert [trial["number"] for trial in first.json()["trials"]] == [0, 1, 2]
    assert first.json()["trials"][1]["explanation"]["source"] == "space"
    other = two[0].post(f"{path}/suggestions", json={"count": 2}, headers=KEY)
    assert (other.status_code, other.json()["faults"][0]["field"]) == (422, "Idempotency-Key")
    within = [
        client.post(f"{path}/suggestions", json={"budget": 4}, headers={"Idempotency-Key": "k-2"})
        for client in two
    ]
    assert [[t["number"] for t in answer.json()["trials"]] for answer in within] == [[3], [3]]
    assert len(two[1].get(f"{path}/trials").json()["trials"]) == 4


def test_suggest__of_a_request_cut_short__makes_what_is_missing(
    two: list[TestClient], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optformer.data.studies.errors import StorageError
    from optformer.serving.service.client_store import ClientStore

    append, calls = ClientStore.append, []

    def fail_at_the_third(self: Any, trial: Any) -> Any:
        calls.append(trial)
        if len(calls) == 3:
            raise StorageError("the storage is away")
        return append(self, trial)

    monkeypatch.setattr(ClientStore, "append", fail_at_the_third)
    cut = two[0].post(f"{path}/suggestions", json={"count": 4}, headers=KEY)
    assert (cut.status_code, cut.headers["Retry-After"]) == (503, "2")
    again = two[1].post(f"{path}/suggestions", json={"count": 4}, headers=KEY)
    assert [trial["number"] for trial in again.json()["trials"]] == [0, 1, 2, 3]


def test_observe__repeated__answers_the_same_once(two: list[TestClient], path: str) -> None:
    two[0].post(f"{path}/suggestions", json={})
    body = {"value": {"m": 0.5, "cost": "NaN"}}
    first, second = (
        client.post(f"{path}/trials/0/observation", json=body, headers=KEY) for client in two
    )
    assert first.status_code == 200
    assert first.json() == second.json()
    assert first.json()["warnings"]
    assert two[1].post(f"{path}/trials/0/observation", json=body).status_code == 409
    other = two[1].post(f"{path}/trials/0/observation", json={"value": 0.7}, headers=KEY)
    assert (other.status_code, other.json()["faults"][0]["field"]) == (422, "Idempotency-Key")


def test_observe__repeated_at_the_same_time__answers_the_same_once(
    two: list[TestClient], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = two[0].post(f"{path}/suggestions", json={}).json()["trials"][0]["number"]
    route = f"{path}/trials/{number}/observation"
    first = two[0].post(route, json={"value": 0.5}, headers=KEY)
    observed = ClientStore.observed
    seen = []

    def too_early(store: ClientStore) -> Any:  # looks before the first one has written
        seen.append(observed(store))
        return None if len(seen) == 1 else seen[-1]

    monkeypatch.setattr(ClientStore, "observed", too_early)
    second = two[1].post(route, json={"value": 0.5}, headers=KEY)
    assert (second.status_code, second.json()) == (first.status_code, first.json())


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("observations", {"params": {"x": 0.5, "kind": "a"}, "value": 1.0}),
        ("enqueued", {"params": {"x": 0.5}}),
    ],
)
def test_additions__repeated_at_the_same_time__add_one_trial(
    two: list[TestClient], path: str, verb: str, body: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda i: two[i % 2].post(f"{path}/{verb}", json=body, headers=KEY), range(8))
        )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(two[0].get(f"{path}/trials").json()["trials"]) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9"])
def test_keys__that_are_none__are_refused(two: list[TestClient], path: str, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = two[0].post(f"{path}/suggestions", json={}, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["faults"][0]["field"]) == (422, "Idempotency-Key")
