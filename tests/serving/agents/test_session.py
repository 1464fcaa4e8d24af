"""An agent's session, over standard input and output of a real process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from typing import Any

import pytest

from optformer.serving.agents.catalogue import CATALOGUE

SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
    "opt": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0, "high": 0.99, "when": {"opt": ["sgd"]}},
}


def points(answer: str) -> dict[int, dict[str, Any]]:
    """The trials that an answer of suggest hands out."""
    found = re.findall(r"^trial (\d+): (\{.*\})$", answer, re.MULTILINE)
    return {int(number): json.loads(params) for number, params in found}


def test_tools__as_an_agent_lists_them__are_short(session: Any) -> None:
    listed = [tool.model_dump(by_alias=True, exclude_none=True) for tool in session.tools]
    assert [tool["name"] for tool in listed] == [tool.name for tool in CATALOGUE]
    assert len(json.dumps(listed)) < 7500  # characters, some 1,800 tokens
    changing = {tool["name"] for tool in listed if not tool["annotations"]["readOnlyHint"]}
    assert changing == {"create_study", "suggest", "observe", "report"}


def test_search__from_the_first_question_to_the_result__is_led_by_the_answers(
    session: Any,
) -> None:
    assert "create_study" in session("list_studies")
    created = session(
        "create_study",
        space=SPACE,
        metric="accuracy",
        goal="maximize",
        name="digits",
        try_first=[{"lr": 0.01, "opt": "adam"}],
        seed=0,
    )
    assert 'suggest(study="digits")' in created

    first = session("suggest", study="digits")
    assert points(first) == {0: {"lr": 0.01, "opt": "adam"}}
    assert 'observe(study="digits", trial=0, value=<accuracy>)' in first
    assert "New best: trial 0, accuracy 0.9" in session("observe", trial=0, value=0.9)

    two = points(session("suggest", count=2))
    assert list(two) == [1, 2]
    told = session("observe", trial=1, failed="out of memory")
    assert "failed: out of memory" in told
    assert "1 pending, 1 completed, 1 failed" in told
    session("observe", trial=2, value=0.93)

    third = session("suggest")
    assert re.search(r"accuracy [\d.e-]+ expected \(90 % between .* chance to beat trial 2", third)
    assert "then: accuracy" in session("explain", trial=3)
    assert "found as: " in session("explain", trial=3)
    session("observe", trial=3, value=0.91, stopped=True)

    assert session("predict", points=[{"lr": 0.001, "opt": "adam"}]).startswith('{"lr": 0.001')
    best = session("best", top=2)
    assert re.findall(r"^trial (\d+)", best, re.MULTILINE) == ["2", "3"]
    assert "stopped early at accuracy 0.91" in best
    assert set(re.findall(r"^(\w+): \d+%$", session("importances"), re.MULTILINE)) >= {"lr", "opt"}
    listed = session("list_studies")
    assert listed.startswith('"digits": maximize accuracy; 2 completed, 1 failed, 1 stopped')
    assert listed.endswith("best: trial 2, accuracy 0.93")


def test_session__a_wrong_call__goes_on_after_it(session: Any) -> None:
    assert "there is no tool 'sugest'; the tools are create_study" in session.refused("sugest")
    assert "'three' is not of type 'integer'" in session.refused("suggest", count="three")
    assert '"digits"' in session("list_studies")


def test_process__noise_on_its_input__answers_with_the_protocol_alone(command: Any) -> None:
    process = subprocess.Popen(
        [command.command, *command.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    about = {"protocolVersion": "2025-06-18", "capabilities": {}}
    about["clientInfo"] = {"name": "test", "version": "1"}
    first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
    question = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    lines = [json.dumps(first).encode(), b"hello", b"{}", b"[", b"\xff", b"", b"7"]
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n".join([*lines, json.dumps(question).encode(), b""]))
    process.stdin.flush()
    answers = [json.loads(process.stdout.readline())]
    while answers[-1].get("id") != 2:
        answers.append(json.loads(process.stdout.readline()))
    assert answers[0]["result"]["serverInfo"]["name"] == "optformer"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    assert process.stdout.read() == b""
    process.stdin.close()
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize(
    ("storage", "words"),
    [("studies.txt", "not understood"), ("nosuch://x:secret@h/db", "cannot open storage")],
)
def test_command__a_wrong_storage__is_told_before_anything_is_served(
    storage: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from optformer.serving.cli import main

    assert main(["mcp", "--storage", storage]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert "secret" not in told.err


def test_command__without_the_sdk__names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from optformer.serving.cli import main

    for module in [name for name in sys.modules if name.startswith("optformer.serving.agents")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    assert main(["mcp", "--storage", "sqlite:///s.db"]) == 2
    assert 'pip install "optformer[agents]"' in capsys.readouterr().err
