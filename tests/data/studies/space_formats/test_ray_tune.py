"""Spaces of Ray Tune."""

from __future__ import annotations

from itertools import pairwise

import pytest

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.space_formats.reading import read_space

tune = pytest.importorskip("ray.tune")


def test_read__every_kind_of_range__is_what_ray_draws() -> None:
    read = read_space(
        {
            "optimizer": {"lr": tune.loguniform(1e-5, 1e-1), "name": tune.choice(["sgd", "adam"])},
            "dropout": tune.uniform(0.0, 0.5),
            "width": tune.choice([64, 16, 32]),
            "layers": tune.randint(1, 9),
            "units": tune.lograndint(1, 129),
            "batch": tune.qrandint(8, 64, 8),
            "decay": tune.quniform(3.2, 5.4, 0.2),
            "steps": tune.qlograndint(2, 16, 1),
            "epochs": 10,
            "data": object(),
        }
    )
    assert dict(read.space) == {
        "optimizer/lr": Float(1e-5, 1e-1, log=True),
        "optimizer/name": Categorical(["sgd", "adam"]),
        "dropout": Float(0.0, 0.5),
        "width": Ordinal([16, 32, 64]),
        "layers": Int(1, 8),
        "units": Int(1, 128, log=True),
        "batch": Int(8, 64, step=8),
        "decay": Float(3.2, 5.4, step=0.2),
        "steps": Int(2, 15, log=True),
    }
    assert read.notes == ()


def test_read__quantized_logarithm__lists_multiples_that_are_spaced_on_it() -> None:
    read = read_space({"lr": tune.qloguniform(1e-4, 1e-1, 5e-5)})
    values = list(read.space["lr"].grid())
    ratios = [after / before for before, after in pairwise(values[8:])]
    assert (values[0], values[-1]) == (1e-4, 1e-1)
    assert all(abs(value / 5e-5 - round(value / 5e-5)) < 1e-6 for value in values)
    assert max(ratios) < 1.25
    assert read.notes[0].startswith("lr: of the 1999 values")


def test_read__not_exactly_readable__is_told_by_path() -> None:
    read = read_space({"net": {"scale": tune.randn(10, 2)}, "seed": tune.grid_search([1, 2])})
    assert read.space["net/scale"] == Float(4.85, 15.2)
    assert read.space["seed"] == Ordinal([1, 2])
    assert [note.partition(":")[0] for note in read.notes] == ["net/scale", "seed"]


def test_read__choices_that_are_lists__come_back_as_they_were() -> None:
    read = read_space({"hidden": tune.choice([[64, 64], [128]])})
    assert read.space["hidden"] == Categorical(["[64, 64]", "[128]"])
    assert read.decode({"hidden": "[64, 64]"}) == {"hidden": [64, 64]}


def test_read__function__is_refused_by_path() -> None:
    with pytest.raises(SearchSpaceError, match=r"^net/width: tune\.sample_from"):
        read_space({"net": {"width": tune.sample_from(lambda: 3), "lr": tune.uniform(0, 1)}})
