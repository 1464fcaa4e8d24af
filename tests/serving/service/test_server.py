"""A real server: `optformer serve` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.cli import main

COMMAND = Path(__file__).parents[1] / "cli" / "random_optformer.py"
CONFIG = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), metric="m", goal="maximize").to_dict()


class Served:
    """A server and what it has written to standard error."""

    def __init__(self, storage: str, *options: str) -> None:
        command = [sys.executable, "-P", str(COMMAND), "serve", "--storage", storage, "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *options], stderr=subprocess.PIPE, text=True, env={**os.environ}
        )
        assert self.process.stderr is not None
        self.first = self.process.stderr.readline()
        self.address = self.first.split()[-1]

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, data, {"Content-Type": "application/json"}
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read())
            except ConnectionResetError:
                if time.monotonic() > deadline:
                    raise

    def end(self, how: int) -> tuple[int, str]:
        self.process.send_signal(how)
        _, rest = self.process.communicate(timeout=60)
        return self.process.returncode, self.first + rest


@pytest.fixture
def served(storage: str) -> Iterator[Served]:
    server = Served(storage)
    yield server
    server.process.kill()
    server.process.communicate()


def test_serve__told_to_end__answers_what_is_under_way(served: Served) -> None:
    served.ask("/v1/studies", {"name": "s", "config": CONFIG})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(served.ask, "/v1/studies/s/suggestions", {"count": 256})
        while not served.ask("/v1/studies/s/trials")["trials"]:
            time.sleep(0.02)
        assert not answer.done()
        status, told = served.end(signal.SIGTERM)
        assert len(answer.result()["trials"]) == 256
    assert status == 128 + signal.SIGTERM
    assert told.count("\n") == 1  # where it serves, and nothing else
    with pytest.raises(urllib.error.URLError):
        served.ask("/health")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "--without-tokens"),
        (["--tokens", "nowhere.txt"], "nowhere.txt"),
        (["--lease", "0"], "--lease"),
        (["--rate", "nan"], "--rate"),
        (["--port", "70000"], "70000"),
        (["--host", "nowhere.invalid", "--without-tokens"], "nowhere.invalid"),
    ],
)
def test_serve__options_that_are_wrong__are_told(
    storage: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--storage", storage, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_token__made__is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tokens.txt"
    assert main(["token", "alice", "--tokens", str(file)]) == 0
    token = capsys.readouterr().out.strip()
    assert len(token) == 43
    assert token not in file.read_text()
    assert main(["token", "Alice B", "--tokens", str(file)]) == 2
