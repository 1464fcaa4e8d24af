"""Networks whose hyperparameters may change in training."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from optformer.data.objectives.quadratic import Quadratic
from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.data.systems.populations.base import TrainableFactory
from optformer.data.systems.populations.pbt import PopulationBasedTraining
from optformer.data.systems.populations.progressive import GROWS, ProgressiveLearning
from optformer.data.systems.populations.torch_classifier import TorchClassifier
from optformer.data.systems.populations.torch_images import TorchImageClassifier, distort
from optformer.data.systems.populations.torch_training import DATASETS, tabular

MAKERS: dict[str, TrainableFactory] = {
    "quadratic": Quadratic,
    "wine": TorchClassifier,
    "digits": partial(TorchClassifier, "digits"),
    "image digits": partial(TorchImageClassifier, "digits"),
    "glyphs": TorchImageClassifier,
}
GOOD: dict[str, dict[str, Any]] = {
    "quadratic": {"g": 1.0, "h": 1.0},
    "wine": {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 1e-5, "dropout": 0.1},
    "digits": {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 1e-5, "dropout": 0.1},
    "image digits": {
        "learning_rate": 0.1,
        "image_size": 8,
        "dropout": 0.1,
        "augmentation": 0.1,
        "mixup": 0.1,
    },
    "glyphs": {
        "learning_rate": 0.1,
        "image_size": 14,
        "dropout": 0.1,
        "augmentation": 0.1,
        "mixup": 0.1,
    },
}


@pytest.mark.parametrize("name", MAKERS)
class TestTrainableConformance:
    """Runs for every trainable."""

    def test_train__steps__improve_the_metric(self, name: str) -> None:
        model = MAKERS[name]()
        point = model.config.space.validate(GOOD[name])
        model.init(0)
        start = model.train(point, 1, 0)
        end = model.train(point, 60, 1)
        assert model.config.sign * (end - start) > 0.1

    def test_checkpoint__another_instance__trains_on_exactly(self, name: str) -> None:
        model, other = MAKERS[name](), MAKERS[name]()
        model.init(3)
        model.train(GOOD[name], 5, 0)
        checkpoint = model.save()
        ahead = model.train(GOOD[name], 5, 1)
        other.init(9)
        other.train(GOOD[name], 7, 2)  # leaves nothing behind
        other.load(checkpoint)
        assert other.save() == checkpoint
        assert other.train(GOOD[name], 5, 1) == ahead
        assert other.save() == model.save()

    def test_train__seeds__decide_alone(self, name: str) -> None:
        model = MAKERS[name]()
        values = []
        for init_seed, seed in [(0, 0), (0, 0), (0, 1)]:
            model.init(init_seed)
            torch.rand(1)  # other users of torch's own generator do not matter
            np.random.default_rng()
            values.append(model.train(GOOD[name], 5, seed))
        assert values[0] == values[1] != values[2]

    def test_train__points_of_the_space__leave_a_number(self, name: str) -> None:
        model = MAKERS[name]()
        for seed in range(4):
            model.init(seed)
            point = model.config.space.sample(np.random.default_rng(seed))
            assert np.isfinite(model.train(point, 3, seed))


def test_train__diverging__is_an_objective_error() -> None:
    model = TorchClassifier("wine")
    model.init(0)
    wild = {"learning_rate": 1e6, "momentum": 0.99, "weight_decay": 0.1, "dropout": 0.0}
    with pytest.raises(ObjectiveError, match="training diverged: the validation loss is"):
        model.train(wild, 100, 0)


@pytest.mark.parametrize("name", DATASETS)
def test_tabular__parts__are_apart_and_standardized(name: str) -> None:
    parts = tabular(name)
    sizes = [len(part.targets) for part in (parts.train, parts.validation, parts.test)]
    assert sizes[0] == sum(sizes) // 2
    assert abs(sizes[1] - sizes[2]) <= 1
    assert parts.train.inputs.mean().abs() < 0.05
    assert set(parts.train.targets.tolist()) == set(range(parts.classes))


def test_reserved__digits__alone() -> None:
    assert TorchClassifier("digits").reserved
    assert TorchImageClassifier("digits").reserved
    assert not TorchClassifier("wine").reserved
    assert not TorchImageClassifier("glyphs").reserved


@pytest.mark.parametrize("kind", [TorchClassifier, TorchImageClassifier])
def test_dataset__unknown__lists_the_known(kind: type) -> None:
    with pytest.raises(ConfigError, match=r"unknown data set 'cifar'; known are .*'digits'"):
        kind("cifar")


def test_distort__magnitude__moves_pixels_further() -> None:
    batch = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def moved(magnitude: float) -> float:
        generator = torch.Generator().manual_seed(1)
        return float((distort(batch, magnitude, generator) - batch).abs().mean())

    assert moved(0.0) == 0.0
    assert 0.0 < moved(0.1) < moved(1.0)


def test_image_classifier__size__travels_with_the_checkpoint() -> None:
    model, other = TorchImageClassifier("digits"), TorchImageClassifier("digits")
    model.init(0)
    model.train({**GOOD["image digits"], "image_size": 5}, 20, 0)
    other.load(model.save())
    assert other.test_loss() == model.test_loss()


def test_populations__real_networks__train_through_copies_and_stages() -> None:
    result = PopulationBasedTraining(3, 4, 5, 5).run(TorchClassifier, 0)
    assert result.best.value is not None
    assert result.best.value < 1.0  # of three equal classes log 3 is a guess
    parents = [trial.metrics.get("parent") for trial in result.trials]
    members = [trial.metrics["member"] for trial in result.trials]
    assert any(
        p is not None and members[int(p)] != m for p, m in zip(parents, members, strict=True)
    )
    progressive = ProgressiveLearning(1, 3, 5).run(partial(TorchImageClassifier, "digits"), 0)
    for name in GROWS:
        values = [trial.params[name] for trial in progressive.schedule]
        assert values == sorted(values)
        assert len(values) == 3
