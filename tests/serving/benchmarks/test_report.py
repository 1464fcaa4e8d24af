"""Reports, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from optformer.data.errors import StorageError, StudyError
from optformer.serving.benchmarks.report import score_runs, write_report
from optformer.serving.benchmarks.results import (
    Reference,
    Row,
    RunKey,
    Status,
    write_reference,
    write_run,
)


def _write(
    out: Path,
    method: str,
    values: Sequence[float | None],
    *,
    seed: int = 0,
    task: str = "line",
    breaks: bool = False,
) -> None:
    rows = []
    for i, value in enumerate(values):
        status: Status = "failed" if value is None else "completed"
        rows.append(Row(i, {"x": value}, value, status, None, 0.25 if i else None))
    if breaks:
        rows.append(Row(len(rows), {}, None, "method-failed", "ValueError: no", None))
    write_run(out, RunKey("own-start", "toy", task, method, seed), f"{method} 1.0", rows)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Two methods with two seeds on a maximized task with median 5 and best 10."""
    write_reference(tmp_path, "toy", "line", Reference("maximize", 5.0, 10.0, None, False))
    rising = [float(i % 11) for i in range(12)]  # 0 .. 10, then 0 again
    _write(tmp_path, "good", rising, seed=0)
    _write(tmp_path, "good", rising, seed=1)
    _write(tmp_path, "bad", [6.0] * 12, seed=0)
    _write(tmp_path, "bad", [None] * 11 + [7.5], seed=1)
    return tmp_path


def test_score__known_optimum__matches_hand_computed_numbers(known: Path) -> None:
    (suite,) = score_runs(known)
    assert (suite.protocol, suite.suite, suite.tasks) == ("own-start", "toy", ("line",))
    assert (suite.cells, suite.left_out, suite.budgets) == (2, 0, (10,))
    good, bad = suite.methods  # best final regret first
    assert (good.method, good.version, bad.method) == ("good", "good 1.0", "bad")
    expected = [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0]
    assert good.regret == pytest.approx(np.array([expected, expected]))
    assert bad.regret == pytest.approx(np.array([[0.8] * 12, [1.0] * 11 + [0.5]]))
    assert good.rank.tolist() == [[1.0, 1.0]]
    assert bad.rank.tolist() == [[2.0, 2.0]]
    assert good.seconds == 0.25
    assert good.repeats == pytest.approx(1 / 12)
    assert bad.repeats == pytest.approx((11 / 12 + 10 / 12) / 2)
    assert (good.failed, bad.failed) == (0, 0)


def test_score__method_failed__keeps_its_last_incumbent(known: Path) -> None:
    _write(known, "bad", [7.5], seed=0, breaks=True)
    _write(known, "bad", [], seed=1, breaks=True)
    (suite,) = score_runs(known)
    bad = suite.methods[1]
    assert bad.failed == 2
    assert bad.regret.tolist() == [[0.5] * 12, [1.0] * 12]
    assert math.isnan(bad.seconds)


def test_score__unknown_optimum__is_the_best_that_anything_found(tmp_path: Path) -> None:
    write_reference(tmp_path, "toy", "live", Reference("minimize", 0.5, None, 0.2, True))
    _write(tmp_path, "one", [0.4, 0.3], task="live")
    _write(tmp_path, "two", [0.5, 0.1], task="live")
    (suite,) = score_runs(tmp_path)
    regret = {score.method: score.regret[0] for score in suite.methods}
    assert regret["one"] == pytest.approx([0.75, 0.5])
    assert regret["two"] == pytest.approx([1.0, 0.0])
    assert suite.seen_in_training == ("live",)
    assert suite.budgets == (2,)


def test_score__unknown_optimum__may_be_a_random_points(tmp_path: Path) -> None:
    write_reference(tmp_path, "toy", "live", Reference("minimize", 0.5, None, 0.1, False))
    _write(tmp_path, "one", [0.3, 0.3], task="live")
    (suite,) = score_runs(tmp_path)
    assert suite.methods[0].regret[0] == pytest.approx([0.5, 0.5])


def test_score__unfinished_method__compares_what_all_have(known: Path) -> None:
    _write(known, "late", [9.0] * 12, seed=1)
    (suite,) = score_runs(known)
    assert (suite.cells, suite.left_out) == (1, 1)
    assert {score.method: score.rank.tolist() for score in suite.methods} == {
        "good": [[1.5]],  # 9 after ten trials, as the late one
        "late": [[1.5]],
        "bad": [[3.0]],
    }


def test_score__nothing_in_common__is_refused(tmp_path: Path) -> None:
    write_reference(tmp_path, "toy", "line", Reference("maximize", 5.0, 10.0, None, False))
    _write(tmp_path, "one", [1.0], seed=0)
    _write(tmp_path, "two", [1.0], seed=1)
    with pytest.raises(StudyError, match=r"no task and seed has runs of all of \['one', 'two'\]"):
        score_runs(tmp_path)


def test_report__known_optimum__is_a_table_with_curves(known: Path) -> None:
    text = write_report(known)
    assert (known / "report.md").read_text() == text
    assert "1 tasks, 2 runs a method, 12 trials a run." in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows[0] == (
        "| `good` | 0.2000 (0.2000 to 0.2000) | 1.00 (1.00 to 1.00) "
        "| 0.2500 | 8.3% | 0 | good 1.0 |"
    )
    assert rows[1].startswith("| `bad` | 0.9000 (0.8000 to 1.0000) | 2.00 (2.00 to 2.00) |")
    picture = known / "regret-own-start-toy.png"
    assert "(regret-own-start-toy.png)" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_report__twice__is_the_same(known: Path) -> None:
    assert write_report(known) == write_report(known)


def test_report__no_runs__says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no benchmark run; run `optformer benchmark"):
        write_report(tmp_path / "absent")


def test_report__broken_shard__is_named(known: Path) -> None:
    (known / "own-start" / "toy" / "line" / "bad" / "seed-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"bad/seed-1\.parquet"):
        write_report(known)


def test_report__missing_reference__is_named(known: Path) -> None:
    (known / "references" / "toy" / "line.json").unlink()
    with pytest.raises(StorageError, match=r"references/toy/line\.json"):
        write_report(known)
