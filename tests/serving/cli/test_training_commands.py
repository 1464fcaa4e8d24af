from __future__ import annotations

import json
from pathlib import Path

import pytest

from optformer.serving.cli import main
from optformer.training.train import train

CONFIG = """
model: tiny
steps: 4
warmup: 1
log_every: 1
checkpoint_every: 2
workers: 0
prior: {parameters: {1: 1.0}, max_trials: 8, tokens: 64, probes: 4, tail: 2,
        methods: {random: 1.0}}
"""


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny model after one training step, so that its record is a real one."""
    monkeypatch.setattr("optformer.training.evaluate._MARGINAL_STUDIES", 16)
    config = tmp_path / "fixture.yaml"
    config.write_text(CONFIG.replace("steps: 4", "steps: 1"))
    return str(train(config, tmp_path / "fixture", cpu=True))


def test_train__small_run__writes_a_checkpoint_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "run.yaml", tmp_path / "run"
    config.write_text(CONFIG)
    command = ["train", "--config", str(config), "--out", str(out), "--cpu"]
    assert main([*command, "--max-seconds", "1e-9"]) == 0
    assert f"checkpoint: {out / 'checkpoint'}" in capsys.readouterr().out
    assert main(command) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert [line.count('"step"') for line in (out / "log.jsonl").open()] == [1] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-seconds", "0"], "--max-seconds must be above 0"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--config", "missing.yaml"], "missing.yaml"),
    ],
)
def test_train__bad_option__exit_status_2(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert main(["train", "--config", "small.yaml", *out, *options]) == 2
    assert message in capsys.readouterr().err


def test_evaluate__tiny_model__writes_a_row_for_each_dimension(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--contexts", "uniform", "--dimensions", "1", "2", "--studies", "2"]
    assert main(["evaluate", "--model", checkpoint, *options]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows if row[:1] == ["uniform"]] == [
        ["uniform", "1"],
        ["uniform", "2"],
    ]


def test_evaluate__imitation_recorded__fills_the_model_card(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--contexts", "uniform", "--dimensions", "1", "--studies", "2", "--imitation"]
    assert main(["evaluate", "--model", checkpoint, *options, "--record"]) == 0
    out = capsys.readouterr().out
    assert "teacher_score" in out
    card = (Path(checkpoint) / "README.md").read_text()
    assert "| uniform | 1 |" in card
    assert "searches beside its teacher" in card
    recorded = json.loads((Path(checkpoint) / "run.json").read_text())
    assert len(recorded["evaluation"]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "/no/such/checkpoint"], "no checkpoint at /no/such/checkpoint"),
        (["--studies", "0"], "must be at least 1"),
        (["--record"], "--record needs"),
    ],
)
def test_evaluate__bad_option__exit_status_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *options]) == 2
    assert message in capsys.readouterr().err
