"""`optformer benchmark` and `optformer report` from the shell's side."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from optformer.serving.benchmarks import timing
from optformer.serving.cli import main


def test_benchmark__toy_suite__prints_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--suite", "toy,toy-live", "--methods", "random,tpe", "--trials", "3"]
    words += ["--seeds", "2", "--out", str(tmp_path)]
    assert main(["benchmark", *words]) == 0
    printed = capsys.readouterr()
    assert "## toy, own-start" in printed.out
    assert "## toy-live, own-start" in printed.out
    assert "8 runs finished, 0 were there already, 0 failed" in printed.err
    assert main(["benchmark", *words]) == 0
    assert "0 runs finished, 8 were there already" in capsys.readouterr().err
    assert main(["report", "--out", str(tmp_path)]) == 0
    assert "| `random` |" in capsys.readouterr().out
    assert (tmp_path / "report.md").is_file()


def test_benchmark__shared_start__is_a_section_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["benchmark", "--suite", "toy", "--methods", "random", "--trials", "6", "--seeds", "1"]
    assert main([*words, "--shared-start", "5", "--out", str(tmp_path)]) == 0
    assert "## toy, shared-start-5" in capsys.readouterr().out


def test_benchmark__unknown_suite__is_the_users_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "--suite", "no-suite", "--out", str(tmp_path)]) == 2
    assert "unknown suite 'no-suite'" in capsys.readouterr().err


def test_benchmark__neither_suite_nor_timing__is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["benchmark"])
    assert "--suite" in capsys.readouterr().err


def test_benchmark__timing__prints_and_keeps_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(timing.time_suggestions, histories=(3,))
    monkeypatch.setattr(timing, "time_suggestions", quick)
    words = ["--timing", "--methods", "random", "--repeats", "1", "--out", str(tmp_path)]
    assert main(["benchmark", *words]) == 0
    printed = capsys.readouterr()
    assert "| `random` |" in printed.out
    assert "random after 3 trials" in printed.err
    assert (tmp_path / "timing.md").read_text().strip() == printed.out.strip()


def test_report__empty_folder__is_the_users_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--out", str(tmp_path)]) == 2
    assert "holds no benchmark run" in capsys.readouterr().err


def test_benchmark__method_fails__is_said_beside_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--suite", "toy", "--methods", "toy-breaking", "--trials", "5", "--seeds", "1"]
    assert main(["benchmark", *words, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "toy-breaking failed on toy/line: ZeroDivisionError: no variance" in printed.err
    assert "ZeroDivisionError" not in printed.out
    assert "| 1 | optformer" in printed.out
