"""Generated data sets: what the seed decides, and that models can be trained on them."""

from __future__ import annotations

import numpy as np
import pytest

from optformer.data.objectives.sklearn_datasets import dataset, splits
from optformer.data.objectives.sklearn_generated import KINDS, generated_dataset, is_generated

SEEDS = range(40)
NAMES = [f"{kind}-{seed}" for kind in KINDS for seed in SEEDS]


@pytest.mark.parametrize("name", NAMES)
def test_dataset__every_seed__fits_its_description(name: str) -> None:
    data = dataset(name)
    (split,) = splits(name)
    words = data.size.split()
    assert int(words[0]) == len(split.train_targets)
    assert (
        int(words[words.index("features,") - 1 if "features," in words else -2])
        == (split.train_inputs.shape[1])
    )
    assert np.isfinite(split.train_inputs).all()
    assert np.isfinite(split.train_targets.astype(float)).all()
    if data.kind == "classification":
        classes = int(words[words.index("classes") - 1])
        for targets in (split.train_targets, split.test_targets):
            assert np.bincount(targets, minlength=classes).min() >= 3


def test_dataset__same_seed__is_the_same() -> None:
    one, other = (generated_dataset("regression-3").load() for _ in range(2))
    assert all(np.array_equal(first, second) for first, second in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_dataset__different_seeds__differ_in_size_metric_and_description(kind: str) -> None:
    found = [generated_dataset(f"{kind}-{seed}") for seed in SEEDS]
    assert len({data.text for data in found}) > 0.9 * len(found)
    assert len({data.size for data in found}) > 0.9 * len(found)
    assert {data.goal for data in found} == {"maximize", "minimize"}
    assert len({data.metric for data in found}) >= 3


@pytest.mark.parametrize(
    "name", ["iris", "classification", "classification-", "classification-01", "regression-x"]
)
def test_is_generated__another_name__is_not(name: str) -> None:
    assert not is_generated(name)
