from __future__ import annotations

import numpy as np
import pytest

from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.training.evaluation.metadata_ablation import VARIANTS, ablate_metadata

SPACE = SearchSpace(
    kind=Categorical(["tree", "line"], description="what is fitted"),
    depth=Float(0.0, 1.0, when={"kind": ["tree"]}, description="how deep it grows"),
    rate=Float(1e-3, 1.0, log=True),
)
CONFIG = StudyConfig(SPACE, "error", "maximize", {"task": "regression"})


@pytest.mark.parametrize("name", VARIANTS)
def test_ablate_metadata__any_variant__is_undone_by_original(name: str) -> None:
    variant = ablate_metadata(CONFIG, "minimize", name, np.random.default_rng(1))
    params = {"kind": "tree", "depth": 0.5, "rate": 0.1}
    (trial,) = variant.trials([Trial(0, params).finish(0.25)])

    assert variant.config.space.validate(trial.params) == trial.params
    assert variant.original(trial.params) == params
    assert trial.value == -0.25  # the variant minimizes
    assert variant.config.goal == "minimize"


def test_ablate_metadata__all__changes_the_goal_alone() -> None:
    variant = ablate_metadata(CONFIG, "minimize", "all", np.random.default_rng(1))
    assert (variant.config.space, variant.config.metadata) == (SPACE, CONFIG.metadata)


def test_ablate_metadata__less__leaves_out_metadata_or_names() -> None:
    rng = np.random.default_rng(1)
    assert ablate_metadata(CONFIG, "minimize", "no metadata", rng).config.metadata == {}
    assert ablate_metadata(CONFIG, "minimize", "no names", rng).config.space.names == (
        "x0",
        "x1",
        "x2",
    )


def test_ablate_metadata__permuted__keeps_conditions_and_drops_what_would_tell() -> None:
    variant = ablate_metadata(CONFIG, "minimize", "permuted names", np.random.default_rng(1))
    names, space = variant.names, variant.config.space
    assert sorted(names) == sorted(names.values())
    assert all(old != new for old, new in names.items())
    assert space[names["depth"]].when == {names["kind"]: ("tree",)}
    for new in names.values():
        assert space[new].description == ""
