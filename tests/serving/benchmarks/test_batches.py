"""The report's section on batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from optformer.serving.benchmarks.methods import sequential_twin
from optformer.serving.benchmarks.report import score_runs, write_report
from optformer.serving.benchmarks.report.batches import batch_scores, section
from optformer.serving.benchmarks.results import Reference, Row, RunKey, write_reference, write_run


def _run(out: Path, protocol: str, method: str, values: Sequence[float], task: str = "a") -> None:
    rows = [Row(i, {"x": i}, value, "completed", None, 0.1) for i, value in enumerate(values)]
    write_run(out, RunKey(protocol, "toy", task, method, 0), "v1", rows)
    write_reference(out, "toy", task, Reference("maximize", 0.0, 1.0, None, False))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for task, shift in (("a", 0.0), ("b", 0.1)):
        _run(tmp_path, "own-start", "optformer", [0.2, 0.6, 0.8 - shift], task)
        _run(tmp_path, "own-start", "tpe", [0.1, 0.5, 0.6], task)
        _run(tmp_path, "own-start-batch-4", "optformer", [0.2, 0.3, 0.7 - shift], task)
        _run(tmp_path, "own-start-batch-4", "optformer-ignore", [0.2, 0.2, 0.4 - shift], task)
        _run(tmp_path, "own-start-batch-8", "optformer", [0.2, 0.2, 0.4 - shift, 0.9], task)
    return tmp_path


def test_batch_scores__several_sizes__stand_beside_sequential(folder: Path) -> None:
    (score,) = batch_scores(score_runs(folder))
    assert (score.protocol, score.suite, score.tasks, score.length) == ("own-start", "toy", 2, 3)
    assert list(score.regret) == [1, 4, 8]
    assert score.methods == ["optformer", "optformer-ignore"]  # tpe was never asked for a batch
    assert score.regret[8]["optformer"][:, -1] == pytest.approx([0.6, 0.7])
    for method in score.methods:  # one method when trials come one at a time
        alone = score.sequential(method)
        assert alone is not None
        assert alone[:, -1] == pytest.approx([0.2, 0.3])
    assert score.sequential("gp") is None


def test_batch_scores__tasks_differ__compares_those_of_all_sizes(folder: Path) -> None:
    _run(folder, "own-start", "optformer", [0.0, 0.0, 0.0], "c")
    _run(folder, "own-start", "tpe", [0.0, 0.0, 0.0], "c")
    (score,) = batch_scores(score_runs(folder))
    assert score.tasks == 2
    assert score.regret[1]["optformer"][:, -1] == pytest.approx([0.2, 0.3])


def test_batch_scores__sequential_runs_only__are_none(tmp_path: Path) -> None:
    _run(tmp_path, "own-start", "tpe", [0.1, 0.5])
    assert batch_scores(score_runs(tmp_path)) == []


def test_section__several_sizes__states_the_ratio(folder: Path) -> None:
    (score,) = batch_scores(score_runs(folder))
    title, _, table, picture = section(score, "batches.png")
    assert title == "## toy, own-start: batches"
    assert "3 trials | one at a time | batches of 4 | batches of 8 |" in table
    row = next(line for line in table.splitlines() if "`optformer`" in line)
    assert "0.2500 (0.2000 to 0.3000) | 0.3500 (" in row
    assert "x 1.40 (" in row  # 0.35 / 0.25
    assert "x 2.60 (" in row  # 0.65 / 0.25
    ignored = next(line for line in table.splitlines() if "`optformer-ignore`" in line)
    assert ignored.endswith("|  |")  # not run in batches of 8
    assert "batches.png" in picture


def test_section__nothing_sequential__has_no_ratio(tmp_path: Path) -> None:
    _run(tmp_path, "own-start-batch-4", "tpe", [0.1, 0.5])
    (score,) = batch_scores(score_runs(tmp_path))
    table = section(score, "batches.png")[2]
    assert "| `tpe` | 0.5000 |" in table
    assert "one at a time" not in table


def test_write_report__batches__adds_a_section_and_a_picture(folder: Path) -> None:
    markdown = write_report(folder)
    assert "## toy, own-start: batches" in markdown
    assert (folder / "batches-own-start-toy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("optformer-ignore", "optformer"),
        ("optformer-placeholder", "optformer"),
        ("optformer-sample", "optformer"),
        ("optformer-ts", "optformer-ts"),
        ("tpe", "tpe"),
    ],
)
def test_sequential_twin__any_method__acts_alike_without_pending_trials(
    name: str, twin: str
) -> None:
    assert sequential_twin(name) == twin
