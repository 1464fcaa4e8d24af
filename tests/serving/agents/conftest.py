"""Tools over a storage, with a tiny blank model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from mcp import Client, StdioServerParameters

from optformer.model.checkpoint import save_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.serving.agents.homes import StorageHome
from optformer.serving.agents.tools import Tools
from optformer.tokenization.vocabulary import default_vocabulary


class Session:
    """Calls tools as an agent does, over standard input and output of a process of their own."""

    def __init__(self, call: Callable[[str, Mapping[str, Any]], Any], tools: list[Any]) -> None:
        self._call, self.tools = call, tools

    def __call__(self, tool: str, /, **arguments: Any) -> str:
        """The answer of a call that works."""
        text, failed = self.answer(tool, arguments)
        assert not failed, text
        return text

    def refused(self, tool: str, /, **arguments: Any) -> str:
        """The answer of a call that does not."""
        text, failed = self.answer(tool, arguments)
        assert failed, text
        return text

    def answer(self, tool: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        result = self._call(tool, arguments)
        return result.content[0].text, result.is_error


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny blank model."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    vocabulary = default_vocabulary()
    network = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    save_checkpoint(folder, network, vocabulary, {})
    return folder


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """The address of a storage that is quick to make."""
    return str(tmp_path / "studies.journal")


@pytest.fixture
def tools(storage: str, model: Path) -> Tools:
    return Tools(StorageHome(storage, model))


@pytest.fixture
def call(tools: Tools) -> Session:
    """The same calls without a process."""

    class Result:
        def __init__(self, answer: tuple[str, bool]) -> None:
            text, self.is_error = answer
            self.content = [type("Text", (), {"text": text})]

    return Session(lambda tool, arguments: Result(tools.call(tool, arguments)), [])


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, model: Path) -> StdioServerParameters:
    """How an agent's program starts the tools."""
    storage = tmp_path_factory.mktemp("agent") / "studies.db"
    return StdioServerParameters(
        command=str(Path(sys.executable).with_name("optformer")),
        args=["mcp", "--storage", f"sqlite:///{storage}", "--model", str(model)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def session(command: StdioServerParameters) -> Iterator[Session]:
    """A session of the SDK's own client with one process."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(command)) as client,
    ):
        listed = portal.call(client.list_tools)
        yield Session(lambda tool, given: portal.call(client.call_tool, tool, given), listed.tools)
