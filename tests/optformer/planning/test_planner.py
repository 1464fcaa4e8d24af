from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import optformer.planning.state as state_module
from optformer.data.studies.errors import (
    CheckpointError,
    ConfigError,
    SearchSpaceError,
    SpaceExhaustedError,
    StudyError,
)
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import INTERRUPTED, Trial, TrialStatus
from optformer.model.checkpoint import Checkpoint, save_checkpoint
from optformer.model.network import OptFormerModel
from optformer.planning.acquisition import ACQUISITIONS, STRATEGIES
from optformer.planning.candidates import Candidates, from_space
from optformer.planning.distribution import BinnedDistribution
from optformer.planning.planner import ALGORITHM, Planner, Suggestion, load_planner
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.state import PlannerState, PredictedCandidates
from optformer.planning.study_encoder import EncodedStudy, StudyEncoder
from optformer.tokenization import symbols as sym
from optformer.tokenization.history import encode_points

SPACES: dict[str, SearchSpace] = {
    "one float": SearchSpace(x=Float(-5, 5)),
    "one choice": SearchSpace(c=Categorical([f"c{i}" for i in range(40)])),
    "conditional": SearchSpace(
        lr=Float(1e-6, 1e-1, log=True),
        optimizer=Categorical(["sgd", "adam"]),
        momentum=Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
        nesterov=Categorical([True, False], when={"optimizer": ["sgd"]}),
    ),
    "nested by an ordinal": SearchSpace(
        depth=Ordinal([1, 2, 4, 8]),
        width=Int(1, 2000, log=True, when={"depth": [2, 4]}),
        kind=Categorical(["a", "b"], when={"depth": [8]}),
        rate=Float(0, 1, when={"kind": ["b"]}),
    ),
    "stepped": SearchSpace(x=Float(0.1, 0.85, step=0.05), n=Int(-7, 14, step=3), y=Float(0, 1)),
    "whole numbers": SearchSpace(n=Int(1, 10**6, log=True), m=Int(0, 10**7), k=Int(1, 3)),
    "finite": SearchSpace(c=Categorical(["x", None, 3, 2.5, True]), o=Ordinal([8, 16, 32, 64])),
    "single values": SearchSpace(
        only=Categorical(["one"]), just=Ordinal([7]), x=Float(0, 1), n=Int(0, 1)
    ),
    "twenty": SearchSpace(
        {
            **{f"x{i}": Float(0, 1) for i in range(14)},
            **{f"c{i}": Categorical(["p", "q", "r"]) for i in range(4)},
            **{f"n{i}": Int(1, 9) for i in range(2)},
        }
    ),
}


def _config(name: str = "conditional", **changes: Any) -> StudyConfig:
    return StudyConfig(SPACES[name], "score", **{"goal": "maximize", **changes})


def _history(
    config: StudyConfig, count: int = 8, seed: int = 0, pending: int = 1, failed: int = 1
) -> list[Trial]:
    """Different random trials; the last ones failed and pending. Numbers start at 10."""
    rng = np.random.default_rng(seed)
    points: dict[str, dict[str, Value]] = {}
    for _ in range(20 * count):
        point = config.space.sample(rng, config.fixed)
        points.setdefault(repr(point), point)
    trials = [Trial(10 + i, point) for i, point in enumerate(list(points.values())[:count])]
    measured = len(trials) - pending - failed
    values = rng.standard_normal(len(trials))
    for i, value in enumerate(values.tolist()):
        if i < measured:
            trials[i] = trials[i].finish(value)
        elif i < measured + failed:
            trials[i] = trials[i].fail("nan")
    return trials


@pytest.fixture(scope="module")
def planner(tiny_checkpoint: Checkpoint) -> Planner:
    return Planner(tiny_checkpoint)


