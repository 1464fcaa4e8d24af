"""Families of live models: nothing reserved, repeatable, and searchable everywhere."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

from optformer.data.objectives.sklearn_benchmark_families import BENCHMARK_FAMILIES
from optformer.data.objectives.sklearn_datasets import DATASETS, splits
from optformer.data.objectives.sklearn_families import (
    FAMILIES,
    NAMES,
    find_pair,
    generated_names,
    sklearn_objective,
)
from optformer.data.objectives.sklearn_tasks import (
    RESERVED_DATASETS,
    RESERVED_FAMILIES,
    dev_tasks,
)
from optformer.data.studies.errors import ConfigError, ObjectiveError

QUICK = ["decision-tree-impedance", "sgd-wine", "gaussian-process-low-rank"]


def test_names__of_the_suite__cover_every_family_and_data_set() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 20
    used = {sklearn_objective(name).config.metadata["dataset"] for name in NAMES}
    assert used == {data.text for data in DATASETS.values()}
    assert len(DATASETS) >= 4
    assert len(BENCHMARK_FAMILIES) >= 6
    assert all(any(name.startswith(family) for name in NAMES) for family in BENCHMARK_FAMILIES)


@pytest.mark.parametrize("name", NAMES)
def test_objective__each__uses_nothing_reserved_and_is_described(name: str) -> None:
    objective = sklearn_objective(name)
    metadata = objective.config.metadata
    assert not objective.reserved
    assert not any(word in metadata["dataset"] for word in RESERVED_DATASETS)
    assert not any(family in metadata["model"] for family in RESERVED_FAMILIES)
    assert {"task", "dataset", "dataset size", "model"} == metadata.keys()
    assert 5 <= len(objective.config.space) <= 8
    assert all(parameter.description for parameter in objective.config.space.values())


def test_spaces__of_the_families__are_often_conditional() -> None:
    conditional = [
        name for name in NAMES if any(p.when for p in sklearn_objective(name).config.space.values())
    ]
    assert len(NAMES) / 2 < len(conditional) < len(NAMES)


@pytest.mark.parametrize("name", QUICK)
def test_objective__evaluated_twice__repeats_exactly_without_a_warning(name: str) -> None:
    objective = sklearn_objective(name)
    rng = np.random.default_rng(0)
    points = [objective.config.space.sample(rng) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = [objective(point) for point in points]
        second = [pickle.loads(pickle.dumps(objective))(point) for point in points]
    assert first == second
    assert len(set(first)) > 1


def test_generated_names__more_data_sets__more_than_three_hundred_objectives() -> None:
    names = generated_names(10)
    assert len(set(names)) == len(names) >= 300
    assert set(generated_names(2)) < set(names)
    for name in names:
        found = find_pair(name)
        assert found is not None
        assert "-".join(found) == name


@pytest.mark.parametrize("family", FAMILIES)
def test_family__whatever_it_is__is_not_one_of_the_development_suite(family: str) -> None:
    dev = {task.config.metadata["model"] for task in dev_tasks()} - {"support vector machine"}
    assert FAMILIES[family].model not in dev
    words = ("support vector", "histogram", "kernel ridge", "elastic net", "extremely", "huber")
    assert not any(word in FAMILIES[family].model.lower() for word in words)
    for space in FAMILIES[family].spaces.values():
        assert 4 <= len(space) <= 10
        assert all(parameter.description for parameter in space.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_family__every_choice_of_its_space__can_be_built_and_trained(family: str) -> None:
    smallest = {"classification": "iris", "regression": "phase"}
    for kind, space in FAMILIES[family].spaces.items():
        objective = sklearn_objective(f"{family}-{smallest[kind]}")
        rng = np.random.default_rng(0)
        lists = {name: p.choices for name, p in space.items() if hasattr(p, "choices")}
        rounds = max((len(choices) for choices in lists.values()), default=3)
        finite = 0
        for i in range(rounds):
            chosen = {name: choices[i % len(choices)] for name, choices in lists.items()}
            try:
                finite += np.isfinite(objective(space.repair({**space.sample(rng), **chosen}, rng)))
            except ObjectiveError:  # a diverged fit is a result
                continue
        assert finite > rounds / 2


@pytest.mark.parametrize("name", DATASETS)
def test_splits__every_data_set__fit_their_description(name: str) -> None:
    data, parts = DATASETS[name], splits(name)
    words = data.size.replace(",", "").split()
    examples = len(parts[0].train_targets)
    if data.holdout is None:
        examples += len(parts[0].test_targets)
    assert int(words[0]) == examples
    assert int(words[words.index("features") - 1]) == parts[0].train_inputs.shape[1]
    if data.kind == "classification":
        assert int(words[words.index("classes") - 1]) == len(set(parts[0].train_targets))


@pytest.mark.parametrize(
    "name",
    [
        "sgd-phase",
        "splines-iris",
        "svm-wine",
        "sgd-regression-0",
        "sgd-classification-07",
        "sgd-classification--1",
        "svm-classification-0",
        "classification-0",
    ],
)
def test_objective__impossible_pair__lists_the_known(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}'.*'sgd-wine'"):
        sklearn_objective(name)


def test_families__imported__load_scikit_learn_only_when_called() -> None:
    code = (
        "import sys\n"
        "from optformer.data.objectives.sklearn_families import NAMES, sklearn_objective\n"
        "[sklearn_objective(name) for name in NAMES]\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
