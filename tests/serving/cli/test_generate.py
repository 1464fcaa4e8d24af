from __future__ import annotations

from pathlib import Path

import pytest

from optformer.data.corpora.generation import GenerationSummary
from optformer.serving.cli import main


def test_generate__command__writes_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "histories"
    command = ["generate", "--methods", "random", "--objectives", "splines-phase"]
    assert main([*command, "--trials", "2", "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("1 studies finished, 0 were there already, 0 failed")
    assert [path.name for path in out.rglob("*.parquet")] == ["seed-0.parquet"]


def test_generate__reserved_objective__is_an_error_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", "--methods", "random", "--objectives", "mlp-*"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "mlp-digits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_generate__studies_failed__names_them_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = GenerationSummary(3, 0, {"splines-phase/random/1": "it died"}, ["svm-digits"])
    monkeypatch.setattr("optformer.data.corpora.generation.generate", lambda *_, **__: summary)
    command = ["generate", "--methods", "random", "--objectives", "*"]
    assert main([*command, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "left out: svm-digits" in error
    assert "splines-phase/random/1 (it died)" in error
