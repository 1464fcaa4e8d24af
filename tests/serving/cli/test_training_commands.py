from __future__ import annotations

from pathlib import Path

import pytest
import torch

from optformer.checkpoint import save_checkpoint
from optformer.config import ModelConfig
from optformer.model import OptFormerModel
from optformer.serving.cli import main
from optformer.tokenization.vocabulary import default_vocabulary

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
    monkeypatch.setattr("optformer.training.evaluate._MARGINAL_STUDIES", 16)
    vocabulary = default_vocabulary()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    save_checkpoint(tmp_path / "checkpoint", model, vocabulary, {})
    return str(tmp_path / "checkpoint")


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
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["uniform", "1"], ["uniform", "2"]]
    assert all(len(row) == 6 for row in rows)


def test_evaluate__imitation__adds_a_table(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG)
    options = ["--contexts", "uniform", "--dimensions", "1", "--studies", "2"]
    assert main(["evaluate", "--model", checkpoint, *options, "--imitation", str(config)]) == 0
    out = capsys.readouterr().out
    assert "imitated" in out
    assert "random" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "/no/such/checkpoint"], "no checkpoint at /no/such/checkpoint"),
        (["--studies", "0"], "must be at least 1"),
        (["--imitation", "/no/such.yaml"], "/no/such.yaml"),
    ],
)
def test_evaluate__bad_option__exit_status_2(
    checkpoint: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--model", checkpoint, *options]) == 2
    assert message in capsys.readouterr().err
