"""The tools over a server do what they do over a storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import ConfigError
from optformer.serving.agents.homes import ServerHome, StorageHome, home_at
from optformer.serving.agents.tools import Tools

SPACE = {
    "x": {"type": "float", "low": 0, "high": 1},
    "kind": {"type": "categorical", "choices": ["a", "b"]},
}


def test_search__on_a_server__is_the_same(
    server: Any, connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    tools = Tools(home_at(server.url))

    def call(tool: str, **arguments: Any) -> str:
        text, failed = tools.call(tool, arguments)
        assert not failed, text
        return text

    assert server.url in call("list_studies")
    call(
        "create_study",
        space=SPACE,
        metric="accuracy",
        goal="maximize",
        name="a/b",
        try_first=[{"x": 0.25, "kind": "a"}],
        pruner="median(n_startup_trials=1, n_warmup_steps=0)",
    )
    assert 'trial 0: {"x": 0.25, "kind": "a"}' in call("suggest")
    assert call("report", trial=0, step=1, value=0.9) == "Go on."
    assert "New best: trial 0, accuracy 0.9" in call("observe", trial=0, value=0.9)
    call("suggest", count=2)
    assert "stopped=true" in call("report", trial=1, step=1, value=0.1)
    assert "stopped early at accuracy 0.1" in call("observe", trial=1, stopped=True)
    assert "failed: no memory" in call("observe", trial=2, failed="no memory")
    call("observe", params={"x": 0.5, "kind": "b"}, value=0.8)
    assert "accuracy" in call("predict", points=[{"x": 0.5, "kind": "b"}])
    assert "found as: one of many points" in call("explain", trial=2)
    assert "x: " in call("importances")
    assert "trial 0: accuracy 0.9" in call("best", top=1)
    assert '"a/b": maximize accuracy; 2 completed, 1 failed, 1 stopped' in call("list_studies")

    text, failed = tools.call("observe", {"trial": 0, "value": 0.5})
    assert failed
    assert "observed before" in text
    text, failed = tools.call("suggest", {"study": "zzz"})
    assert failed
    assert "there is no study 'zzz'; this server has ['a/b']" in text


def test_home_at__an_address__is_that_of_a_storage_or_a_server(server: Any, tmp_path: Path) -> None:
    assert isinstance(home_at(str(tmp_path / "s.journal"), None), StorageHome)
    assert isinstance(home_at(server.url), ServerHome)
    with pytest.raises(ConfigError, match="leave out --model"):
        home_at(server.url, "team/model")
