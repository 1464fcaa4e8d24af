"""Reports, against numbers worked out by hand."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from optformer.data.studies.errors import MissingExtraError, StorageError, StudyError
from optformer.serving.benchmarks.report import score_runs, write_report
from optformer.serving.benchmarks.report.page import page
from optformer.serving.benchmarks.report.significance import compare, differing
from optformer.serving.benchmarks.report.text import section
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
    suite: str = "toy",
    task: str = "line",
    breaks: bool = False,
) -> None:
    rows = []
    for i, value in enumerate(values):
        status: Status = "failed" if value is None else "completed"
        rows.append(Row(i, {"x": value}, value, status, None, 0.25 if i else None))
    if breaks:
        rows.append(Row(len(rows), {}, None, "method-failed", "ValueError: no", None))
    write_run(out, RunKey("own-start", suite, task, method, seed), f"{method} 1.0", rows)


def _reference(out: Path, task: str = "line", suite: str = "toy", seen: bool = False) -> None:
    write_reference(out, suite, task, Reference("maximize", 5.0, 10.0, None, seen))


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Two methods with two seeds on a maximized task with median 5 and best 10."""
    _reference(tmp_path)
    rising = [float(i % 11) for i in range(12)]  # 0 .. 10, then 0 again
    _write(tmp_path, "good", rising, seed=0)
    _write(tmp_path, "good", rising, seed=1)
    _write(tmp_path, "bad", [6.0] * 12, seed=0)
    _write(tmp_path, "bad", [None] * 11 + [7.5], seed=1)
    return tmp_path


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Three methods on five tasks of two suites: `gp` ends best, `random` worst, on every task."""
    for i in range(5):
        suite, task = ("one", f"a{i}") if i < 3 else ("two", f"b{i}")
        _reference(tmp_path, task, suite)
        for method, end in (("gp", 10.0), ("mine", 9.5 - 0.1 * i), ("random", 6.0)):
            _write(tmp_path, method, [5.0, 5.0, end], suite=suite, task=task)
    return tmp_path


def test_score__known_optimum__matches_hand_computed_numbers(known: Path) -> None:
    (suite,) = score_runs(known)
    assert (suite.protocol, suite.suite, suite.tasks) == ("own-start", "toy", ("line",))
    assert (suite.runs, suite.left_out, suite.budgets) == (2, 0, (10, 12))
    good, bad = suite.methods  # best final regret first
    assert (good.method, good.version, bad.method) == ("good", "good 1.0", "bad")
    expected = [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0]
    assert good.runs == pytest.approx(np.array([expected, expected]))
    assert bad.runs == pytest.approx(np.array([[0.8] * 12, [1.0] * 11 + [0.5]]))
    assert bad.regret == pytest.approx(np.array([[0.9] * 11 + [0.65]]))  # seeds averaged
    assert good.rank.tolist() == [[2.0] * 6 + [1.0] * 6]
    assert bad.rank.tolist() == [[1.0] * 6 + [2.0] * 6]
    assert good.seconds == 0.25
    assert good.repeats == pytest.approx(1 / 12)
    assert bad.repeats == pytest.approx((11 / 12 + 10 / 12) / 2)
    assert (good.failed_trials, bad.failed_trials) == (0.0, 11 / 24)
    assert (good.failed_runs, bad.failed_runs) == (0, 0)
    assert suite.tests == ()


def test_score__method_failed__keeps_its_last_incumbent(known: Path) -> None:
    _write(known, "bad", [7.5], seed=0, breaks=True)
    _write(known, "bad", [], seed=1, breaks=True)
    (suite,) = score_runs(known)
    bad = suite.methods[1]
    assert bad.failed_runs == 2
    assert bad.runs.tolist() == [[0.5] * 12, [1.0] * 12]
    assert math.isnan(bad.seconds)


def test_score__unknown_optimum__is_the_best_that_anything_found(tmp_path: Path) -> None:
    write_reference(tmp_path, "toy", "live", Reference("minimize", 0.5, None, 0.2, False))
    _write(tmp_path, "one", [0.4, 0.3], task="live")
    _write(tmp_path, "two", [0.5, 0.1], task="live")
    (suite,) = score_runs(tmp_path)
    regret = {score.method: score.regret[0] for score in suite.methods}
    assert regret["one"] == pytest.approx([0.75, 0.5])
    assert regret["two"] == pytest.approx([1.0, 0.0])
    assert suite.budgets == (2,)


def test_score__unknown_optimum__may_be_a_random_points(tmp_path: Path) -> None:
    write_reference(tmp_path, "toy", "live", Reference("minimize", 0.5, None, 0.1, False))
    _write(tmp_path, "one", [0.3, 0.3], task="live")
    (suite,) = score_runs(tmp_path)
    assert suite.methods[0].regret[0] == pytest.approx([0.5, 0.5])


def test_score__tasks_seen_in_training__are_scored_apart(known: Path) -> None:
    _reference(known, "old", seen=True)
    _write(known, "good", [10.0] * 12, task="old")
    _write(known, "bad", [5.0] * 12, task="old")
    suites = {suite.seen_in_training: suite for suite in score_runs(known)}
    assert (suites[False].tasks, suites[True].tasks) == (("line",), ("old",))
    assert suites[False].methods[1].regret[0, -1] == pytest.approx(0.65)  # as without the other
    assert suites[True].methods[1].regret[0, -1] == 1.0
    assert suites[True].slug == "own-start-toy-seen"
    assert section(suites[True], [])[0] == "## toy, own-start, seen in training"


def test_score__unfinished_method__compares_what_all_have(known: Path) -> None:
    _write(known, "late", [9.0] * 12, seed=1)
    (suite,) = score_runs(known)
    assert (suite.runs, suite.left_out) == (1, 1)
    assert {score.method: score.rank[0, 9] for score in suite.methods} == {
        "good": 1.5,  # 9 after ten trials, as the late one
        "late": 1.5,
        "bad": 3.0,
    }


def test_score__nothing_in_common__is_refused(tmp_path: Path) -> None:
    _reference(tmp_path)
    _write(tmp_path, "one", [1.0], seed=0)
    _write(tmp_path, "two", [1.0], seed=1)
    with pytest.raises(StudyError, match=r"no task and seed has runs of all of \['one', 'two'\]"):
        score_runs(tmp_path)


def test_score__several_suites__are_also_scored_together(many: Path) -> None:
    _write(many, "elsewhere", [5.0, 5.0, 10.0], suite="two", task="b3")
    _write(many, "elsewhere", [5.0, 5.0, 10.0], suite="two", task="b4")
    one, two, together = score_runs(many)
    assert (one.suite, two.suite, together.suite) == ("one", "two", "all suites")
    assert together.tasks == ("one/a0", "one/a1", "one/a2", "two/b3", "two/b4")
    assert [score.method for score in together.methods] == ["gp", "mine", "random"]
    assert together.methods[1].rank[:, -1].tolist() == [2.0] * 5
    (test,) = together.tests
    assert test.budget == 3
    assert test.p_value < 0.01
    assert differing(test, [1.0, 2.0, 3.0]) == [(0, 2, pytest.approx(test.pairs[0, 2]))]
    assert two.tests == ()  # two tasks are too few


def test_compare__two_methods__is_the_signed_rank_test() -> None:
    regrets = np.stack([np.zeros(8), np.arange(1.0, 9.0)])
    test = compare(regrets, 5)
    assert test.p_value == pytest.approx(2 / 2**8)  # all eight differences on one side
    assert differing(test, [1.0, 2.0]) == [(0, 1, test.p_value)]


def test_compare__all_alike__differ_nowhere() -> None:
    test = compare(np.full((3, 4), 0.5), 5)
    assert test.p_value == 1.0
    assert differing(test, [2.0, 2.0, 2.0]) == []


def test_compare__noise__rarely_differs() -> None:
    rng = np.random.default_rng(0)
    found = [compare(rng.random((4, 12)), 5) for _ in range(40)]
    assert np.mean([test.p_value < 0.05 for test in found]) < 0.2
    assert sum(bool(differing(test, [1.0, 2.0, 3.0, 4.0])) for test in found) < 8


def test_report__known_optimum__is_tables_with_pictures(known: Path) -> None:
    text = write_report(known)
    assert (known / "report.md").read_text() == text
    assert "1 tasks, 2 runs a method, 12 trials a run." in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `good` | 0.2000 | 0.0000 |",  # one task has no interval
        "| `bad` | 0.9000 | 0.6500 |",
        "| `good` | 1.00 | 1.00 |",
        "| `bad` | 2.00 | 2.00 |",
        "| `good` | 100% | 100% | 0.2500 | 8.3% | 0.0% | 0 | good 1.0 |",
        "| `bad` | 0% | 0% | 0.2500 | 87.5% | 45.8% | 0 | bad 1.0 |",
    ]
    assert "(curves-own-start-toy.png)" in text
    assert (known / "curves-own-start-toy.png").read_bytes().startswith(b"\x89PNG")
    assert "ranks-" not in text


def test_report__several_suites__fill_one_page(many: Path) -> None:
    text = write_report(many)
    header = "| Regret above the best Gaussian process after | 3 trials (`gp`) |"
    assert text.count(header) == 3
    together = text.split("## all suites")[1]
    # mine ends at 9.5, 9.4, 9.3, 9.2, 9.1 of 10 with the median at 5: 0.1 to 0.18
    assert re.search(r"\| `mine` \| \+0\.1400 \(\+0\.1[12]\d\d to \+0\.1[56]\d\d\) \|", together)
    assert "`gp` before `random`" in together
    assert (many / "ranks-own-start-all-suites.png").read_bytes().startswith(b"\x89PNG")
    assert not (many / "ranks-own-start-two.png").exists()
    html = (many / "report.html").read_text()
    assert html.count("<table>") == html.count("</table>") > 8
    assert html.count('src="data:image/png;base64,') == 5  # curves of 3 groups, ranks of 2
    assert html.count("src=") == 5
    assert "<h2>all suites, own-start</h2>" in html


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


def test_report__package_missing__names_the_extra(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "markdown", None)
    monkeypatch.setitem(sys.modules, "scikit_posthocs", None)
    with pytest.raises(
        MissingExtraError,
        match=r'markdown is not installed; .*pip install "optformer\[benchmark\]"',
    ):
        page("# Report", "Report", known)
    with pytest.raises(MissingExtraError, match=r"posthocs is not installed; .*pip install"):
        compare(np.eye(3), 5)
