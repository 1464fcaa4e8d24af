"""Requests that are too much, too many, malformed or somebody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.service.app import create_app
from optformer.serving.service.limits import Limits, Rates
from optformer.serving.service.tokens import Tokens, make_token, read_tokens

CONFIG = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), metric="m", goal="maximize").to_dict()


def create(client: TestClient, name: str, token: str | None = None, **more: Any) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return client.post(
        "/v1/studies", json={"name": name, "config": CONFIG, **more}, headers=headers
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.txt"


@pytest.fixture
def guarded(storage: str, file: Path, make_planner: Any) -> Iterator[tuple[TestClient, str, str]]:
    """A client, and the tokens of alice and bob."""
    alice, bob = make_token(file, "alice"), make_token(file, "bob")
    with TestClient(create_app(storage, tokens=Tokens(file), make_planner=make_planner)) as client:
        yield client, alice, bob


@pytest.fixture(scope="module")
def empty(
    service_database: Path, tmp_path_factory: pytest.TempPathFactory, make_planner: Any
) -> Iterator[TestClient]:
    """A client of a server in which nothing is stored."""
    copy = shutil.copy(service_database, tmp_path_factory.mktemp("empty") / "s.db")
    with TestClient(
        create_app(f"sqlite:///{copy}", limits=Limits(burst=10_000), make_planner=make_planner)
    ) as client:
        yield client


def test_tokens__of_another_owner__see_nothing_of_a_study(
    guarded: tuple[TestClient, str, str],
) -> None:
    client, alice, bob = guarded
    assert create(client, "secret plan", alice).status_code == 201
    theirs = {"Authorization": f"Bearer {bob}"}
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/trials", None),
        ("POST", "/suggestions", {}),
        ("POST", "/trials/0/observation", {"value": 1.0}),
    ):
        there = client.request(
            method, f"/v1/studies/secret%20plan{path}", json=body, headers=theirs
        )
        nowhere = client.request(
            method, f"/v1/studies/other%20plan{path}", json=body, headers=theirs
        )
        assert there.status_code == nowhere.status_code == 404
        assert there.text == nowhere.text.replace("other", "secret")
    for name in ("alice/secret plan", "../alice/secret plan"):
        path = f"/v1/studies/{name.replace('/', '%2F').replace(' ', '%20')}"
        assert client.get(path, headers=theirs).status_code == 404
    assert client.get("/v1/studies", headers=theirs).json() == {"names": []}
    assert create(client, "secret plan", bob).status_code == 201
    mine = {"Authorization": f"Bearer {alice}"}
    assert client.get("/v1/studies", headers=mine).json() == {"names": ["secret plan"]}


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic !", "Digest x"])
def test_tokens__that_are_not_known__get_nowhere(
    guarded: tuple[TestClient, str, str], header: str | None
) -> None:
    client, _, _ = guarded
    answer = client.get("/v1/studies", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert "wrong" not in answer.text
    assert client.get("/health").status_code == 200


def test_tokens__as_a_browser_sends_them__pass(guarded: tuple[TestClient, str, str]) -> None:
    client, alice, _ = guarded
    assert client.get("/v1/studies", auth=("any", alice)).status_code == 200


def test_tokens__removed_from_the_file__are_taken_back(
    guarded: tuple[TestClient, str, str], file: Path
) -> None:
    client, alice, bob = guarded
    file.write_text(file.read_text().splitlines()[1] + "\n")
    assert client.get("/v1/studies", auth=("", alice)).status_code == 401
    assert client.get("/v1/studies", auth=("", bob)).status_code == 200


def test_make_token__leaves_only_a_hash_that_only_its_user_reads(file: Path) -> None:
    token = make_token(file, "alice")
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert list(read_tokens(file).values()) == ["alice"]
    for owner in ("Alice", "a/b", "", "a b"):
        with pytest.raises(ConfigError):
            make_token(file, owner)
    file.write_text(token)
    with pytest.raises(ConfigError) as raised:
        read_tokens(file)
    assert token not in str(raised.value)


def test_rates__of_one_client__leave_the_others_alone() -> None:
    now = [0.0]
    rates = Rates(2.0, 3, clock=lambda: now[0])
    assert [rates.wait("a") for _ in range(4)] == [0, 0, 0, 1]
    assert rates.wait("b") == 0
    now[0] += 0.5
    assert [rates.wait("a"), rates.wait("a")] == [0, 1]


def test_limits__that_are_passed__are_told(storage: str, make_planner: Any) -> None:
    limits = Limits(body=2000, rate=0.001, burst=8, studies=1)
    with TestClient(create_app(storage, limits=limits, make_planner=make_planner)) as client:
        assert create(client, "a").status_code == 201
        assert create(client, "b").json()["faults"][0]["got"] == "'1 studies'"
        large = json.dumps({"name": "x" * 3000})
        kind = {"Content-Type": "application/json"}
        assert client.post("/v1/studies", content=large, headers=kind).status_code == 413

        def pieces() -> Iterator[bytes]:
            yield from [b"x" * 1500] * 3

        answer = client.post("/v1/studies", content=pieces(), headers=kind)
        assert (answer.status_code, answer.json()["faults"][0]["field"]) == (413, "body")
        answers = [client.get("/v1/studies") for _ in range(8)]
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) > 100


DEEP = '{"config":' + "[" * 100_000 + "]" * 100_000 + "}"
CONFIG_TEXT = json.dumps(CONFIG)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"\xff\xfe", "body"),
        (DEEP.encode(), "body"),
        (b'{"config": {}, "config": {}}', "body"),
        (b'{"config": {}, "seed": NaN}', "body"),
        (b'{"config": {}, "seed": 1e999}', "body"),
        (b'{"config": {}, "seed": 1' + b"0" * 5000 + b"}", "body"),
        (b'{"config": {}, "seed": 1' + b"0" * 300 + b"}", "seed"),
        (b'{"config": {}, "seed": 1.5}', "seed"),
        (b'{"config": {}, "seed": true}', "seed"),
        (b'{"config": {}}', "config"),
        (b'{"config": {"space": [], "metric": 1, "goal": []}}', "config"),
        (
            b'{"config": {"space": {"x": {"type": "float", "low": 0, "high": 1'
            + b"0" * 350
            + b"}}}}",
            "config",
        ),
        (CONFIG_TEXT.join(['{"config": ', ', "name": "\\ud800"}']).encode(), "name"),
        (CONFIG_TEXT.join(['{"config": ', ', "name": "a\\u0000"}']).encode(), "name"),
        (CONFIG_TEXT.join(['{"config": ', ', "name": "a\\u0007"}']).encode(), "name"),
        (CONFIG_TEXT.join(['{"config": ', ', "name": ".."}']).encode(), "name"),
        (CONFIG_TEXT.join(['{"config": ', ', "strategy": "best"}']).encode(), "strategy"),
        (CONFIG_TEXT.join(['{"config": ', ', "pruner": "__import__(1)"}']).encode(), "pruner"),
        (CONFIG_TEXT.join(['{"config": ', ', "model": "/etc/passwd"}']).encode(), "model"),
        (CONFIG_TEXT.join(['{"config": ', ', "name": "' + "x" * 201 + '"}']).encode(), "name"),
    ],
)
def test_bodies__that_are_malformed__name_the_field_and_store_nothing(
    empty: TestClient, body: bytes, field: str
) -> None:
    answer = empty.post("/v1/studies", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["faults"][0]["field"] == field
    assert len(answer.text) < 6000
    assert empty.get("/v1/studies").json() == {"names": []}


def test_requests__of_another_kind__are_refused(client: TestClient) -> None:
    assert client.post("/v1/studies", content=CONFIG_TEXT).status_code == 415
    assert client.post("/v1/studies", data={"name": "a"}).status_code == 415
    answer = client.patch("/v1/studies")
    assert (answer.status_code, answer.json()["faults"][0]["field"]) == (405, "method")
    assert client.get("/v1/studies/%FF/trials").status_code == 404
    assert client.get("/v1/studies/a%00b/trials").status_code == 404
    assert client.get("/docs").status_code == 404
