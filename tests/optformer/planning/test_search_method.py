"""The language model as a search method: its registered names, seeds and pending trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optformer.data.methods import METHODS, SearchMethod
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint, save_checkpoint
from optformer.planning import search_method
from optformer.planning.search_method import MODEL_METHODS, model_search

STUDY = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), "loss", "minimize")


@dataclass(frozen=True)
class _Suggestion:
    params: dict[str, Any]
    explanation: None = None


class _FakePlanner:
    """Random points from the seed and the history, as the real planner draws from the model."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[Trial], int]] = []

    def suggest(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        count: int,
        *,
        seed: int,
        fixed: Mapping[str, Any] | None = None,
    ) -> list[_Suggestion]:
        self.calls.append((list(history), seed))
        rng = np.random.default_rng([seed, len(history)])
        return [_Suggestion(config.space.sample(rng)) for _ in range(count)]


_Loaded = dict[tuple[str, str, Path | None], _FakePlanner]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Loaded]:
    """Planners by strategy, batch mode and model that were loaded."""
    planners: _Loaded = {}

    def load_planner(
        model: Path | None = None, *, strategy: str = "ei", batch_mode: str = "mean"
    ) -> _FakePlanner:
        return planners.setdefault((strategy, batch_mode, model), _FakePlanner())

    monkeypatch.setattr(search_method, "load_planner", load_planner)
    search_method._planner.cache_clear()
    yield planners
    search_method._planner.cache_clear()


def _ask(method: SearchMethod, history: list[Trial], count: int) -> list[dict[str, Any]]:
    """Points that are pending in the history from now on."""
    points = method.suggest(history, count, np.random.default_rng(0))
    history += [Trial(len(history) + member, point) for member, point in enumerate(points)]
    return points


@pytest.mark.parametrize(
    ("name", "strategy", "batch_mode"),
    [
        ("optformer", "ei", "mean"),
        ("optformer-pi", "pi", "mean"),
        ("optformer-optimum", "optimum", "mean"),
        ("optformer-placeholder", "ei", "placeholder"),
        ("optformer-sample", "ei", "sample"),
        ("optformer-ts", "ts", "mean"),
        ("optformer-ucb", "ucb", "mean"),
    ],
)
def test_registered__any_variant__plans_on_the_whole_history(
    loaded: _Loaded, name: str, strategy: str, batch_mode: str
) -> None:
    history = [Trial(0, {"x": 0.5}).finish(1.0), Trial(1, {"x": 0.6}).fail("broken")]
    METHODS[name](STUDY).suggest(history, 1, np.random.default_rng(0))
    ((at, planner),) = loaded.items()
    assert at == (strategy, batch_mode, None)
    assert planner.calls[0][0] == history


def test_model_search__seed__is_that_of_every_suggestion(loaded: _Loaded) -> None:
    method, history = model_search(STUDY, Path("some-model"), seed=11), []
    for _ in range(3):
        _ask(method, history, 1)
    planner = loaded["ei", "mean", Path("some-model")]
    assert [seed for _, seed in planner.calls] == [11, 11, 11]


def test_model_search__no_seed__draws_one_a_suggestion(loaded: _Loaded) -> None:
    method, rng = model_search(STUDY), np.random.default_rng(5)
    method.suggest([], 1, rng)
    method.suggest([], 1, rng)
    (planner,) = loaded.values()
    again = np.random.default_rng(5)
    assert [seed for _, seed in planner.calls] == [again.integers(2**31) for _ in range(2)]


def test_model_search__batch__is_planned_in_one_call(loaded: _Loaded) -> None:
    method, history = model_search(STUDY, seed=11), []
    for _ in range(2):
        _ask(method, history, 2)
    (planner,) = loaded.values()
    assert [len(seen) for seen, _ in planner.calls] == [0, 2]
    assert [trial.status.value for trial in planner.calls[-1][0]] == ["pending"] * 2


def test_optformer_ignore__batch__never_sees_pending_trials(loaded: _Loaded) -> None:
    method, history = MODEL_METHODS["optformer-ignore"](STUDY, seed=11), []
    points = [*_ask(method, history, 2), *_ask(method, history, 1)]
    (planner,) = loaded.values()
    assert planner.calls == [([], 11), ([], 12), ([], 13)]
    assert len({str(point) for point in points}) == 3
    settled = [trial.finish(1.0) for trial in history]
    alone = method.suggest(settled, 1, np.random.default_rng(0))
    assert alone == model_search(STUDY, seed=11).suggest(settled, 1, np.random.default_rng(0))


def test_model_search__checkpoint_of_ones_own__gives_legal_points_that_follow_the_generator(
    tmp_path: Path,
    tiny_checkpoint: Checkpoint,
    mixed_config: StudyConfig,
    mixed_trials: list[Trial],
) -> None:
    save_checkpoint(tmp_path, tiny_checkpoint.model, tiny_checkpoint.vocabulary, {})
    method = model_search(mixed_config, tmp_path)
    first, again, other = (
        method.suggest(mixed_trials, 2, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert first == again != other
    for point in first:
        assert mixed_config.space.validate(point) == point
        assert point["layers"] == 3