def _check(config: StudyConfig, suggestions: list[Suggestion]) -> None:
    for suggestion in suggestions:
        assert config.space.validate(suggestion.params) == suggestion.params
        for value in suggestion.params.values():
            assert type(value) in (int, float, str, bool, type(None))
        for name, value in config.fixed.items():
            if name in suggestion.params:
                assert suggestion.params[name] == value


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", SPACES)
def test_suggest__every_space_and_strategy__gives_legal_new_points(
    tiny_checkpoint: Checkpoint, name: str, strategy: str
) -> None:
    config = _config(name)
    history = _history(config)
    suggestions = Planner(tiny_checkpoint, strategy=strategy).suggest(config, history, 2, seed=3)
    assert len(suggestions) == 2
    _check(config, suggestions)
    points = [t.params for t in history] + [s.params for s in suggestions]
    assert len({repr(p) for p in points}) == len(points)
    sources = {s.explanation.source for s in suggestions if s.explanation}
    allowed = {"space", "mutation", "axis", "local", "optimum"}
    assert sources <= ({"optimum", "space"} if strategy == "optimum" else allowed)


@pytest.mark.parametrize("name", ["conditional", "finite", "one float"])
@pytest.mark.parametrize("measured", [0, 1])
def test_suggest__little_measured__ranks_distinct_points(
    planner: Planner, name: str, measured: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlannerState, "trust", 0.0)
    config = _config(name)
    history = _history(config, 1, pending=0, failed=0)[:measured]
    suggestions = planner.suggest(config, history, 8, seed=1)
    _check(config, suggestions)
    assert len({repr(s.params) for s in suggestions}) == 8
    predictions = [s.explanation.prediction for s in suggestions]
    assert all((prediction is not None) == bool(measured) for prediction in predictions)
    starts = [s.explanation.source == "start" for s in suggestions]
    assert starts == [False] + [not measured] * 7


@pytest.mark.parametrize("name", ["conditional", "one float"])
def test_suggest__metadata_tell_a_lot__starts_with_a_portfolio(
    planner: Planner, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlannerState, "trust", 1.0)
    config = _config(name)
    batch = planner.suggest(config, [], 3, seed=1)
    _check(config, batch)
    assert [s.explanation.source for s in batch] == ["optimum"] * 3
    assert len({repr(s.params) for s in batch}) == 3
    history: list[Trial] = []
    for value in (0.3, 0.1, 0.2):  # one by one, whatever was measured
        (found,) = planner.suggest(config, history, 1, seed=1)
        assert found.params == batch[len(history)].params
        history.append(Trial(len(history), found.params).finish(value))


@pytest.mark.parametrize("name", ["conditional", "finite"])
def test_suggest__same_arguments__same_suggestion(planner: Planner, name: str) -> None:
    config, other = _config(name), _history(_config(name), seed=5)
    history = _history(config)
    first = planner.suggest(config, history, 3, seed=7)
    planner.suggest(config, other, 2, seed=8)
    assert planner.suggest(config, history, 3, seed=7) == first
    if name == "conditional":
        assert planner.suggest(config, history, 3, seed=8) != first


def test_suggest__batch__begins_with_what_one_alone_would_be(planner: Planner) -> None:
    config = _config()
    history = _history(config)
    assert planner.suggest(config, history, 3, seed=7)[:1] == planner.suggest(
        config, history, 1, seed=7
    )


def test_suggest__history__is_not_changed(planner: Planner) -> None:
    config = _config()
    history = _history(config)
    before = list(history)
    planner.suggest(config, history, 2, seed=7)
    assert history == before


_SCRIPT = """
import json, sys
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.planning.planner import load_planner

asked = json.load(sys.stdin)
config = StudyConfig.from_dict(asked["config"])
history = [Trial(n, p).finish(v) for n, p, v in asked["trials"]]
found = load_planner(asked["model"]).suggest(config, history, 2, seed=5)
print(json.dumps([s.params for s in found]))
"""


def test_suggest__fresh_process__same_suggestions(
    tmp_path: Path, tiny_checkpoint: Checkpoint
) -> None:
    directory = tmp_path / "tiny"
    save_checkpoint(directory, tiny_checkpoint.model, tiny_checkpoint.vocabulary, {"steps": 1})
    config = _config()
    history = _history(config, 5, pending=0, failed=0)
    asked = {
        "config": config.to_dict(),
        "trials": [(t.number, t.params, t.value) for t in history],
        "model": str(directory),
    }
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    here = load_planner(directory).suggest(config, history, 2, seed=5)
    assert json.loads(done.stdout) == [s.params for s in here]


