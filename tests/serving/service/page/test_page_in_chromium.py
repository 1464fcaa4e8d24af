"""The page in a real browser: charts are drawn, nothing complains, nobody else is asked."""

from __future__ import annotations

import os
import runpy
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage

pytest.importorskip("fastapi")
pytest.importorskip("plotly")
import uvicorn

from optformer.serving.service.app import create_app
from optformer.serving.service.page.addresses import study_address

BROWSER = runpy.run_path(str(Path(__file__).with_name("chromium.py")))
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e"
DRAWN = "document.querySelectorAll('.chart').length"
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# How many charts have no marks.
EMPTY = (
    "[...document.querySelectorAll('.chart')].filter("
    "c => !c.querySelector('.main-svg :is(.point, .js-line, .js-fill)')).length"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER["find_chromium"]() is None:
        reason = "there is no chromium on this machine; on Debian: apt-get install chromium"
        if os.environ.get(BROWSER["REQUIRED"]):
            pytest.fail(reason)
        pytest.skip(reason)
    with BROWSER["Chromium"]() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def server(make_studies: Callable[..., None], expecting: Any) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    storage = InMemoryStorage()
    make_studies(storage, [HOSTILE])
    app = create_app(storage, make_planner=lambda record: expecting())
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not running.started:
        assert time.monotonic() < until, "the server did not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/"
    running.should_exit = True
    thread.join(30)


@pytest.fixture
def page(browser: Any, server: str) -> Iterator[Any]:
    """The browser, which must not complain, and must ask the server alone."""
    browser.complaints.clear()
    browser.requests.clear()
    yield browser
    assert browser.complaints == []
    others = [url for url in browser.requests if not url.startswith((server, "data:", "about:"))]
    assert others == []


@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (1280, True), (360, False)], ids=["light", "dark", "phone"]
)
def test_study__on_a_screen__has_its_charts_and_parts(
    page: Any, server: str, width: int, dark: bool
) -> None:
    page.show(server + study_address("digits"), width=width, dark=dark)
    assert page.evaluate(DRAWN) == 8  # history, curves, parallel coordinates, five responses
    assert page.evaluate(EMPTY) == 0
    assert page.evaluate("document.querySelectorAll('.fault, .waiting').length") == 0
    assert "Expected gain" in page.evaluate("document.querySelector('#next').innerText")
    assert page.evaluate(TOO_WIDE) == 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(15, 19, 23)" if dark else "rgb(245, 247, 249)")


@pytest.mark.parametrize(
    ("name", "drawn"), [("three goals", 19), ("theirs", 5), ("empty", 0), (HOSTILE, 4)]
)
def test_study__of_another_kind__has_its_charts(
    page: Any, server: str, name: str, drawn: int
) -> None:
    page.show(server + study_address(name), width=360)
    assert page.evaluate(DRAWN) == drawn
    assert page.evaluate(EMPTY) == 0
    assert page.evaluate(TOO_WIDE) == 0
    assert page.evaluate("document.querySelectorAll('main img, main a[href*=evil]').length") == 0


def test_index__by_keyboard__leads_to_a_study(page: Any, server: str) -> None:
    page.show(f"{server}?search=digits")
    focused = "document.activeElement.innerText || document.activeElement.id"
    seen = []
    for _ in range(6):
        page.press("Tab")
        seen.append(page.evaluate(focused))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert seen == ["Skip to the content", "OptFormer", "search", "Search", "Show all", "digits"]
    page.press("Enter")
    until = time.monotonic() + 30
    while not page.evaluate("location.pathname.endsWith('/studies/digits')"):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_history__of_a_visitor_who_turns_the_light_off__is_drawn_again(
    page: Any, server: str
) -> None:
    page.show(server + study_address("fixed"))
    color = "getComputedStyle(document.querySelector('.xtick text')).fill"
    light = page.evaluate(color)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    page.call("Emulation.setEmulatedMedia", features=[dark])
    until = time.monotonic() + 30
    while page.evaluate(color) == light:
        assert time.monotonic() < until, "the chart kept its colors"
        time.sleep(0.05)
