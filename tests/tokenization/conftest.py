"""Random studies for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.tokenization.vocabulary import Vocabulary, default_vocabulary

_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        ["<failed> | *", "&lt;", "\u2581x", "learning_rate", "a  b_c", "漢字", "<0>", "16"]
    ),
)
_NAMES = _TEXT.filter(lambda name: bool(name.strip()))
_CHOICES = st.one_of(
    _TEXT,
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
_CHOICE_LISTS = st.lists(
    _CHOICES, min_size=1, max_size=5, unique_by=lambda c: (isinstance(c, bool), c)
)


@st.composite
def _parameters(draw: st.DrawFn, when: dict[str, list[Value]] | None) -> Parameter:
    description = draw(_TEXT)
    kind = draw(st.sampled_from(["float", "log", "step", "int", "log int", "cat", "ord"]))
    if kind in ("cat", "ord"):
        cls = Categorical if kind == "cat" else Ordinal
        return cls(draw(_CHOICE_LISTS), when, description)
    if kind == "float":
        low, width = draw(st.floats(-1e6, 1e6)), draw(st.floats(1e-3, 1e6))
        return Float(low, low + width, when=when, description=description)
    if kind == "log":
        low, ratio = draw(st.floats(1e-9, 1e3)), draw(st.floats(1.01, 1e9))
        return Float(low, low * ratio, log=True, when=when, description=description)
    if kind == "step":
        step, count = draw(st.floats(1e-3, 10.0)), draw(st.integers(1, 50))
        return Float(0.0, step * count, step=step, when=when, description=description)
    if kind == "log int":
        whole = draw(st.integers(1, 1000))
        high = whole + draw(st.integers(1, 10**6))
        return Int(whole, high, log=True, when=when, description=description)
    step_whole, count = draw(st.integers(1, 7)), draw(st.integers(1, 2000))
    whole = draw(st.integers(-1000, 1000))
    return Int(whole, whole + step_whole * count, step=step_whole, when=when)


@st.composite
def _spaces(draw: st.DrawFn) -> SearchSpace:
    parameters: dict[str, Parameter] = {}
    for name in draw(st.lists(_NAMES, min_size=1, max_size=5, unique=True)):
        when = None
        parents = [n for n, p in parameters.items() if isinstance(p, Categorical | Ordinal)]
        conditional: bool = draw(st.booleans())
        if parents and conditional:
            parent = draw(st.sampled_from(parents))
            choices: Any = parameters[parent]
            when = {parent: [draw(st.sampled_from(choices.choices))]}
        parameters[name] = draw(_parameters(when))
    return SearchSpace(parameters)


@st.composite
def _configs(draw: st.DrawFn) -> StudyConfig:
    space = draw(_spaces())
    weights = st.floats(-1e9, 1e9, allow_subnormal=False)
    weighted = st.dictionaries(_NAMES, weights, min_size=1, max_size=3).map(Weighted)
    metric: Any = draw(st.one_of(_NAMES, weighted))
    point = space.sample(np.random.default_rng(draw(st.integers(0, 2**32))))
    fixed = {name: value for name, value in point.items() if draw(st.integers(0, 3)) == 0}
    keys = st.one_of(_NAMES, st.sampled_from(["task", "dataset", "model"]))
    return StudyConfig(
        space=space,
        metric=metric,
        goal=draw(st.sampled_from(["maximize", "minimize"])),
        metadata=draw(st.dictionaries(keys, _TEXT, max_size=3)),
        fixed=fixed,
    )


@st.composite
def _studies(draw: st.DrawFn) -> tuple[StudyConfig, list[Trial]]:
    config = draw(_configs())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    trials = []
    for number, status in enumerate(draw(st.lists(st.sampled_from(TrialStatus), max_size=6))):
        trial = Trial(number, config.space.sample(rng))
        if status is TrialStatus.FAILED:
            trial = trial.fail("out of memory")
        elif status is not TrialStatus.PENDING:
            value = draw(st.floats(-1e6, 1e6))
            trial = trial.finish(value, stopped=status is TrialStatus.STOPPED)
        trials.append(trial)
    return config, trials


@pytest.fixture(scope="session")
def texts() -> st.SearchStrategy[str]:
    return _TEXT


@pytest.fixture(scope="session")
def spaces() -> st.SearchStrategy[SearchSpace]:
    return _spaces()


@pytest.fixture(scope="session")
def configs() -> st.SearchStrategy[StudyConfig]:
    return _configs()


@pytest.fixture(scope="session")
def studies() -> st.SearchStrategy[tuple[StudyConfig, list[Trial]]]:
    return _studies()


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return default_vocabulary()


@pytest.fixture(scope="session")
def small_config() -> StudyConfig:
    """The example of the documentation."""
    space = SearchSpace(
        learning_rate=Float(1e-6, 1e-1, log=True, description="Step size of the optimizer."),
        optimizer=Categorical(["sgd", "adam"]),
        momentum=Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
        layers=Int(1, 8),
    )
    return StudyConfig(
        space,
        metric="val_accuracy",
        goal="maximize",
        metadata={"owner": "me", "task": "image classification"},
    )


@pytest.fixture(scope="session")
def small_trials() -> list[Trial]:
    points: list[dict[str, Value]] = [
        {"learning_rate": 1e-3, "optimizer": "adam", "layers": 2},
        {"learning_rate": 1e-6, "optimizer": "sgd", "momentum": 0.99, "layers": 8},
        {"learning_rate": 1e-1, "optimizer": "adam", "layers": 1},
        {"learning_rate": 1e-2, "optimizer": "sgd", "layers": 1},
    ]
    trials = [Trial(number, point) for number, point in enumerate(points)]
    return [
        trials[0].finish(0.5),
        trials[1].fail("out of memory"),
        trials[2],
        trials[3].finish(0.75, stopped=True),
    ]