@pytest.mark.parametrize("strategy", ["ei", "pi", "ucb"])
def test_suggest__ranking_strategy__finds_a_better_score_than_random_points(
    tiny_checkpoint: Checkpoint, strategy: str
) -> None:
    config = _config()
    history = _history(config)
    planner = Planner(tiny_checkpoint, strategy=strategy)
    state = planner._state(config, history, {}, torch.Generator())
    study = state.ranking
    rng = np.random.default_rng(0)
    better = 0
    for seed in range(5):
        (found,) = planner.suggest(config, history, 1, seed=seed)
        points = [found.params, *(config.space.sample(rng) for _ in range(60))]
        with torch.no_grad():
            prediction = study.predict(encode_points(config.space, points))
            score = ACQUISITIONS[strategy].score(prediction, study.best, torch.Generator())
        values = state.space.encode(points)
        candidates = Candidates(values, np.full(len(values), "any"))
        score += state.preference(candidates, 0.0) + state.optimum_prior(candidates)
        better += int((score > score[0]).sum())
    assert better <= 0.05 * 5 * 60  # few: random weights make a rugged function


@pytest.mark.parametrize("strategy", ["ei", "ts", "optimum"])
def test_suggest__finite_space__never_repeats_and_says_when_it_is_exhausted(
    tiny_checkpoint: Checkpoint, strategy: str
) -> None:
    space = SearchSpace(
        c=Categorical(["a", "b"]),
        n=Int(1, 3, when={"c": ["a"]}),
        o=Ordinal([1, 2], when={"n": [2, 3]}),
    )
    config = StudyConfig(space, "score", "minimize")
    planner = Planner(tiny_checkpoint, strategy=strategy)
    history: list[Trial] = []
    seen: set[str] = set()
    while len(seen) < 6:
        for suggestion in planner.suggest(config, history, 2, seed=1):
            _check(config, [suggestion])
            assert repr(suggestion.params) not in seen
            seen.add(repr(suggestion.params))
            trial = Trial(len(history), suggestion.params)
            done = trial.fail("nan") if len(history) == 1 else trial.finish(float(len(history)))
            history.append(trial if len(history) == 4 else done)
    assert seen == {repr(point) for point in space.grid()}
    with pytest.raises(SpaceExhaustedError, match="all 6 points of this space have been tried"):
        planner.suggest(config, history, 1, seed=1)
    with pytest.raises(SpaceExhaustedError, match="2 points were asked for and 1 of this space"):
        planner.suggest(config, history[:-1], 2, seed=1)
    assert planner.predict(config, history, [{"c": "b"}])


def test_suggest__many_levels__never_repeat(planner: Planner) -> None:
    space = SearchSpace(n=Int(0, 118))
    config = StudyConfig(space, "score", "maximize")
    history = [Trial(i, {"n": i}).finish(i / 7) for i in range(118)]
    assert planner.suggest(config, history, 1, seed=0)[0].params == {"n": 118}
    history.append(Trial(118, {"n": 118}))
    with pytest.raises(SpaceExhaustedError):
        planner.suggest(config, history, 1, seed=0)


def test_suggest__larger_finite_space__finds_what_is_left(planner: Planner) -> None:
    """3,000 points are searched by sampling; when that repeats, they are listed."""
    space = SearchSpace(n=Int(0, 2999))
    config = StudyConfig(space, "score", "maximize")
    left = {17, 2222}
    history = [Trial(i, {"n": i}).finish(i % 11 / 7) for i in range(3000) if i not in left]
    found = planner.suggest(config, history, 2, seed=0)
    assert {s.params["n"] for s in found} == left


@pytest.mark.parametrize("strategy", ["ei", "optimum"])
@pytest.mark.parametrize("measured", [0, 6])
def test_suggest__fixed_values__hold_for_study_and_call(
    tiny_checkpoint: Checkpoint, strategy: str, measured: int
) -> None:
    config = _config(fixed={"lr": 1e-3})
    history = _history(config, measured, pending=0, failed=0)
    planner = Planner(tiny_checkpoint, strategy=strategy)
    found = planner.suggest(config, history, 3, seed=2, fixed={"optimizer": "sgd"})
    _check(config, found)
    assert [s.params["lr"] for s in found] == [1e-3] * 3
    assert [s.params["optimizer"] for s in found] == ["sgd"] * 3
    assert len({s.params["momentum"] for s in found}) == 3


