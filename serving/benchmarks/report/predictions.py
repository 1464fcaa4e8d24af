"""Write the scores of predictions: a table, a reliability plot and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optformer.data.runtime.files import write_text
from optformer.serving.benchmarks.report.plots import save
from optformer.serving.benchmarks.report.text import table_of
from optformer.training.evaluation.predictions.scores import (
    LEVELS,
    TARGETS,
    PredictionScore,
)

_HEAD = f"""\
# Predictions of real histories

After the first trials of a study the values of the next ones (up to {TARGETS}) are predicted, \
each on its own. Likelihood: mean negative logarithm of the probability of a value's bin, in nats, \
with the same bins for everyone (a thousandth of the objective scale of the known trials; the end \
bins hold the tails). Coverage: share of the values inside the central interval. Calibration \
error: mean distance between a level and the share of values below the predicted quantile. Rank \
correlation: Spearman's, within a study. Averaged within a task first; in brackets: 95 % bootstrap \
interval over tasks. Trials that failed are not asked."""


def write_predictions(scores: Sequence[PredictionScore], reference: str, out: Path) -> str:
    """Write `predictions.md`, `predictions.json` and `reliability.png`.

    Args:
        scores: As `score_predictions` gives them.
        reference: The predictor that likelihoods are compared with.
        out: A folder; it is made when it is missing.

    Returns:
        The Markdown text.
    """
    out.mkdir(parents=True, exist_ok=True)
    _draw(scores, out / "reliability.png")
    described = json.dumps([asdict(score) for score in scores], indent=1)
    write_text(out / "predictions.json", described + "\n")
    rows = prediction_rows(scores, reference)
    picture = "![Predicted levels and observed shares](reliability.png)"
    text = "\n\n".join([_HEAD, table_of(rows), picture]) + "\n"
    write_text(out / "predictions.md", text)
    return text


def prediction_rows(scores: Sequence[PredictionScore], reference: str) -> list[dict[str, str]]:
    """The scores as rows of a table, heading to cell."""
    return [
        {
            "Source": score.source,
            "Known": f"{score.known} trials",
            "Predictor": f"`{score.predictor}`",
            "Tasks": str(score.tasks),
            "Targets": str(score.targets),
            "Likelihood": f"{score.nll:.3f}",
            f"Above `{reference}`": ""
            if score.predictor == reference
            else f"{score.nll_above_reference:+.3f}",
            "In 50 %": f"{score.coverage_50:.0%}",
            "In 90 %": f"{score.coverage_90:.0%}",
            "Calibration error": f"{score.calibration_error:.3f}",
            "Rank correlation": ""
            if score.rank_correlation is None
            else f"{score.rank_correlation:.2f}",
        }
        for score in scores
    ]


def _draw(scores: Sequence[PredictionScore], path: Path) -> None:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    sources = list(dict.fromkeys(score.source for score in scores))
    predictors = list(dict.fromkeys(score.predictor for score in scores))
    lengths = sorted({score.known for score in scores})
    figure = Figure(figsize=(1.5 + 3.6 * len(sources), 4.0), layout="constrained")
    panels = figure.subplots(1, len(sources), squeeze=False, sharey=True)[0]
    for axes, source in zip(panels, sources, strict=True):
        axes.plot([0, 1], [0, 1], color="#8a929a", linewidth=0.8)
        for score in scores:
            if score.source == source:
                axes.plot(
                    LEVELS,
                    score.observed,
                    color=f"C{predictors.index(score.predictor)}",
                    linestyle=("-", "--", ":")[lengths.index(score.known)],
                    label=f"{score.predictor}, {score.known} trials known",
                )
        axes.set_title(source, fontsize="medium")
        axes.set_xlabel("predicted level")
        axes.set_aspect("equal")
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("share of values below its quantile")
    shown: dict[str, Any] = {}
    for axes in panels:
        lines, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, lines, strict=True))
    figure.legend(
        shown.values(), shown, loc="outside right center", frameon=False, fontsize="small"
    )
    save(figure, path)
