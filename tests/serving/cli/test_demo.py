from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from optformer.data.objectives import Objective
from optformer.data.objectives.digits import digits_objective
from optformer.data.studies.errors import ObjectiveError
from optformer.serving.cli import main
from optformer.serving.study.study import load_study


def quick(params: Mapping[str, Any]) -> float:
    if params["solver"] == "sgd":
        raise ObjectiveError("training diverged")
    return 0.5 + float(params["hidden_units"]) / 400


@pytest.fixture(autouse=True)
def _quick_digits(monkeypatch: pytest.MonkeyPatch, random_planner: type) -> None:
    objective = Objective("digits", digits_objective().config, quick, reserved=True)
    module = "optformer.data.objectives.digits"
    monkeypatch.setattr(f"{module}.digits_objective", lambda: objective)
    monkeypatch.setattr(f"{module}.final_test_accuracy", lambda params: 0.875)
    monkeypatch.setattr("optformer.serving.cli.demo._MOST_SEEDS", 2)


def test_demo__finished__tells_table_plot_and_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--trials", "12", "--seed", "3", "--out", str(tmp_path / "d")]) == 0
    out = capsys.readouterr().out
    header = next(line for line in out.splitlines() if line.startswith("method"))
    for column in ("seeds", "after 5", "after 10", "after 12", "test", "seconds"):
        assert column in header
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["optformer"][0] == rows["random"][0] == "2"
    assert rows["optformer"][4] == "0.8750"
    assert "test accuracy of the final network trained with them: 0.8750" in out
    assert (tmp_path / "d" / "demo.png").stat().st_size > 1000
    study = load_study(storage=f"sqlite:///{tmp_path / 'd' / 'study.db'}", name="digits-3")
    assert len(study.trials) == 12
    assert {trial.reason for trial in study.trials} == {None, "training diverged"}
    assert f"seed 3, optformer: best {study.best_trial.value:.4f}" in out


def test_demo__time_is_short__fewer_seeds_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("optformer.serving.cli.demo._SECONDS", 0.0)
    assert main(["demo", "--trials", "4", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "after 4" in out
    assert "after 5" not in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["random"][0] == "1"


def test_demo__existing_output_or_bad_option__refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.db").touch()
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "give another --out" in capsys.readouterr().err
    assert main(["demo", "--trials", "0", "--out", str(tmp_path / "x")]) == 2
    assert "--trials must be at least 1" in capsys.readouterr().err