def test_suggest__everything_fixed__gives_that_point_once(planner: Planner) -> None:
    config = _config("one float")
    history = _history(config)
    (found,) = planner.suggest(config, history, 1, seed=2, fixed={"x": 0.1})
    assert found.params == {"x": 0.1}
    history.append(Trial(99, found.params))
    with pytest.raises(SpaceExhaustedError, match="the one point of this space"):
        planner.suggest(config, history, 1, seed=2, fixed={"x": 0.1})


@pytest.mark.parametrize("fixed", [{"nope": 1}, {"lr": 7.0}, {"optimizer": "rmsprop"}])
def test_suggest__impossible_fixed_value__is_named(
    planner: Planner, fixed: dict[str, Value]
) -> None:
    with pytest.raises(SearchSpaceError, match=next(iter(fixed))):
        planner.suggest(_config(), [], 1, seed=0, fixed=fixed)


@pytest.mark.parametrize("name", ["conditional", "finite"])
@pytest.mark.parametrize("mode", ["placeholder", "mean", "sample"])
def test_suggest__batch_of_four__members_differ_and_know_of_each_other(
    tiny_checkpoint: Checkpoint, name: str, mode: Any
) -> None:
    config = _config(name)
    history = _history(config)
    planner = Planner(tiny_checkpoint, batch_mode=mode)
    found = planner.suggest(config, history, 4, seed=3)
    _check(config, found)
    assert len({repr(s.params) for s in found}) == 4
    assert planner.suggest(config, history, 4, seed=3) == found
    # A later member's prediction is made with the values assumed of the earlier ones, if any.
    later = found[3].explanation
    assert later is not None
    assert later.prediction is not None
    settled = [trial for trial in history if trial.status is not TrialStatus.PENDING]
    (alone,) = planner.predict(config, settled, [found[3].params])
    as_alone = later.prediction.mean == pytest.approx(alone.mean, rel=1e-5)
    assert as_alone == (mode == "placeholder")


@pytest.mark.parametrize("mode", ["placeholder", "mean", "sample"])
def test_state__pending_trials__are_told_the_way_of_the_batch_mode(
    tiny_checkpoint: Checkpoint, mode: Any
) -> None:
    config = _config("one float")
    history = _history(config, pending=2)
    planner = Planner(tiny_checkpoint, batch_mode=mode)
    state = planner._state(config, history, {}, torch.Generator().manual_seed(0))
    probe = state.space.points(np.array([[0.3]]))
    settled = StudyEncoder(tiny_checkpoint, config, ALGORITHM).encode(history[:-2])
    waiting = settled
    for trial in history[-2:]:
        waiting = waiting.condition_on(state.space.points(state.space.encode([trial.params])), None)

    def same(first: EncodedStudy, second: EncodedStudy) -> bool:
        return torch.allclose(first.predict(probe).logits, second.predict(probe).logits, atol=1e-5)

    assert [t.params for t in state.history] == [pytest.approx(t.params) for t in history]
    if mode == "placeholder":
        assert same(state.policy, waiting)
        assert same(state.ranking, settled)
        assert state.avoided is not None
        assert len(state.avoided.candidates) == 2
    else:
        assert state.ranking is state.policy
        assert not same(state.policy, waiting)
        assert not same(state.policy, settled)
        assert state.avoided is None


def test_suggest__placeholders__keep_a_ranking_away_from_pending_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = _config("one float")
    history = [Trial(i, {"x": x}).finish(-((x - 1) ** 2)) for i, x in enumerate((-4.0, -1.0, 3.5))]
    planner = load_planner(batch_mode="placeholder")  # a trained one, for a slope that tells
    found = planner.suggest(config, history, 4, seed=3)
    monkeypatch.setattr(state_module, "local_penalty", lambda *_: 0.0)
    unaware = planner.suggest(config, history, 4, seed=3)

    def closest(suggestions: list[Suggestion]) -> float:
        space = SpaceTransform(config.space, {})
        values = space.encode([s.params for s in suggestions])
        gaps = space.distances(values, values)
        return float(gaps[~np.eye(len(values), dtype=bool)].min())

    assert closest(found) > 2 * closest(unaware)


