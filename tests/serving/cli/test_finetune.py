from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import optformer as of
from optformer.serving.cli import main
from optformer.training import finetune
from optformer.training.config import TrainingConfig
from optformer.training.train import train

TINY = """
model: tiny
steps: 1
warmup: 1
workers: 0
validate_every: 0
prior: {parameters: {1: 1.0}, max_trials: 8, tokens: 64, probes: 4, tail: 2, methods: {random: 1.0}}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return train(tmp_path / "tiny.yaml", tmp_path / "tiny", cpu=True)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Eight data sets whose best point is always the same, an illegal one and a short one."""
    rng = np.random.default_rng(0)
    rows = ["x,y,acc,dataset"]
    for data in range(8):
        for x, y in rng.random((12, 2)).tolist():
            rows.append(f"{x},{y},{data - (x - 0.8) ** 2 - (y - 0.2) ** 2},set {data}")
    rows += ["7,0.5,1.0,odd", "0.5,0.5,1.0,odd", "0.5,0.5,1.0,short"]
    (tmp_path / "net.csv").write_text("\n".join(rows) + "\n")
    of.save_space(of.SearchSpace(x=of.Float(0, 1), y=of.Float(0, 1)), tmp_path / "net.space.yaml")
    return tmp_path / "net.csv"


def test_finetune__own_table__is_interrupted_resumed_and_used(
    model: Path,
    logs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared = finetune._config

    def quick(*args: object) -> TrainingConfig:
        config = prepared(*args).to_dict()  # type: ignore[arg-type]
        prior = {**config["prior"], "tokens": 256, "max_trials": 16, "probes": 8, "tail": 4}
        prior["methods"] = {"random": 1.0}
        return TrainingConfig.from_dict({**config, "prior": prior, "workers": 0})

    monkeypatch.setattr(finetune, "_config", quick)
    out = tmp_path / "ours"
    common = ["--out", str(out), "--cpu"]
    table = ["--studies", str(logs), "--metric", "acc", "--goal", "maximize", "--model", str(model)]
    options = ["--steps", "6", "--held-out", "0.25", "--max-seconds", "1e-9"]
    assert main(["finetune", *table, *common, *options]) == 0
    captured = capsys.readouterr()
    assert "learned from 6 studies, 2 held out" in captured.out
    assert f"left out: study 'net/odd' of {logs}: row 96: parameter 'x': " in captured.err
    assert "left out: study 'net/short' of net: too few trials have ended: 1" in captured.err
    assert main(["finetune", *table, *common]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["finetune", *common, "--resume", "--model", str(model)]) == 2
    assert "goes on with the run as it was begun; leave model out" in capsys.readouterr().err
    assert main(["finetune", *common, "--resume"]) == 0
    printed = capsys.readouterr().out
    figures = {line.split()[0]: line.split()[1:] for line in printed.splitlines()}
    before, after, improvement = (
        float(figures[name][0]) for name in ("before", "after", "improvement")
    )
    assert improvement == pytest.approx(before - after, abs=0.002)
    assert after != before
    assert f"checkpoint: {out / 'checkpoint'}" in printed

    space = of.SearchSpace(x=of.Float(0, 1), y=of.Float(0, 1))
    study = of.create_study(space, metric="acc", goal="maximize", model=out, seed=0)
    assert set(study.suggest().params) == {"x", "y"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --studies for a new run, or --resume"),
        (["--resume", "--studies", "a.csv"], "give --studies for a new run, or --resume"),
        (["--resume", "--max-seconds", "0"], "--max-seconds must be above 0"),
        (["--resume", "--threads", "0"], "--threads must be at least 1"),
        (["--resume"], "no configuration"),
        (["--studies", "sqlite:///none.db"], "there is no file none.db"),
        (["--studies", "none.csv", "--metric", "m", "--goal", "minimize"], "none.csv"),
    ],
)
def test_finetune__bad_option__exit_status_2(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
