"""Requests: repeated while the server is away, with the library's errors, and a hidden token."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from optformer.data.studies.errors import (
    ConfigError,
    OptFormerError,
    SpaceExhaustedError,
    StorageError,
    StudyError,
    TrialError,
)
from optformer.serving.client import connection as module
from optformer.serving.client.client import Client, connect
from optformer.serving.client.connection import Connection, ServerAwayError, Token
from optformer.serving.client.study_routes import StudyRoutes

httpx = pytest.importorskip("httpx")

SECRET = "s3cret-of-alice"
Answer = Any


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are made, none of which takes time."""
    made: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        made.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(module.time, "sleep", sleep)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    return made


def connection(answer: Callable[[Any], Answer], patience: float = 30.0) -> Connection:
    transport = httpx.MockTransport(answer)
    return Connection(
        "http://host:8000/", Token(SECRET), timeout=1, patience=patience, transport=transport
    )


def refusal(status: int, error: str, message: str, **headers: str) -> Any:
    fault = {"field": "request", "expected": message, "got": "it"}
    body = {"error": error, "message": f"request: expected {message}", "faults": [fault]}
    return httpx.Response(
        status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_call__server_away_for_a_while__is_repeated_with_longer_pauses(pauses: list[float]) -> None:
    seen = []

    def answer(request: Any) -> Answer:
        seen.append((request.headers["Idempotency-Key"], request.headers["Authorization"]))
        if len(seen) < 5:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"done": True})

    assert connection(answer).call("POST", "/v1/x", {"a": 1}, key="k") == {"done": True}
    assert seen == [("k", f"Bearer {SECRET}")] * 5
    for pause, expected in zip(pauses, (0.25, 0.5, 1.0, 2.0), strict=True):
        assert 0.5 * expected <= pause <= 1.5 * expected


@pytest.mark.parametrize("status", [429, 503])
def test_call__busy_server__is_given_the_time_that_it_asks_for(
    pauses: list[float], status: int
) -> None:
    answers = iter([refusal(status, "StorageError", "less", Retry_After="7"), httpx.Response(204)])
    assert connection(lambda request: next(answers)).call("GET", "/v1/x") is None
    assert pauses == [7.0]


def test_call__server_away_for_long__says_where_and_how_often(pauses: list[float]) -> None:
    def away(request: Any) -> Answer:
        raise httpx.ConnectTimeout("timed out")

    with pytest.raises(
        StorageError, match=r"cannot reach http://host:8000: ConnectTimeout.* times"
    ):
        connection(away).call("GET", "/v1/x")
    assert sum(pauses) <= 30.0
    with pytest.raises(ServerAwayError, match="tried once"):
        connection(away).call("GET", "/v1/x", patience=0.0)


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (409, "TrialError", TrialError),
        (409, "SpaceExhaustedError", SpaceExhaustedError),
        (500, "ConfigError", ServerAwayError),
        (418, "SystemExit", StorageError),
    ],
)
def test_call__refusal__is_raised_as_the_library_does(
    status: int, name: str, kind: type[OptFormerError]
) -> None:
    with pytest.raises(kind, match="in the library's words"):
        connection(lambda request: refusal(status, name, "in the library's words")).call("GET", "/")


def test_call__token_of_nobody__says_where_one_comes_from() -> None:
    unknown = refusal(401, "HTTPException", "a token")
    with pytest.raises(ServerAwayError, match="does not know the token; give the one that") as seen:
        connection(lambda request: unknown).call("GET", "/")
    assert SECRET not in str(seen.value)


def test_call__something_else_answers__is_told(pauses: list[float]) -> None:
    page = httpx.Response(200, text="<html>Please log in</html>")
    with pytest.raises(StorageError, match="not as a server of studies does: '<html>Please"):
        connection(lambda request: page).call("GET", "/v1/studies")


def test_token__anything_that_is_shown__does_not_have_it(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    def away(request: Any) -> Answer:
        raise httpx.ConnectError("refused")

    caplog.set_level(logging.DEBUG)
    opened = connection(away)
    copied = pickle.loads(pickle.dumps(opened))
    client = connect("http://me:hidden@host:8000", token=SECRET)
    with pytest.raises(StorageError) as caught:
        opened.call("GET", "/v1/x")
    shown = [repr(each) for each in (opened, copied, client, Token(SECRET), opened._token)]
    shown += [str(caught.value), caplog.text, client.url]
    assert not [text for text in shown if SECRET in text or "hidden" in text]
    assert copied._token.header() == {"Authorization": f"Bearer {SECRET}"}


@pytest.mark.parametrize("url", ["host:8000", "ftp://host", "http://", "", "http://host?a=1", 8000])
def test_connect__no_address__is_refused(url: Any) -> None:
    with pytest.raises(ConfigError, match="address of a server"):
        connect(url)


@pytest.mark.parametrize("token", ["a\nb", "Schlüssel", 7])
def test_connect__no_token__is_refused_without_showing_it(token: Any) -> None:
    with pytest.raises(ConfigError, match="token must be text") as caught:
        connect("http://host", token=token)
    assert str(token) not in str(caught.value)


def test_connect__environment__has_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTFORMER_TOKEN", SECRET)
    client: Client = connect("http://host:8000/below/")
    assert client._connection._token is not None
    assert client._connection._token.header() == {"Authorization": f"Bearer {SECRET}"}
    assert client.url == "http://host:8000/below"


def test_study_routes__study_of_an_owner__has_the_name_that_its_owner_knows() -> None:
    told = "trial 0 of study 'ana/a b' was observed before: completed with value 0.5"
    faults = {"field": "name", "expected": "the name of a study", "got": "a b"}
    gone = httpx.Response(404, json={"error": "StudyError", "message": "no", "faults": [faults]})
    seen = []

    def answer(request: Any) -> Answer:
        seen.append(request.url.raw_path)
        return refusal(409, "TrialError", told) if len(seen) == 1 else gone

    routes = StudyRoutes(connection(answer), "a b")
    with pytest.raises(TrialError, match=r"^trial 0 of study 'a b' was observed before"):
        routes.call("POST", "/trials/0/observation", {"value": 0.5})
    with pytest.raises(StudyError, match="there is no study 'a b' on http://host:8000"):
        routes.call("GET", "/trials")
    assert seen == [b"/v1/studies/a%20b/trials/0/observation", b"/v1/studies/a%20b/trials"]