@pytest.mark.parametrize(("count", "failed", "predicted"), [(8, 0, 240), (30, 0, 56), (30, 1, 208)])
def test_suggest__many_trials_none_failed__predicts_prescreened_candidates(
    planner: Planner, monkeypatch: pytest.MonkeyPatch, count: int, failed: int, predicted: int
) -> None:
    config = _config("one float")
    counts = []
    predict = PlannerState.predict

    def counting(self: PlannerState, candidates: Candidates) -> PredictedCandidates:
        counts.append(len(candidates))
        return predict(self, candidates)

    monkeypatch.setattr(PlannerState, "predict", counting)
    planner.suggest(config, _history(config, count, pending=0, failed=failed), 1, seed=0)
    assert len(counts) == 2
    assert 0.75 * predicted <= sum(counts) <= predicted  # repeats are left out


@pytest.mark.parametrize("strategy", ACQUISITIONS)
def test_prescreen__many_candidates__keeps_those_the_processes_rank_highest(
    planner: Planner, strategy: str
) -> None:
    config = _config("conditional")
    history = _history(config, 30, pending=0, failed=0)
    state = planner._state(config, history, {}, torch.Generator())
    pool = from_space(state.space, 128, np.random.default_rng(0))
    acquisition, generator = ACQUISITIONS[strategy], torch.Generator()
    kept = state.prescreen(pool, 16, acquisition, generator.manual_seed(0))
    prediction = state.ranking.predict_by_gp(state.space.points(pool.values))
    score = acquisition.score(prediction, state.best, generator.manual_seed(0))
    score = score + state.preference(pool, 0.0)
    found = {row.tobytes() for row in kept.values}
    top = score.sort(descending=True).indices[:16]
    assert found == {row.tobytes() for row in pool.values[top.numpy()]}
    few = state.prescreen(kept, 100, acquisition, generator)
    np.testing.assert_array_equal(few.values, kept.values)


def test_suggest__first_trials_of_unknown_ranges__are_not_at_the_ends() -> None:
    config = StudyConfig(SearchSpace({f"x{i}": Float(0, 1) for i in range(4)}), "y", "maximize")
    planner = load_planner()
    places = []
    for seed in range(8):
        history: list[Trial] = []
        for number in range(3):
            (found,) = planner.suggest(config, history, 1, seed=seed)
            places += [float(value) for value in found.params.values()]  # type: ignore[arg-type]
            history.append(Trial(number, found.params).finish(float(number % 2)))
    ends = np.mean(np.abs(np.array(places) - 0.5) > 0.4)
    assert ends < 0.1  # a fifth of random places are


@pytest.mark.parametrize("mode", ["mean", "sample", "placeholder"])
def test_suggest__batches_before_any_value__are_made(mode: Any) -> None:
    config = StudyConfig(SearchSpace(x=Float(-5, 5), y=Float(-5, 5)), "y", "minimize")
    planner = load_planner(batch_mode=mode)
    for seed in range(6):
        found = planner.suggest(config, [], 8, seed=seed)
        assert len({repr(s.params) for s in found}) == 8


def test_assume__batch_modes__are_the_predicted_mean_or_a_sample(
    tiny_checkpoint: Checkpoint,
) -> None:
    config = _config("one float")
    space = SpaceTransform(config.space, {})
    study = StudyEncoder(tiny_checkpoint, config).encode(_history(config))
    prediction = study.predict(space.points(np.array([[0.3]])))
    probabilities = prediction.double().probabilities[0]
    centers = (torch.arange(len(probabilities)).double() + 0.5) / len(probabilities)
    mean = float(probabilities @ centers)
    generator = torch.Generator().manual_seed(0)

    def assumed(mode: Any) -> float | None:
        planner = Planner(tiny_checkpoint, batch_mode=mode)
        ys = planner._assume(prediction, generator)
        return None if ys is None else ys[0]

    assert assumed("placeholder") is None
    assert assumed("mean") == pytest.approx(mean, abs=1e-5)
    draws = torch.tensor([assumed("sample") for _ in range(200)])
    deviation = (float(probabilities @ centers.square()) - mean**2) ** 0.5
    assert float(draws.mean()) == pytest.approx(mean, abs=5 * deviation / 200**0.5)
    assert len(set(draws.tolist())) > 50


