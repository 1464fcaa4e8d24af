"""The calls of Ray Tune to its search algorithm; `tests/serving/test_on_ray.py` has Ray itself."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import optformer as of
from optformer.data.studies.errors import MissingExtraError, SearchSpaceError, StudyError
from optformer.data.studies.trials import INTERRUPTED

ray = pytest.importorskip("ray")
from ray import tune  # noqa: E402

from optformer.serving.integrations.ray_tune import OptFormerSearcher  # noqa: E402

Make = Callable[..., OptFormerSearcher]


@pytest.fixture
def make() -> Make:
    space = of.SearchSpace(
        {"lr": of.Float(1e-5, 1e-1, log=True), "optimizer/kind": of.Categorical(["adam", "sgd"])}
    )

    def searcher(**settings: Any) -> OptFormerSearcher:
        return OptFormerSearcher(**{"space": space, "metric": "loss", "mode": "min", **settings})

    return searcher


def report(searcher: OptFormerSearcher, trial: str, *losses: float) -> None:
    """A trial that reports and ends by itself."""
    for iteration, loss in enumerate(losses, 1):
        result = {"loss": loss, "training_iteration": iteration}
        searcher.on_trial_result(trial, result)
    searcher.on_trial_complete(trial, result)


def test_suggest__names_with_slashes__are_nested(make: Make) -> None:
    config = make(seed=0).suggest("a")
    assert isinstance(config, dict)
    assert config.keys() == {"lr", "optimizer"}
    assert config["optimizer"]["kind"] in ("adam", "sgd")


def test_suggest__same_seed_and_results__suggests_the_same(make: Make) -> None:
    one, two = make(seed=3), make(seed=3)
    for trial, loss in [("a", 0.5), ("b", 0.4), ("c", 0.6)]:
        assert one.suggest(trial) == two.suggest(trial)
        for searcher in (one, two):
            report(searcher, trial, loss)


def test_suggest__points_to_evaluate__come_first_and_are_filled_in(make: Make) -> None:
    searcher = make(points_to_evaluate=[{"lr": 1e-3}, {"lr": 1e-2, "optimizer": {"kind": "sgd"}}])
    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert isinstance(first, dict)
    assert first["lr"] == 1e-3
    assert second == {"lr": 1e-2, "optimizer": {"kind": "sgd"}}


def test_suggest__evaluated_rewards__are_told_and_not_run(make: Make) -> None:
    point = {"lr": 1e-3, "optimizer/kind": "adam"}
    searcher = make(points_to_evaluate=[point], evaluated_rewards=[0.25])
    suggested = searcher.suggest("a")
    told, pending = searcher.study.trials
    assert (dict(told.params), told.value) == (point, 0.25)
    assert suggested["lr"] == pending.params["lr"] != 1e-3


def test_suggest__every_point_tried__is_finished() -> None:
    searcher = OptFormerSearcher(of.SearchSpace(x=of.Categorical([1, 2])), "loss", "min")
    assert [searcher.suggest(trial) for trial in "abc"][2] == OptFormerSearcher.FINISHED


def test_complete__by_itself_or_ended_from_outside__is_completed_or_stopped(make: Make) -> None:
    searcher = make()
    searcher.set_search_properties(None, None, {}, stop={"accuracy": 0.9})
    for trial in "abcdef":
        searcher.suggest(trial)
    report(searcher, "a", 0.9, 0.8, 0.7)
    report(searcher, "b", 0.6)  # shorter than others, by itself
    searcher.on_trial_result("c", {"loss": 0.9, "training_iteration": 1})
    searcher.on_trial_complete("c", {"loss": 0.8, "training_iteration": 2})  # by a scheduler
    searcher.on_trial_result("d", {"loss": 0.85, "training_iteration": 1})
    searcher.on_trial_complete("d")  # paused, then ended
    result = {"loss": 0.1, "training_iteration": 2, "accuracy": 0.95}
    searcher.on_trial_complete("e", result)  # the user's criterion
    searcher.on_trial_complete("f", {"loss": 0.65, "training_iteration": 3})  # at full length
    found = [(trial.status.value, trial.value) for trial in searcher.study.trials]
    assert found == [
        ("completed", 0.7),
        ("completed", 0.6),
        ("stopped", 0.8),
        ("stopped", 0.85),
        ("completed", 0.1),
        ("completed", 0.65),
    ]
    curves = [dict(trial.intermediate_values) for trial in searcher.study.trials]
    assert curves[0] == {1: 0.9, 2: 0.8, 3: 0.7}
    assert curves[2] == {1: 0.9, 2: 0.8}


def test_complete__no_value__is_failed_with_its_reason(make: Make) -> None:
    searcher = make()
    for trial in "abc":
        searcher.suggest(trial)
    searcher.on_trial_complete("a", error=True)
    searcher.on_trial_complete("b", {"training_iteration": 1})
    searcher.on_trial_complete("c")  # ended before it reported anything
    reasons = [trial.reason for trial in searcher.study.trials]
    assert reasons == ["it raised in Ray Tune", "metric 'loss' is missing", INTERRUPTED]


def test_complete__failed_trial_that_is_run_again__becomes_a_new_one(make: Make) -> None:
    searcher = make()
    searcher.suggest("a")
    searcher.on_trial_complete("a", error=True)
    report(searcher, "a", 0.5)
    failed, again = searcher.study.trials
    assert failed.params == again.params
    assert (failed.status.value, again.value) == ("failed", 0.5)


def test_complete__unknown_trial__is_left_out_with_a_warning(make: Make) -> None:
    searcher = make()
    with pytest.warns(of.OptFormerWarning, match="trial z is none of this searcher's"):
        report(searcher, "z", 0.5)
    assert searcher.study.trials == []


def test_suggest__choices_that_are_lists__come_back_as_lists(make: Make) -> None:
    searcher = make(space={"layers": tune.choice([[64], [64, 64]]), "lr": tune.uniform(0, 1)})
    searcher.add_evaluated_point({"layers": [64, 64], "lr": 0.5}, 0.5)
    assert searcher.suggest("a")["layers"] in ([64], [64, 64])
    assert dict(searcher.study.trials[0].params) == {"layers": "[64, 64]", "lr": 0.5}


def test_complete__several_metrics_and_a_limit__are_recorded_by_name(make: Make) -> None:
    searcher = make(metric=["loss", "size"], mode=["min", "max"], limits={"memory": "<= 8"})
    for trial in "ab":
        searcher.suggest(trial)
    result = {"loss": 0.5, "size": 3, "memory": 9.0, "training_iteration": 1}
    searcher.on_trial_result("a", result)
    searcher.on_trial_complete("a", result)
    searcher.on_trial_complete("b", {"loss": 0.5, "training_iteration": 1})
    one, two = searcher.study.trials
    assert dict(one.metrics) == {"loss": 0.5, "size": 3.0, "memory": 9.0}
    assert two.reason == "metric 'size' is missing"
    assert searcher.study.best_trials == []  # the limit is not kept
    assert searcher.study.config.goals == {"loss": "minimize", "size": "maximize"}


def test_add_evaluated_point__a_nested_configuration__is_told(make: Make) -> None:
    searcher = make()
    config = {"lr": 1e-3, "optimizer": {"kind": "sgd"}, "epochs": 3}
    searcher.add_evaluated_point(config, 0.5)
    searcher.add_evaluated_point(config, 0.6, pruned=True)
    searcher.add_evaluated_point(config, 0.0, error=True)
    found = [(trial.status.value, trial.value) for trial in searcher.study.trials]
    assert found == [("completed", 0.5), ("stopped", 0.6), ("failed", None)]


@pytest.mark.parametrize("storage", [None, "sqlite:///ray.db"])
def test_save__in_the_middle__another_searcher_goes_on_alike(
    make: Make, storage: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    searcher = make(seed=1, storage=storage, points_to_evaluate=[{"lr": 1e-4}, {"lr": 1e-2}])
    searcher.suggest("a")
    report(searcher, "a", 0.5, 0.4)
    searcher.suggest("b")
    searcher.save(str(tmp_path / "state.pkl"))
    restored, copied = make(), pickle.loads(pickle.dumps(searcher))
    restored.restore(str(tmp_path / "state.pkl"))
    for again in [restored, copied][: 1 if storage else 2]:  # one file is one study
        assert again.study.trials == searcher.study.trials
        report(again, "b", 0.3)
        assert again.study.best_trial.number == 1
    if storage is None:
        report(searcher, "b", 0.3)
        assert restored.suggest("c") == copied.suggest("c") == searcher.suggest("c")


def test_searcher__bad_settings__are_named(make: Make) -> None:
    with pytest.raises(StudyError, match=r"mode must be 'min' or 'max', .* got 'least'"):
        make(mode="least")
    with pytest.raises(StudyError, match=r"must both be lists, got \['loss'\] and 'min'"):
        make(metric=["loss"], mode="min")
    with pytest.raises(StudyError, match="mode must have one entry a metric"):
        make(metric=["loss", "size"], mode=["min"])
    with pytest.raises(StudyError, match="a value for each of the 1 points_to_evaluate, got 2"):
        make(points_to_evaluate=[{"lr": 1e-3}], evaluated_rewards=[0.1, 0.2])
    with pytest.raises(SearchSpaceError, match="unknown parameter 'rate'"):
        make(points_to_evaluate=[{"rate": 1e-3}]).suggest("a")
    with pytest.raises(SearchSpaceError, match=r"optimizer/lr: .*sample_from"):
        make(space=None).set_search_properties(
            "loss", "min", {"optimizer": {"lr": tune.sample_from(lambda _: 1)}}
        )
    with pytest.raises(StudyError, match="param_space"):
        make(space=None).suggest("a")
    with pytest.raises(StudyError, match="a metric and a mode"):
        make(metric=None, mode=None).suggest("a")


def test_searcher__without_ray__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "optformer.serving.integrations.ray_tune"
    monkeypatch.setitem(sys.modules, "ray.tune.search", None)
    monkeypatch.delitem(sys.modules, module)
    with pytest.raises(MissingExtraError, match=r"pip install \"optformer\[ray\]\""):
        import_module(module)
