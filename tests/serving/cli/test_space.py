"""`optformer space`."""

from __future__ import annotations

from pathlib import Path

import pytest

from optformer.data.studies.parameters import Float
from optformer.data.studies.space_files import load_space
from optformer.serving.cli import USER_FAULT, main

SWEEP = """
method: random
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  noise: {distribution: normal, mu: 1, sigma: 0.1}
  layers: {values: [[64], [64, 64]]}
"""


def test_space__sweep_of_another_tool__shows_what_was_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "sweep.yaml", tmp_path / "space.yaml"
    file.write_text(SWEEP)
    assert main(["space", str(file), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for text in (
        "W&B sweep, 3 parameters",
        "1e-05 to 0.1, log",
        "note: layers: choices that are lists or objects are written as text",
        "note: parameters.noise: normal with mean 1",
    ):
        assert text in printed
    assert load_space(out)["lr"] == Float(1e-5, 1e-1, log=True)


def test_space__unreadable__is_an_error_with_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("parameters: {lr: {distribution: gumbel}}")
    assert main(["space", str(file)]) == USER_FAULT
    assert "parameters.lr.distribution: expected one of" in capsys.readouterr().err