@pytest.mark.parametrize("failed", [0, 1])
def test_suggest__a_trial_has_failed__candidates_that_may_fail_are_kept_away_from(
    planner: Planner, monkeypatch: pytest.MonkeyPatch, failed: int
) -> None:
    penalized: list[int] = []

    def all_but_the_last(prediction: BinnedDistribution) -> Tensor:
        count = len(prediction.logits)
        penalized.append(count)
        return torch.where(torch.arange(count) == count - 1, 0.0, -1e6)

    monkeypatch.setattr(state_module, "failure_penalty", all_but_the_last)
    config = _config("one float")
    (found,) = planner.suggest(config, _history(config, 8, failed=failed), 1, seed=0)
    assert bool(penalized) == bool(failed)
    assert found.explanation.source == "local" or not failed


def _of_values(config: StudyConfig, values: list[float]) -> list[Trial]:
    trials = _history(config, len(values), pending=0, failed=0)
    return [Trial(t.number, t.params).finish(v) for t, v in zip(trials, values, strict=True)]


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
@pytest.mark.parametrize(
    ("values", "explored"),
    [
        ([1.0] + [2.0] * 25, 24 / 32),
        ([1.0, 1.5] * 12 + [2.0, 2.0], 1 / 9),
        ([1.0, 1.5] * 12 + [2.0], 0.0),
        ([2.0] * 25, 0.0),
    ],
    ids=["plateau", "one tie", "no tie", "all equal"],
)
def test_suggest__trials_only_equal_the_best__escapes_as_often_as_that_says(
    planner: Planner,
    monkeypatch: pytest.MonkeyPatch,
    goal: Any,
    values: list[float],
    explored: float,
) -> None:
    config = _config("one float", goal=goal)
    history = _of_values(config, [v if goal == "maximize" else -v for v in values])
    calls: list[PredictedCandidates] = []

    def counted(self: Planner, *args: Any) -> PredictedCandidates:
        calls.append(escape(self, *args))
        return calls[-1]

    escape = Planner._escape_plateau
    monkeypatch.setattr(Planner, "_escape_plateau", counted)
    found = [s for seed in range(4) for s in planner.suggest(config, history, 16, seed=seed)]
    assert len(calls) / len(found) == pytest.approx(explored, abs=0.1 if explored else 0.0)
    assert {str(c.candidates.source[0]) for c in calls} <= {"space"}
    assert len({repr(s.params) for s in found[:16]}) == 16


def test_ties__same_point_measured_again__is_no_tie(planner: Planner) -> None:
    config = _config("one float")
    first, second, third = _of_values(config, [1.0, 2.0, 2.0])
    again = Trial(third.number, second.params).finish(2.0)

    def ties(history: list[Trial]) -> int:
        generator = torch.Generator().manual_seed(0)
        return planner._state(config, history, {}, generator).ties

    assert ties([first, second, third]) == 1
    assert ties([first, second, again]) == 0


@pytest.mark.parametrize(
    ("pending", "failed"), [(0, 8), (8, 0), (4, 4)], ids=["failed", "pending", "both"]
)
def test_suggest__nothing_measured__goes_on(planner: Planner, pending: int, failed: int) -> None:
    config = _config()
    history = _history(config, 8, pending=pending, failed=failed)
    found = planner.suggest(config, history, 2, seed=0)
    _check(config, found)
    assert all(s.explanation and s.explanation.prediction is None for s in found)


@pytest.mark.parametrize("values", [[2.0] * 5, [0.0] * 5, [1e300, -1e300, 1, 2, 3], [1e-300] * 5])
def test_suggest__extreme_values__goes_on(planner: Planner, values: list[float]) -> None:
    config = _config()
    history = [
        Trial(i, t.params).finish(v)
        for i, (t, v) in enumerate(zip(_history(config), values, strict=False))
    ]
    found = planner.suggest(config, history, 2, seed=0)
    _check(config, found)
    (prediction,) = planner.predict(config, history, [found[0].params])
    assert np.isfinite([prediction.mean, *prediction.quantiles.values()]).all()


