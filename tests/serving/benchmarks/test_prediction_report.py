"""The report on predictions of real histories."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from optformer.serving.benchmarks.report.predictions import write_predictions
from optformer.training.bootstrap import Estimate
from optformer.training.evaluation.predictions.scores import LEVELS, PredictionScore

TRUTH = PredictionScore(
    source="made up",
    known=10,
    predictor="truth",
    tasks=3,
    targets=48,
    nll=Estimate(6.0, 5.5, 6.5),
    nll_above_reference=Estimate(0.0, 0.0, 0.0),
    coverage_50=Estimate(0.5, 0.4, 0.6),
    coverage_90=Estimate(0.9, 0.8, 1.0),
    calibration_error=0.02,
    rank_correlation=None,
    observed=tuple(LEVELS.tolist()),
)
OURS = replace(
    TRUTH, predictor="ours", nll_above_reference=Estimate(0.25, 0.1, 0.4), nll=Estimate(6.25, 6, 7)
)


def test_write_predictions__scores__leave_table_plot_and_json(tmp_path: Path) -> None:
    scores = [replace(score, known=known) for known in (10, 20) for score in (OURS, TRUTH)]
    text = write_predictions(scores, "truth", tmp_path / "out")
    assert (tmp_path / "out" / "predictions.md").read_text() == text
    rows = [line for line in text.splitlines() if line.startswith("| made up |")]
    assert len(rows) == 4
    assert rows[0].startswith("| made up | 10 trials | `ours` | 3 | 48 | 6.250")
    assert "| +0.250" in rows[0]
    assert " |  | " in rows[1]  # the reference is not compared with itself
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert written[0]["nll"]["value"] == 6.25
    assert (tmp_path / "out" / "reliability.png").read_bytes().startswith(b"\x89PNG")
