from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import optformer.training.evaluation.evaluate as evaluate
from optformer.data.studies.errors import CheckpointError
from optformer.data.studies.yaml_json import parse_yaml
from optformer.model.checkpoint import (
    CARD,
    RUN_CHECKPOINT_DIR,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from optformer.model.tensors import MetadataTensors
from optformer.tokenization.symbols import NUM_BINS
from optformer.training.config import PriorConfig, TrainingConfig
from optformer.training.evaluation.evaluate import (
    binned_normal,
    policy_scores,
    prediction_scores,
)
from optformer.training.evaluation.gp_benchmark import ContextKind, GPSamples, draw_samples
from optformer.training.mixtures.queries import gain_bins
from optformer.training.model_card import write_model_card
from optformer.training.train import Trainer

KINDS: list[ContextKind] = ["uniform", "gp-ei"]


class FakeModel:
    """Answers every query with one given distribution."""

    def __init__(self, chances: Tensor | None = None):
        self.chances = chances

    def encode_metadata(self, metadata: MetadataTensors) -> Any:
        encoded = SimpleNamespace(spaces=len(metadata.ids), legal=metadata.legal)
        encoded.expand = lambda studies: encoded
        return encoded

    def encode_history(self, *args: Any) -> None:
        return None

    def metric_logits(self, metadata: Any, history: None, points: Any) -> Tensor:
        assert self.chances is not None
        return self.chances.log().expand(*points.values.shape[:2], -1)

    def value_logits(
        self, metadata: Any, history: None, points: Any, slot: Tensor, *rest: Any
    ) -> Tensor:
        studies = len(points.values) // metadata.spaces
        legal = metadata.legal[:, slot].repeat_interleave(studies, 0)
        return torch.zeros(legal.shape).masked_fill(~legal, -torch.inf)


def _fake(checkpoint: Checkpoint, chances: Tensor | None = None) -> Checkpoint:
    return Checkpoint(cast(Any, FakeModel(chances)), checkpoint.vocabulary, {})


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "CONTEXTS", (12,))
    monkeypatch.setattr(evaluate, "_MARGINAL_STUDIES", 200)


@pytest.fixture(scope="module", params=KINDS)
def samples(request: pytest.FixtureRequest) -> GPSamples:
    return draw_samples(request.param, 2, 16, 60, 16, seed=5)


def test_draw_samples__one_seed__is_reproducible(samples: GPSamples) -> None:
    first = draw_samples("gp-ei", 3, 12, 4, 5, seed=1)
    second, third = (draw_samples("gp-ei", 3, 12, 4, 5, seed=s) for s in (1, 2))
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(second, name))
        assert not torch.equal(value, getattr(third, name))
    assert first.points.shape == (4, 12, 3)
    assert first.target_points.shape == (4, 5, 3)
    for points in (samples.points, samples.target_points):
        assert points.min() >= 0
        assert points.max() <= 1


def test_draw_samples__exact_process__is_calibrated(samples: GPSamples) -> None:
    z = (samples.target_values - samples.mean) / samples.deviation
    count = z.numel()
    for level, width in [(0.5, 0.6745), (0.9, 1.6449)]:
        coverage = float((z.abs() < width).double().mean())
        assert coverage == pytest.approx(level, abs=4 * (level * (1 - level) / count) ** 0.5)
    assert float(z.mean()) == pytest.approx(0, abs=4 / count**0.5)


def test_draw_samples__contexts__are_informative(samples: GPSamples) -> None:
    spread = samples.target_values.std()
    residual = (samples.target_values - samples.mean).std()
    assert float(residual) < 0.8 * float(spread)


def test_draw_samples__gp_ei__climbs_and_asks_near_the_incumbent() -> None:
    samples = draw_samples("gp-ei", 2, 20, 40, 16, seed=3)
    start, later = samples.values[:, :8].amax(-1), samples.values[:, 8:].amax(-1)
    assert float((later > start).double().mean()) > 0.7
    best = samples.points[torch.arange(40), samples.values.argmax(-1)][:, None]
    gap = (samples.target_points - best).abs().amax(-1)
    assert float(gap.median()) < 0.05
    assert float(gap.max()) < 0.6
    uniform = draw_samples("uniform", 2, 20, 40, 16, seed=3)
    assert float(uniform.target_points.std()) == pytest.approx(12**-0.5, abs=0.02)


def test_binned_normal__all_bins__sum_to_one(samples: GPSamples) -> None:
    scale = evaluate._fit(samples)
    studies = len(samples.values)
    bins = torch.arange(NUM_BINS).expand(studies, -1)
    mean, deviation = samples.mean[:, :1], samples.deviation[:, :1]
    below, inside = binned_normal(scale, mean, deviation, bins)
    total = inside.sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)
    torch.testing.assert_close(below[:, 1:], inside.cumsum(-1)[:, :-1], rtol=0, atol=1e-6)


def test_binned_normal__true_process__beats_the_marginal(samples: GPSamples) -> None:
    scale = evaluate._fit(samples)
    target = gain_bins(scale, samples.target_values)
    _, inside = binned_normal(scale, samples.mean, samples.deviation, target)
    exact = -inside.log().mean(-1)
    counts = torch.bincount(target.flatten(), minlength=NUM_BINS).double()
    kernel = torch.nn.functional.avg_pool1d(counts[None, None], 41, 1, 20)[0, 0] + 0.05
    own = -(kernel / kernel.sum()).log()[target].mean(-1)  # even the histogram of these targets
    gain = own - exact
    assert float(gain.mean()) > 3 * float(gain.std()) / len(gain) ** 0.5
    assert float(exact.mean()) < math.log(NUM_BINS)