def test_suggest__interrupted_trial__is_as_if_it_had_not_been(planner: Planner) -> None:
    space = SearchSpace(c=Categorical(["a", "b", "d"]))
    config = StudyConfig(space, "score", "maximize")
    history = [
        Trial(0, {"c": "a"}).finish(1.0),
        Trial(1, {"c": "b"}).fail(INTERRUPTED),
        Trial(2, {"c": "d"}).finish(2.0),
    ]
    (found,) = planner.suggest(config, history, 1, seed=0)
    assert found.params == {"c": "b"}
    without = [history[0], history[2]]
    assert planner.predict(config, history, [{"c": "b"}]) == planner.predict(
        config, without, [{"c": "b"}]
    )


@pytest.mark.parametrize("name", ["conditional", "one float"])
def test_suggest__thousand_trials__goes_on(planner: Planner, name: str) -> None:
    config = _config(name)
    history = _history(config, 1000)
    assert len(history) == 1000
    found = planner.suggest(config, history, 2, seed=0)
    _check(config, found)


def test_explanation__suggestion__tells_prediction_neighbours_and_source(
    planner: Planner,
) -> None:
    config = _config("stepped", goal="minimize")
    history = [t for t in _history(config) if t.status is not TrialStatus.PENDING]
    (found,) = planner.suggest(config, history, 1, seed=4)
    explanation = found.explanation
    assert explanation is not None
    (prediction,) = planner.predict(config, history, [found.params])
    assert explanation.prediction is not None
    assert explanation.prediction.mean == pytest.approx(prediction.mean, rel=1e-4)
    units = encode_points(config.space, [found.params, *(t.params for t in history)]).values
    gap = np.square(units[1:] - units[0]).sum(-1)
    nearest = [history[i].number for i in np.argsort(gap, kind="stable")[:3]]
    assert list(explanation.nearest) == nearest
    assert min(nearest) >= 10  # numbers of trials, not places in the history


