"""The ablation and scaling experiments, cut short."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from optformer.model.tensors import HistoryTensors, PointTensors
from optformer.training.losses import study_losses
from optformer.training.mixtures.batch import StudyBatch

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
MODELS = (
    "BinTable",
    "SumPooling",
    "NoDistance",
    "NoMeaning",
    "CausalHistory",
    "LearnedSlots",
    "FullAttention",
)


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the experiments, which import each other by bare names."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module(name)


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> StudyBatch:
    runs = load("short_runs", monkeypatch)
    prior = replace(runs.PRIOR, parameters={3: 1.0}, max_trials=12, tokens=128, probes=8)
    return next(b for b in runs.draw(prior, 1, 20) if b.prefix > 2)


def run(monkeypatch: pytest.MonkeyPatch, out: Path, steps: int) -> None:
    options = ["--steps", str(steps), "--batches", "1", "--samples", "2", "--baseline-seeds", "1"]
    only = ["--only", "baseline", "numbers from a table of bins", "uniform probes only"]
    monkeypatch.setattr(sys, "argv", ["ablations.py", *options, *only, "--out", str(out)])
    load("ablations", monkeypatch).main()


def test_ablations__two_steps__reports_and_keeps_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, tmp_path, 2)
    kept = {path: path.read_text() for path in tmp_path.glob("*.json")}
    scores = [json.loads(text)["scores"]["metric"] for text in kept.values()]
    assert len(scores) == 3
    assert len(set(scores)) == 3  # each variant went its own way
    assert (tmp_path / "report.md").read_text().count("\n") == 5
    assert (tmp_path / "report.png").stat().st_size > 1000

    changed = {path: path.stat().st_mtime_ns for path in kept}
    run(monkeypatch, tmp_path, 2)
    assert {path: path.stat().st_mtime_ns for path in kept} == changed

    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, 3)


@pytest.mark.parametrize("name", MODELS)
def test_ablated_model__later_trials_change__no_answer_before_them_does(
    name: str, batch: StudyBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, models = load("short_runs", monkeypatch), load("ablated_models", monkeypatch)
    config = load("scaling", monkeypatch).SIZES["tiny"]
    model = runs.make_model(config, 0, getattr(models, name))
    for weight in model.parameters():
        torch.nn.init.normal_(
            weight, std=0.2, generator=torch.Generator().manual_seed(weight.numel())
        )
    cut = batch.prefix
    metric, kinds = batch.history.metric.clone(), batch.history.metric_kinds
    metric[:, cut:] = 1 - metric[:, cut:]
    values = batch.history.points.values.clone()
    values[:, cut:] = 0.0
    other = replace(
        batch,
        history=HistoryTensors(PointTensors(values, batch.history.points.kinds), metric, kinds),
    )

    def answers(asked: StudyBatch, position: int) -> torch.Tensor:
        metadata = model.encode_metadata(asked.metadata).expand(asked.history.studies)
        history = model.encode_history(metadata, asked.history, asked.prefix)
        places = torch.full_like(asked.metrics.position, position)
        return model.metric_logits(metadata, history, asked.metrics.points, places)

    assert torch.equal(answers(batch, cut), answers(other, cut))
    assert not torch.equal(answers(batch, cut), answers(batch, cut - 1))
    assert study_losses(model, batch, 0.8).total.isfinite()


def test_fit_law__points_of_a_law__finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = load("scaling", monkeypatch)
    compute = np.geomspace(0.1, 100, 20)
    noise = 0.003 * np.random.default_rng(0).normal(size=20)
    fit = scaling.fit_law(compute, scaling.law(compute, 4.0, 1.2, 0.3) + noise)
    assert fit[0] == pytest.approx([4.0, 1.2, 0.3], abs=0.05)
    middle, low, high = scaling.predict(fit, np.array([1000.0]))
    assert low < scaling.law(np.array([1000.0]), 4.0, 1.2, 0.3) < high
    assert low < middle < high


def test_frontier__a_dearer_point_is_worse__it_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scaling = load("scaling", monkeypatch)
    curves = {"a": [(1e12, 5.0), (3e12, 4.0)], "b": [(2e12, 1.0), (4e12, 4.5)], "c": [(5e12, 3.0)]}
    found = {
        name: {"curve": [{"flops": flops, "metric": loss} for flops, loss in curve]}
        for name, curve in curves.items()
    }
    compute, loss = scaling.frontier(found)
    assert compute.tolist() == [3.0, 5.0]  # the second halves of the curves
    assert loss.tolist() == [4.0, 3.0]