@pytest.mark.usefixtures("_cheap")
def test_prediction_scores__marginal_in_disguise__captures_nothing(
    tiny_checkpoint: Checkpoint,
) -> None:
    """A model that answers with the distribution over studies, whatever the query."""
    others = draw_samples("uniform", 1, 12, 200, 16, seed=1)
    bins = gain_bins(evaluate._fit(others), others.target_values).flatten()
    counts = torch.bincount(bins, minlength=NUM_BINS + 1).double()
    smooth = torch.nn.functional.avg_pool1d(counts[None, None], 21, 1, 10)[0, 0] + 0.1
    checkpoint = _fake(tiny_checkpoint, smooth / smooth.sum())
    (score,) = prediction_scores(checkpoint, contexts=["uniform"], dimensions=[1], studies=64)
    assert score.contexts == "uniform"
    assert score.dimensions == 1
    assert score.gp < score.marginal
    assert score.share == pytest.approx(0.0, abs=0.1)
    assert 0 < score.share_error < 0.2


@pytest.mark.usefixtures("_cheap")
def test_prediction_scores__tiny_model__are_finite_and_reproducible(
    tiny_checkpoint: Checkpoint,
) -> None:
    settings: dict[str, Any] = {"contexts": KINDS, "dimensions": [2], "studies": 6}
    scores = prediction_scores(tiny_checkpoint, **settings)
    assert [score.contexts for score in scores] == KINDS
    assert all(math.isfinite(number) for s in scores for number in list(vars(s).values())[1:])
    assert all(score.share < 0 for score in scores)  # random weights are worse than the marginal
    assert prediction_scores(tiny_checkpoint, **settings) == scores


def test_policy_scores__uniform_answers__score_as_uniform(
    tiny_checkpoint: Checkpoint, prior_config: PriorConfig
) -> None:
    scores = policy_scores(_fake(tiny_checkpoint), prior_config, methods=["random"], batches=2)
    assert [score.method for score in scores] == ["random"]
    assert scores[0].ours == pytest.approx(scores[0].uniform, rel=1e-6)
    assert 1 < scores[0].uniform < math.log(NUM_BINS)


def test_policy_scores__random_weights__are_worse_than_uniform(
    tiny_checkpoint: Checkpoint, prior_config: PriorConfig
) -> None:
    (score,) = policy_scores(tiny_checkpoint, prior_config, methods=["clustered"], batches=1)
    assert score.ours > score.uniform


def test_model_card__trained_checkpoint__tells_all_of_the_record(
    training_config: TrainingConfig, tmp_path: Path
) -> None:
    trainer = Trainer(training_config, tmp_path, cpu=True)
    trainer.step, trainer.trials, trainer.seconds = 6, 1234, 7200.0
    trainer.save()
    folder = tmp_path / RUN_CHECKPOINT_DIR
    assert "Not evaluated yet." in write_model_card(folder).read_text()
    rows = [{"dimensions": 1, "share": 0.81234}, {"dimensions": 2, "share": np.float64(0.5)}]
    path = write_model_card(folder, {"Prediction": rows})
    assert path == folder / CARD
    text = path.read_text()
    assert "### Prediction" in text
    assert "| 1 | 0.812 |" in text
    assert text.startswith("---\nlicense: apache-2.0\n")
    date = load_checkpoint(folder).run["date"]
    assert f"| 1 | {date} | cpu |  | 100 % synthetic | 6 | 1,234 | 2.0 |" in text
    block = text[text.index("```yaml\n") + 8 : text.index("```\n\n## Evaluation")]
    assert TrainingConfig.from_dict(parse_yaml(block)) == training_config
    assert "{" not in text.replace(block, "")
    assert load_checkpoint(folder).run["evaluation"] == {"Prediction": rows}
    assert "### Prediction" in write_model_card(folder).read_text()  # the evaluation is kept


def test_model_card__started_from_weights__tells_the_earlier_run(
    training_config: TrainingConfig, tmp_path: Path
) -> None:
    trainer = Trainer(training_config, tmp_path, cpu=True)
    known = {"date": "2026-01-02", "device": "a GPU", "from": "noise", "data": "tables"}
    counts = {"config": {}, "steps": 1200, "trials": 34567, "seconds": 5400}
    trainer.earlier = [counts, {**known, **counts}]  # of an earlier release, and of this one
    trainer.start = "both"
    trainer.save()
    card = write_model_card(tmp_path / RUN_CHECKPOINT_DIR).read_text()
    assert "| 1 |  |  |  | 100 % synthetic | 1,200 | 34,567 | 1.5 |" in card
    assert "| 2 | 2026-01-02 | a GPU | noise | tables | 1,200 | 34,567 | 1.5 |" in card
    assert "| cpu | both | 100 % synthetic | 0 | 0 | 0.0 |" in card


def test_model_card__no_checkpoint__is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        write_model_card(tmp_path / "none")


def test_model_card__unwritable_folder__is_a_checkpoint_error(
    training_config: TrainingConfig, tmp_path: Path
) -> None:
    trainer = Trainer(training_config, tmp_path, cpu=True)
    record = trainer.record()
    save_checkpoint(tmp_path / "ck", trainer.core, trainer.vocabulary, record)
    (tmp_path / "ck" / CARD).mkdir()
    with pytest.raises(CheckpointError, match="cannot write the model card"):
        write_model_card(tmp_path / "ck")