def _even_goals(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint for which the word of the goal makes no difference."""
    model = OptFormerModel(checkpoint.model.config)
    model.load_state_dict(checkpoint.model.state_dict())
    with torch.no_grad():
        words = model.encoder.embed_tokens.weight
        words[sym.SYMBOL_IDS[sym.MINIMIZE]] = words[sym.SYMBOL_IDS[sym.MAXIMIZE]]
    return Checkpoint(model.eval().requires_grad_(False), checkpoint.vocabulary, {})


def test_predict__minimized_mirror__mirrors_the_prediction(tiny_checkpoint: Checkpoint) -> None:
    planner = Planner(_even_goals(tiny_checkpoint))
    up, down = _config(), _config(goal="minimize")
    history = _history(up)
    mirrored = [replace(t, value=None if t.value is None else -t.value) for t in history]
    points = [up.space.sample(np.random.default_rng(i)) for i in range(5)]
    for first, second in zip(
        planner.predict(up, history, points), planner.predict(down, mirrored, points), strict=True
    ):
        assert second.mean == pytest.approx(-first.mean, rel=1e-6)
        assert second.std == pytest.approx(first.std, rel=1e-6)
        for level, value in first.quantiles.items():
            assert second.quantiles[round(1 - level, 2)] == pytest.approx(-value, rel=1e-4)
        assert second.probability_of_improvement == pytest.approx(first.probability_of_improvement)
        assert second.probability_of_failure == pytest.approx(first.probability_of_failure)
    picked = planner.suggest(up, history, 2, seed=0)
    assert [s.params for s in planner.suggest(down, mirrored, 2, seed=0)] == [
        s.params for s in picked
    ]


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
@pytest.mark.parametrize(("offset", "size"), [(0.0, 1.0), (1e9, 1e-2), (-5e-7, 1e-9)])
def test_predict__any_units__quantiles_are_ordered_and_near_the_data(
    planner: Planner, goal: str, offset: float, size: float
) -> None:
    config = _config(goal=goal)
    history = [
        t if t.value is None else replace(t, value=offset + size * t.value)
        for t in _history(config)
    ]
    points = [config.space.sample(np.random.default_rng(i)) for i in range(5)]
    for prediction in planner.predict(config, history, points):
        ordered = [prediction.quantiles[level] for level in (0.05, 0.25, 0.5, 0.75, 0.95)]
        assert ordered == sorted(ordered)
        assert ordered[0] < prediction.mean + 3 * prediction.std
        assert abs(prediction.quantiles[0.5] - offset) < 30 * size
        assert 0 < prediction.std < 1000 * size
        assert 0 <= prediction.probability_of_improvement <= 1
        assert 0 <= prediction.probability_of_failure <= 1


def test_predict__several_points__equal_one_at_a_time(planner: Planner) -> None:
    config = _config()
    history = _history(config)
    points = [config.space.sample(np.random.default_rng(i)) for i in range(4)]
    together = planner.predict(config, history, points)
    for point, prediction in zip(points, together, strict=True):
        (alone,) = planner.predict(config, history, [point])
        assert alone.mean == pytest.approx(prediction.mean, rel=1e-4, abs=1e-5)
    assert planner.predict(config, history, []) == []


def test_predict__conditional_on_an_ordinal__sees_the_active_child(planner: Planner) -> None:
    config = _config("nested by an ordinal")
    history = _history(config)
    means = [
        planner.predict(config, history, [{"depth": 2, "width": width}])[0].mean
        for width in (1, 40, 2000)
    ]
    assert len(set(means)) == 3


def test_predict__nothing_measured__asks_for_a_trial(planner: Planner) -> None:
    config = _config()
    history = _history(config, 4, pending=2, failed=2)
    with pytest.raises(StudyError, match="at least one observed trial"):
        planner.predict(config, history, [{"lr": 1e-3, "optimizer": "adam"}])


def test_predict__illegal_point__names_the_parameter(planner: Planner) -> None:
    config = _config()
    with pytest.raises(SearchSpaceError, match="'momentum'"):
        planner.predict(config, _history(config), [{"lr": 1e-3, "optimizer": "sgd"}])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"strategy": "luck"}, "unknown strategy 'luck'"),
        ({"batch_mode": "liar"}, "unknown batch mode 'liar'"),
    ],
)
def test_planner__unknown_setting__lists_the_known(
    tiny_checkpoint: Checkpoint, settings: dict[str, Any], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        Planner(tiny_checkpoint, **settings)


def test_load_planner__no_checkpoint__says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing"):
        load_planner(tmp_path / "nothing")


def test_suggest__shipped_model_and_a_region_that_fails__leaves_the_region() -> None:
    space = SearchSpace(x=Float(0, 1), y=Float(0, 1))
    config = StudyConfig(space=space, metric="accuracy", goal="maximize")
    planner, history = load_planner(), list[Trial]()
    for number in range(20):
        (found,) = planner.suggest(config, history, 1, seed=0)
        x, y = float(found.params["x"]), float(found.params["y"])  # type: ignore[arg-type]
        trial = Trial(number, found.params)
        value = -((x - 0.2) ** 2) - (y - 0.4) ** 2
        history.append(trial.fail("out of memory") if x > 0.5 else trial.finish(value))
    failed = [trial.value is None for trial in history]
    assert any(failed[:5])  # it does not know beforehand
    assert sum(failed[8:]) <= 4  # of 12, and half of the space fails; the best is found by then
    inside, outside = planner.predict(
        config, history, [{"x": 0.75, "y": 0.4}, {"x": 0.2, "y": 0.4}]
    )
    assert inside.probability_of_failure > 0.5 > 0.05 > outside.probability_of_failure


def test_suggest__many_pending_trials__are_told_in_few_passes(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    planner, config, passes = Planner(tiny_checkpoint), _config(), []
    condition_on = EncodedStudy.condition_on

    def counted(study: EncodedStudy, points: Any, ys: Any) -> EncodedStudy:
        passes.append(len(points.values))
        return condition_on(study, points, ys)

    monkeypatch.setattr(EncodedStudy, "condition_on", counted)
    rng = np.random.default_rng(0)
    history = [Trial(i, config.space.sample(rng)).finish(float(rng.random())) for i in range(4)]
    history += [Trial(4 + i, config.space.sample(rng)) for i in range(70)]
    (found,) = planner.suggest(config, history, 1, seed=0)
    assert len(passes) <= 16
    assert sum(passes) == 70
    assert found.params not in [trial.params for trial in history]
    passes.clear()
    planner.suggest(config, history[:15], 1, seed=0)
    assert passes == [1] * 11  # few are told one by one
