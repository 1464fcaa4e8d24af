from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optformer.serving.cli import main
from optformer.serving.cli.run_options import only_run
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
    monkeypatch.setattr("optformer.training.evaluation.evaluate._MARGINAL_STUDIES", 16)
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


def test_train__another_run_in_the_folder__is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "run.yaml", tmp_path / "run"
    config.write_text(CONFIG)
    command = ["--out", str(out), "--cpu"]
    with only_run(out):
        assert main(["train", "--config", str(config), *command]) == 2
        assert f"another run is going on in {out}" in capsys.readouterr().err
        assert main(["finetune", "--studies", "x.csv", *command]) == 2
        assert f"another run is going on in {out}" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["run.lock"]
    assert main(["train", "--config", str(config), *command, "--max-seconds", "1e-9"]) == 0


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


def test_evaluate__recorded__keeps_what_was_recorded_before(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", checkpoint, "--record"]
    samples = ["--contexts", "uniform", "--dimensions", "1", "--studies", "2"]
    assert main(["evaluate", *model, *samples]) == 0
    search = ["--teachers", "random", "--tasks", "2", "--seeds", "1", "--trials", "3"]
    out = tmp_path / "imitation"
    assert main(["evaluate", *model, "--imitation", *search, "--out", str(out)]) == 0
    assert "Share of the gap" in capsys.readouterr().out
    assert {path.suffix for path in out.iterdir()} == {".md", ".json", ".png"}
    card = (Path(checkpoint) / "README.md").read_text()
    assert "| uniform | 1 |" in card
    assert "searches beside its teacher" in card
    recorded = json.loads((Path(checkpoint) / "run.json").read_text())
    assert len(recorded["evaluation"]) == 3


def test_evaluate__failures__writes_a_row_for_each_searcher(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--model", checkpoint, "--failures", "--tasks", "1", "--seeds"]
    assert main([*words, "1"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    searchers = ["optformer", "gp-ei", "tpe", "random"]
    assert [row[0] for row in rows if row and row[0] in searchers] == searchers
    assert main([*words, "0"]) == 2
    assert "--seeds must be at least 1, got 0" in capsys.readouterr().err


def test_evaluate__histories__writes_the_table_beside_a_gaussian_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("botorch")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"run": 0, "step": range(16), "x": rng.random(16)})
    frame["metric.loss"] = (frame["x"] - 0.3) ** 2
    frame.to_csv(tmp_path / "logs.csv", index=False)
    (tmp_path / "logs.space.yaml").write_text("x: {type: float, low: 0, high: 1}\n")
    words = ["evaluate", "--histories", str(tmp_path / "logs.csv"), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "say what it measures with --metric and --goal" in capsys.readouterr().err
    assert main([*words, "--metric", "loss", "--goal", "minimize"]) == 0
    assert "| logs | 10 trials | `gp` | 1 | 6 |" in capsys.readouterr().out
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".md", ".json", ".png"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "/no/such/checkpoint"], "no checkpoint at /no/such/checkpoint"),
        (["--studies", "0"], "must be at least 1"),
        (["--dimensions", "2", "0"], "--dimensions must be at least 1, got [2, 0]"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--trials", "5"], "--trials is for imitation and start, not for samples; leave it out"),
        (["--failures", "--trials", "5"], "--trials is for imitation and start, not for failures"),
        (["--imitation", "--metric", "acc"], "--metric is for histories, not for imitation"),
        (["--transfer", "tables", "--seeds", "0"], "--seeds must be at least 1"),
        (["--start", "tables", "--studies", "9"], "--studies is for samples and histories"),
        (["--start", "/no/such", "--tasks", "1"], "/no/such/"),
        (["--record"], "--record needs"),
        (["--imitation", "--teachers", "nobody"], "unknown search method 'nobody'"),
        (["--histories", "/no/such.csv", "--metric", "a", "--goal", "minimize"], "/no/such"),
    ],
)
def test_evaluate__bad_option__exit_status_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *options]) == 2
    assert message in capsys.readouterr().err
