"""Trials: status, value and reason agree."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from optformer.data.studies.errors import MetricError, TrialError
from optformer.data.studies.trials import Trial, TrialStatus


@pytest.mark.parametrize("status", list(TrialStatus))
@pytest.mark.parametrize("value", [None, 0.5])
@pytest.mark.parametrize("reason", [None, "out of memory"])
def test_trial__every_combination__is_legal_or_refused(
    status: TrialStatus, value: float | None, reason: str | None
) -> None:
    valued = status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)
    legal = (value is not None) == valued and (reason is None or status is TrialStatus.FAILED)
    if legal:
        trial = Trial(0, {"lr": 0.1}, status, value, reason)
        assert trial.has_value is valued
    else:
        with pytest.raises(TrialError, match=f"a {status.value} trial cannot have"):
            Trial(0, {"lr": 0.1}, status, value, reason)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_trial__value_not_finite__is_refused(value: float) -> None:
    with pytest.raises(MetricError, match="finite"):
        Trial(0, {}).finish(value)


def test_finish__pending_trial__completes_a_copy() -> None:
    pending = Trial(3, {"lr": 0.1}, study="s")
    done = pending.finish(1, metrics={"seconds": 2.0})
    assert (done.status, done.value, done.metrics) == (TrialStatus.COMPLETED, 1.0, {"seconds": 2.0})
    assert (done.number, done.params, done.study) == (3, {"lr": 0.1}, "s")
    assert type(done.value) is float
    assert pending.status is TrialStatus.PENDING
    assert pending.finish(1, stopped=True).status is TrialStatus.STOPPED


def test_fail__pending_trial__keeps_the_reason() -> None:
    failed = Trial(0, {}).fail("out of memory")
    assert (failed.status, failed.reason, failed.value) == (
        TrialStatus.FAILED,
        "out of memory",
        None,
    )
    assert Trial(0, {}).finish(1.0).fail("wrong data").value is None


def test_trial__callers_mapping_changed_later__stays_as_it_was() -> None:
    params: dict[str, Any] = {"lr": 0.1}
    metrics = {"seconds": 1.0}
    trial = Trial(0, params, TrialStatus.COMPLETED, 1.0, metrics=metrics)
    params["lr"] = 9.0
    metrics["seconds"] = 9.0
    assert trial.params == {"lr": 0.1}
    assert trial.metrics == {"seconds": 1.0}
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial.value = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        lambda params: params.pop("x"),
        lambda params: params.update(x=0.9),
        lambda params: params.__setitem__("y", 1),
        lambda params: params.__delitem__("x"),
        lambda params: params.clear(),
        lambda params: params.popitem(),
        lambda params: params.setdefault("y", 1),
        lambda params: params.__ior__({"x": 0.9}),
    ],
)
def test_trial__params_changed_in_place__is_refused_before_it_is_recorded(
    change: Callable[[Any], object],
) -> None:
    trial = Trial(0, {"x": 0.5})
    with pytest.raises(TrialError, match=r"change a copy: params = dict\(trial\.params\)"):
        change(trial.params)
    assert trial.params == {"x": 0.5}


def test_trial__params__serve_as_any_dictionary() -> None:
    trial = Trial(0, {"x": 0.5, "kind": "adam"})
    own = dict(trial.params)
    own["x"] = 0.9
    assert trial.params == {"x": 0.5, "kind": "adam"}
    assert json.loads(json.dumps(trial.params)) == trial.params
    assert yaml.safe_load(yaml.safe_dump(trial.params)) == trial.params
    for copied in (pickle.loads(pickle.dumps(trial)), copy.deepcopy(trial)):
        assert copied == trial
        with pytest.raises(TrialError):
            copied.params["x"] = 0.9


def test_trial__explanation__does_not_count_for_equality() -> None:
    assert Trial(0, {}, explanation="model") == Trial(0, {})
