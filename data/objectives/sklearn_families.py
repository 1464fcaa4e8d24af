"""Families of scikit-learn models and small networks, with the spaces an engineer would search.

Any family trains on any data set of its kind: one of `DATASETS`, or a generated one by its seed.
`NAMES` is the benchmark's selection. Neither a reserved family nor a reserved data set of
`sklearn_tasks` is among them, nor any other model of the development suite.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from optformer.data.objectives.base import Objective
from optformer.data.objectives.fitting import mean_score
from optformer.data.objectives.network_families import NETWORK_FAMILIES
from optformer.data.objectives.sklearn_benchmark_families import BENCHMARK_FAMILIES
from optformer.data.objectives.sklearn_datasets import DATASETS, dataset, splits
from optformer.data.objectives.sklearn_ensemble_families import ENSEMBLE_FAMILIES
from optformer.data.objectives.sklearn_family import Family
from optformer.data.objectives.sklearn_generated import KINDS, is_generated
from optformer.data.objectives.sklearn_linear_families import LINEAR_FAMILIES
from optformer.data.objectives.sklearn_local_families import LOCAL_FAMILIES
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig

FAMILIES: dict[str, Family] = {
    **BENCHMARK_FAMILIES,
    **ENSEMBLE_FAMILIES,
    **LINEAR_FAMILIES,
    **LOCAL_FAMILIES,
    **NETWORK_FAMILIES,
}
"""The families by name."""

NAMES = tuple(f"{name}-{data}" for name, family in FAMILIES.items() for data in family.datasets)
"""The benchmark's suite: every one of its families on two or three data sets."""

PAIRS = {
    f"{family}-{data}": (family, data)
    for family in FAMILIES
    for data in DATASETS
    if DATASETS[data].kind in FAMILIES[family].spaces
}
"""Every objective on one of `DATASETS`: family and data set."""


def generated_names(count: int) -> list[str]:
    """The objectives on the first `count` generated data sets of each kind."""
    return [
        f"{family}-{kind}-{seed}"
        for family in FAMILIES
        for kind in KINDS
        if kind in FAMILIES[family].spaces
        for seed in range(count)
    ]


def find_pair(name: str) -> tuple[str, str] | None:
    """Family and data set of an objective's name, None where there is no such objective."""
    if name in PAIRS:
        return PAIRS[name]
    family, _, seed = name.rpartition("-")
    family, _, kind = family.rpartition("-")
    data = f"{kind}-{seed}"
    if is_generated(data) and family in FAMILIES and kind in FAMILIES[family].spaces:
        return family, data
    return None


def sklearn_objective(name: str) -> Objective:
    """Tune one family on one data set, 1 to 300 ms an evaluation on one core.

    A network takes longer where each of several folds trains one, up to a second.

    Args:
        name: `<family>-<data set>`, such as `random-forest-wine` or
            `random-forest-classification-7`: one of `FAMILIES` and a data set of a kind the family
            handles.

    Raises:
        ConfigError: There is no such pair.
    """
    pair = find_pair(name)
    if pair is None:
        raise ConfigError(
            f"unknown live task {name!r}; known are {sorted(PAIRS)}, and <family>-<kind>-<seed> "
            "on generated data, such as 'random-forest-classification-7'"
        )
    family, data = pair[0], dataset(pair[1])
    config = StudyConfig(
        space=FAMILIES[family].spaces[data.kind],
        metric=data.metric,
        goal=data.goal,
        metadata={**data.metadata, "model": FAMILIES[family].model},
    )
    return Objective(name, config, partial(_evaluate, *pair), reserved=False)


def _evaluate(family: str, data: str, params: Mapping[str, Value]) -> float:
    kind, score = dataset(data).kind, dataset(data).score
    return mean_score(lambda: FAMILIES[family].build(kind, params), splits(data), score)
