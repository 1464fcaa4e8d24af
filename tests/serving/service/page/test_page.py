"""The page without a browser: what it shows of studies of every kind, and to whom."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage

pytest.importorskip("fastapi")
pytest.importorskip("plotly")
from fastapi.testclient import TestClient

from optformer.data.studies.errors import StorageError
from optformer.data.studies.parameters import Int
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.study_tables import StudyTable
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.service.app import create_app
from optformer.serving.service.page import charts, rendering
from optformer.serving.service.page.addresses import study_address
from optformer.serving.service.page.cache import Cache
from optformer.serving.service.page.history import History
from optformer.serving.service.page.overview import ROWS as STUDIES_SHOWN
from optformer.serving.service.page.texts import ago, line, number, percent
from optformer.serving.service.page.trial_table import ROWS
from optformer.serving.service.sessions import COOKIE
from optformer.serving.service.tokens import Tokens, make_token
from optformer.serving.study.study import create_study, load_study

PARTS = ("next", "importances", "responses")
SPACE = SearchSpace(layers=Int(1, 8))
HOSTILE = [
    "<script>alert('x')</script>",
    "..",
    ".",
    "../../etc/passwd",
    "a/b?c#d%2541&e=f",
    "back\\slash",
    "ünïcødé 名前 \u202e\x1b[31m",
    "x" * 200,
    " {{ 7 * 7 }} ",
]


@pytest.fixture(scope="module")
def storage(make_studies: Callable[..., None]) -> BaseStorage:
    storage = InMemoryStorage()
    make_studies(storage, HOSTILE)
    return storage


@pytest.fixture(scope="module")
def client(storage: BaseStorage, expecting: Any) -> Iterator[TestClient]:
    with TestClient(create_app(storage, make_planner=lambda record: expecting())) as client:
        yield client


def shown(client: TestClient, address: str) -> str:
    answer = client.get(f"/{address}")
    assert answer.status_code == 200, (address, answer.text)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return str(answer.text)


def figures(page: str) -> list[dict[str, Any]]:
    """The figures of a page, read as a browser does."""
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return [json.loads(script) for script in found]


def words(page: str) -> str:
    """What a page says, without its tags."""
    page = re.sub(r"<script.*?</script>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_index__studies_of_every_kind__tells_how_far_they_are(client: TestClient) -> None:
    page = words(shown(client, ""))
    assert "digits maximize accuracy 21 completed 5 pruned 4 failed 1 pending 0.9 best" in page
    assert "three goals maximize accuracy · minimize latency · minimize memory · price <= 3" in page
    assert "on the Pareto front" in page
    assert "empty maximize accuracy no trials yet no value yet" in page


def test_index__search__finds_by_words_in_any_order(client: TestClient) -> None:
    page = shown(client, "?search=FAR+flat")
    assert words(page).count("completed") == 1
    assert "1 of 17 studies for “FAR flat”" in words(page)
    assert "No study's name has these words." in words(shown(client, "?search=nowhere"))


def test_index__more_studies_than_fit__are_on_pages(client: TestClient) -> None:
    storage = InMemoryStorage()
    for each in range(2 * STUDIES_SHOWN + 1):
        optuna.create_study(storage=storage, study_name=f"s{each:02}").add_trial(
            optuna.trial.create_trial(
                value=1.0,
                params={"x": 0.5},
                distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
            )
        )
    with TestClient(create_app(storage)) as client:
        for page, count in ((1, 20), (3, 1), (99, 1), (0, 20)):
            assert shown(client, f"?page={page}").count('class="card study"') == count
        assert 'href="/?search=&amp;page=2"' in shown(client, "")


def test_index__a_study_that_is_none_for_us__says_why_beside_the_others() -> None:
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, study_name="not ours")
    make = optuna.create_study(storage=storage, study_name="readable")
    make.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with TestClient(create_app(storage)) as client:
        page = words(shown(client, ""))
        assert "not ours" in page
        assert "readable minimize value 1 completed" in page
        assert client.get("/studies/not%20ours").status_code == 409
    with TestClient(create_app(InMemoryStorage())) as client:
        assert "There are no studies yet" in words(shown(client, ""))


@pytest.mark.parametrize(
    ("name", "drawn", "says"),
    [
        (
            "digits",
            3,
            ["Best accuracy 0.9 trial 28", "loss is NaN (4 times)", "Learning"],
        ),
        ("three goals", 4, ["Pareto front", "hypervolume", "beyond a limit"]),
        ("empty", 0, ["none yet", "There is no value to draw yet."]),
        ("all failed", 0, ["3 failed", r"\x1b[31m out of memory"]),
        ("only pending", 0, ["2 pending"]),
        ("fixed", 2, ["fixed to adam", "fixed to 0.001"]),
        ("flat and far", 2, ["8 completed"]),
        ("theirs", 2, ["minimize value", "kind is a"]),
    ],
)
def test_study__of_every_kind__shows_what_there_is(
    client: TestClient, name: str, drawn: int, says: list[str]
) -> None:
    page = shown(client, study_address(name))
    assert len(figures(page)) == drawn
    told = words(page) + json.dumps(figures(page))
    assert [text for text in says if text not in told] == []
    assert f"<h1>{name}</h1>" in page
    for part in PARTS:  # reached without a script, too
        assert f'<a href="/{html.escape(study_address(name, part=part))}">' in page


@pytest.mark.parametrize(
    ("name", "part", "says"),
    [
        ("digits", "next", ["Expected gain 0.0123", "Chance of improvement 25 %", "< 0.1 %"]),
        ("digits", "next", ["Trial 30: pending", "Best, trial 28", "best so far 0.9"]),
        ("digits", "importances", ["lr", "momentum", "%"]),
        ("digits", "responses", ["Best near", "sgd"]),
        ("three goals", "importances", ["what latency depends on", "what memory depends on"]),
        ("three goals", "next", ["Chance to keep the limits 75 %", "Expected latency: "]),
        ("three goals", "responses", ["of the Pareto front in accuracy", "latency"]),
        ("empty", "next", ["Before the first measured value there is no prediction."]),
        ("empty", "importances", ["importances need at least two completed trials"]),
        ("empty", "responses", ["has no completed trial yet"]),
        ("all failed", "next", ["Trial 2: failed"]),
        ("only pending", "next", ["enqueued by somebody", "Trial 0"]),
        ("fixed", "responses", ["layers", "width"]),
        ("theirs", "responses", ["With kind = a."]),
        ("theirs", "next", ["Trial 12:"]),
    ],
)
def test_part__of_every_kind__shows_what_the_model_says(
    client: TestClient, name: str, part: str, says: list[str]
) -> None:
    page = words(shown(client, study_address(name, part=part)))
    assert [text for text in says if text not in page] == []


def test_responses__of_a_fixed_study__leave_out_what_does_not_vary(client: TestClient) -> None:
    page = shown(client, study_address("fixed", part="responses"))
    headings = re.findall(r"<h3>(.*?)</h3>", page)
    assert sorted(headings) == ["layers", "momentum", "width"]
    assert "It is not active in this study." in page


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name__from_the_list_to_its_parts__is_only_text(
    client: TestClient, name: str
) -> None:
    index = shown(client, "") + shown(client, "?page=2")
    address = study_address(name)
    assert f'href="/{html.escape(address)}"' in index
    assert unquote(address.partition("/")[2]) == name or address.startswith("study?name=")
    for query in ({}, *({"part": part} for part in PARTS)):
        page = shown(client, study_address(name, **query))
        assert "<title>" in page
        assert html.escape(line(name, 200)) in html.unescape(page) or line(name, 200) in words(page)
        markup = re.sub(r"<script type=.*?</script>", "", page, flags=re.DOTALL)
        assert re.findall(r"<(?:i>|b>|img src=x|script>)", markup) == []
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "49" not in words(page)[:40]
        for figure in figures(page):
            assert "<i>" not in json.dumps(figure)
            assert "<b>y" not in json.dumps(figure)
    kept = client.get(f"/{study_address(name, download='csv')}")
    disposition = kept.headers["content-disposition"]
    assert re.fullmatch(r'attachment; filename="[\w.-]{5,90}"', disposition)
    assert ",'=1+1," in kept.text


def test_study__unknown__is_a_page_that_says_so(client: TestClient) -> None:
    for address in ("studies/nowhere", "study?name=", "studies/%ff", "static/none.js"):
        answer = client.get(f"/{address}")
        assert answer.status_code == 404
        assert "There is no such page or study." in answer.text
    assert client.get("/studies/digits?part=none").status_code == 404
    assert client.get("/studies/digits?download=exe").status_code == 404
    assert client.get("/v1/studies/nowhere").headers["content-type"] == "application/json"


def test_pages__of_any_kind__run_nothing_but_their_own_script(client: TestClient) -> None:
    for address in ("", "studies/digits", "studies/nowhere"):
        answer = client.get(f"/{address}")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(
            r"<script>|<script (?!defer|type=.application/json)|<[^>]*\son\w+=", answer.text
        )
        others = [
            url for url in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text) if "//" in url
        ]
        assert others == [url for url in others if "optuna-dashboard" in url]


def test_static_files__with_their_address__are_kept_by_the_browser(client: TestClient) -> None:
    addresses = re.findall(r'/(static/[^"]+)"', shown(client, "studies/digits"))
    assert len({address.partition("?")[0] for address in addresses}) == 4
    for address in set(addresses):
        answer = client.get(f"/{address}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
    plain = client.get("/static/page.js", headers={"accept-encoding": "identity"})
    assert b"Plotly.react" in plain.content


def test_next__looked_at__changes_nothing_and_is_what_comes(
    storage: BaseStorage, client: TestClient
) -> None:
    before = load_study(storage=storage, name="theirs").trials
    page = words(shown(client, "studies/theirs?part=next"))
    assert load_study(storage=storage, name="theirs").trials == before
    answer = client.post("/v1/studies/theirs/preview")
    assert f"x {answer.json()['params']['x']:.6g}" in page


def test_trials__in_every_order__are_on_pages(client: TestClient) -> None:
    def numbers(query: str) -> list[int]:
        page = shown(client, f"studies/digits?{query}")
        return [int(n) for n in re.findall(r'<th scope="row">(\d+)', page)]

    assert numbers("") == [*range(30, 30 - ROWS, -1)]
    assert numbers("page=2") == [*range(30 - ROWS, -1, -1)]
    assert numbers("order=oldest&page=1") == [*range(ROWS)]
    assert numbers("order=best")[:3] == [28, 27, 26]
    assert numbers("page=x&order=none") == numbers("")


def test_download__csv_with_its_space__is_a_study_table(
    storage: BaseStorage, client: TestClient, tmp_path: Path
) -> None:
    for suffix in ("csv", "space.yaml"):
        answer = client.get(f"/studies/digits?download={suffix}")
        (tmp_path / f"digits.{suffix}").write_bytes(answer.content)
    (read,), refused = StudyTable(tmp_path / "digits.csv").studies("accuracy", "maximize")
    trials = load_study(storage=storage, name="digits").trials
    assert refused == {}
    assert [(dict(t.params), t.status, t.value, t.reason) for t in read.trials] == [
        (dict(t.params), t.status, t.value, t.reason) for t in trials
    ]


@pytest.mark.parametrize("error", [StorageError("the disk is gone"), RuntimeError("no memory")])
def test_part__that_fails__says_so_in_its_box(
    storage: BaseStorage, expecting: Any, error: Exception
) -> None:
    class Failing(expecting):
        def predict(self, *args: Any) -> Any:
            raise error

    with TestClient(create_app(storage, make_planner=lambda record: Failing())) as client:
        assert str(error) in words(shown(client, "studies/digits?part=next"))
        assert 'class="fault"' in shown(client, "studies/digits?part=responses")
        assert "Best accuracy" in words(shown(client, "studies/digits"))


def test_part__of_the_same_history__is_computed_once(storage: BaseStorage, expecting: Any) -> None:
    asked = []

    class Counting(expecting):
        def suggest(self, *args: Any, **kwargs: Any) -> Any:
            asked.append(args)
            return super().suggest(*args, **kwargs)

    with TestClient(create_app(storage, make_planner=lambda record: Counting())) as client:
        for _ in range(3):
            shown(client, "studies/fixed?part=next")
        assert len(asked) == 1
        study = load_study(storage=storage, name="fixed")
        study.observe({**study.best_params, "layers": 7}, 0.1)
        shown(client, "studies/fixed?part=next")
        assert len(asked) == 2


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def tokens(tokens_file: Path) -> dict[str, str]:
    """A token of each owner."""
    return {owner: make_token(tokens_file, owner) for owner in ("anna", "bert")}


@pytest.fixture
def visitor(tokens: dict[str, str], tokens_file: Path, expecting: Any) -> Iterator[TestClient]:
    """A browser before a server on which each owner has a study."""
    storage = InMemoryStorage()
    for owner, name in (("anna", "mine"), ("bert", "his")):
        study = create_study(
            SPACE, metric="v", goal="maximize", storage=storage, name=f"{owner}/{name}", seed=0
        )
        study.observe({"layers": 3}, 0.5)
    app = create_app(storage, tokens=Tokens(tokens_file), make_planner=lambda record: expecting())
    with TestClient(app, base_url="https://tuning.example", follow_redirects=False) as client:
        yield client


def log_in(visitor: TestClient, token: str, to: str = "", **headers: str) -> Any:
    return visitor.post(f"/login?to={to}", data={"token": token}, headers=headers)


def test_login__with_a_token__shows_the_owners_studies_alone(
    visitor: TestClient, tokens: dict[str, str]
) -> None:
    asked = visitor.get("/studies/mine?page=2")
    to = "studies%2Fmine%3Fpage%3D2"
    assert (asked.status_code, asked.headers["location"]) == (303, f"/login?to={to}")
    answer = log_in(visitor, tokens["anna"], to)
    assert answer.headers["location"] == "/studies/mine?page=2"
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"))
    assert tokens["anna"] not in cookie
    page = visitor.get("/studies/mine")
    assert "<h1>mine</h1>" in page.text
    assert "Trial 1:" in words(visitor.get("/studies/mine?part=next").text)
    for name in ("his", "bert%2Fhis", "anna%2Fmine"):
        for query in ("", "?part=next", "?download=csv"):
            assert visitor.get(f"/studies/{name}{query}").status_code == 404
    index = words(visitor.get("/").text)
    assert "anna Log out" in index
    assert "mine maximize v" in index
    assert "his maximize" not in index
    assert visitor.get("/v1/studies").status_code == 401  # a session is for looking alone
    assert visitor.post("/logout").headers["location"] == "/login"
    assert visitor.get("/").status_code == 303


def test_login__refused__says_so_and_lets_nobody_in(
    visitor: TestClient, tokens: dict[str, str]
) -> None:
    for token in ("", "secret-of-nobody", "x" * 5000):
        answer = log_in(visitor, token)
        assert answer.status_code in (401, 413)
        assert "set-cookie" not in answer.headers
        assert token == "" or token not in answer.text
    assert "That is no token of this server." in log_in(visitor, "none").text
    assert log_in(visitor, tokens["anna"], origin="https://evil.example").status_code == 403
    assert log_in(visitor, tokens["anna"], origin="https://tuning.example").status_code == 303


@pytest.mark.parametrize("to", ["https://evil.example", "//evil.example", "%5C%5Cevil", "login"])
def test_login__with_a_place_elsewhere__stays_here(
    visitor: TestClient, tokens: dict[str, str], to: str
) -> None:
    assert log_in(visitor, tokens["anna"], to).headers["location"] == "/"


def test_session__forged_old_or_without_its_token__is_none(
    visitor: TestClient,
    tokens: dict[str, str],
    tokens_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_in(visitor, tokens["anna"])
    good = visitor.cookies[COOKIE]

    def status(cookie: str) -> int:
        visitor.cookies.clear()
        visitor.cookies.set(COOKIE, cookie)
        return int(visitor.get("/").status_code)

    begin, until, signature = good.split(".")
    berts = tokens_file.read_text().splitlines()[1].partition("sha256:")[2][:16]
    later = f"{begin}.{int(until) + 1}.{signature}"
    for forged in ("", "x", "...", f"{berts}.{until}.{signature}", later, f"{good}x"):
        assert status(forged) == 303, forged
    assert status(good) == 200
    now = time.time()
    with monkeypatch.context() as later_on:
        later_on.setattr(time, "time", lambda: now + 13 * 3600)
        assert status(good) == 303
    assert status(good) == 200
    tokens_file.write_text(tokens_file.read_text().splitlines()[1] + "\n")
    assert status(good) == 303
    tokens_file.unlink()
    answer = visitor.get("/")
    assert answer.status_code == 503
    assert str(tokens_file) not in answer.text


def test_page__behind_a_prefix__stays_below_it(storage: BaseStorage, expecting: Any) -> None:
    app = create_app(storage, make_planner=lambda record: expecting())
    with TestClient(app, root_path="/tuning") as client:
        page = shown(client, "tuning/studies/digits")
        inside = re.findall(r'(?:src|href|action|data-part)="(/[^"]*)"', page)
        assert inside
        assert all(address.startswith("/tuning/") for address in inside)


def test_cache__of_a_computation_that_fails__asks_again() -> None:
    cache, asked = Cache(), []

    def compute() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise StorageError("away")
        return len(asked)

    with pytest.raises(StorageError):
        cache.get("key", compute)
    assert [cache.get("key", compute), cache.get("key", compute)] == [2, 2]


def test_texts__numbers_and_times__are_short() -> None:
    now = datetime(2026, 1, 1)
    assert [number(v) for v in (None, 0.123456789, 1e-12, -5.0)] == [
        "\N{EN DASH}",
        "0.12346",
        "1e-12",
        "-5",
    ]
    assert [percent(v) for v in (0, 1e-9, 0.0123, 0.5, 1 - 1e-9, 1)] == [
        *("0.0 %", "< 0.1 %", "1.2 %", "50 %", "> 99.9 %", "100 %")
    ]
    waits = (timedelta(0), timedelta(minutes=3), timedelta(hours=50))
    assert [ago(now - wait, now) for wait in waits] == ["just now", "3 min ago", "2 d ago"]
    assert line("postgresql://me:secret@host/db\x00") == r"postgresql://me:***@host/db\x00"


def test_history_chart__some_values_far_worse__are_outside_and_told() -> None:
    trials = [
        Trial(n, {"layers": 1}, TrialStatus.COMPLETED, value=1e9 if n == 7 else 1 + n % 5 / 10)
        for n in range(40)
    ]
    history = History("s", StudyConfig(SPACE, metric="loss", goal="minimize"), trials)
    chart = charts.history_chart(history)
    assert chart is not None
    low, high = json.loads(chart.script)["layout"]["yaxis"]["range"]
    assert 0.9 < low < 1.0
    assert 1.4 < high < 1.5
    assert "Outside of the chart: 1 trial with extreme values." in chart.caption
    assert charts.value_window([1.0, 1.1, 1.2, 1.3, 1.4], -1.0) is None


def test_history_chart__values_that_no_browser_can_draw__are_at_its_edge() -> None:
    values = [1e300, 0.5, -1e300, 0.6, 0.7, 0.8]
    trials = [
        Trial(n, {"layers": 1}, TrialStatus.COMPLETED, value=value)
        for n, value in enumerate(values)
    ]
    config = StudyConfig(SPACE, metric="loss", goal="minimize")
    chart = charts.history_chart(History("s", config, trials))
    assert chart is not None
    drawn = json.loads(chart.script)["data"][0]["y"]
    assert max(map(abs, drawn)) < 10
    assert "The best loss is -1e+300, of trial 2" in chart.caption
    assert "Outside of the chart: 2 trials" in chart.caption
    assert charts.history_chart(History("s", config, trials[:1])) is None


def test_history_chart__thousands_of_trials__draws_every_improvement() -> None:
    trials = [
        Trial(n, {"layers": 1}, TrialStatus.COMPLETED, value=float(n in (1234, 2345) and n))
        for n in range(5000)
    ]
    history = History("s", StudyConfig(SPACE, metric="loss", goal="maximize"), trials)
    chart = charts.history_chart(history)
    assert chart is not None
    drawn = json.loads(chart.script)["data"][0]["x"]
    assert {0, 1234, 2345, 4999} <= set(drawn)
    assert len(drawn) < 2100
    assert "Left out of the drawing: " in chart.caption


def _colors(css: str) -> dict[str, str]:
    return dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-f]{6})", css))


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted([_luminance(one), _luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_style__light_and_dark__can_be_read(dark: bool) -> None:
    found = rendering.asset("style.css")
    assert found is not None
    css = found[0].decode()
    light, _, rest = css.partition("@media (prefers-color-scheme: dark)")
    colors = _colors(light) | (_colors(rest.partition("* {")[0]) if dark else {})
    texts = ("--text", "--muted", "--accent", "--completed-text", "--pruned-text")
    for text in (*texts, "--failed-text", "--best-text"):
        for ground in ("--page", "--card"):
            assert _contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    assert _contrast(colors["--accent"], colors["--accent-soft"]) >= 4.5
    for mark in (charts.BLUE, charts.GREEN, charts.RED, charts.ORANGE, charts.QUIET):
        assert _contrast(mark, colors["--card"]) >= 3.0, mark
