"""Each tool: what it does with a study, and what it says to what it cannot use."""

from __future__ import annotations

import inspect
import math
import threading
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from mcp import Client

from optformer.serving.agents.catalogue import CATALOGUE
from optformer.serving.agents.homes import StorageHome
from optformer.serving.agents.mcp_server import make_server
from optformer.serving.agents.tools import Tools
from optformer.serving.study.optuna_access import open_storage
from optformer.serving.study.study import load_study

SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
    "opt": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0, "high": 0.99, "when": {"opt": ["sgd"]}},
}
POINT = {"lr": 0.001, "opt": "adam"}


@pytest.fixture
def study(call: Any) -> Any:
    """Calls tools where there is one study, with a pending trial 0."""
    call("create_study", space=SPACE, metric="accuracy", goal="maximize", name="s", seed=0)
    call("suggest")
    return call


@pytest.mark.parametrize("tool", CATALOGUE, ids=lambda tool: tool.name)
def test_catalogue__every_tool__has_the_arguments_of_its_method(tool: Any) -> None:
    parameters = inspect.signature(getattr(Tools, tool.name)).parameters
    free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD} - {"self"}
    assert named <= {*tool.properties}
    assert free or named == {*tool.properties}
    needed = {n for n in named if parameters[n].default is inspect.Parameter.empty}
    assert needed == {*tool.required}
    assert all("description" in schema for schema in tool.properties.values())


def test_create_study__every_setting__reaches_the_study(call: Any, storage: str) -> None:
    call(
        "create_study",
        space=SPACE,
        metrics={"accuracy": "maximize", "latency": "minimize"},
        limits={"memory": "<= 8"},
        metric_range={"accuracy": [0, 1]},
        name="all",
        metadata={"task": "classification", "layers": 3},
        fixed={"opt": "sgd"},
        seed=7,
    )
    study = load_study(storage=storage, name="all")
    assert study.config.goals == {"accuracy": "maximize", "latency": "minimize"}
    assert study.config.metric_ranges == {"accuracy": (0.0, 1.0)}
    assert study.config.metadata == {"task": "classification", "layers": "3"}
    assert (dict(study.config.fixed), study.seed) == ({"opt": "sgd"}, 7)
    assert set(study.config.limits) == {"memory"}


@pytest.mark.parametrize(
    "space",
    [
        "lr: {type: float, low: 1e-5, high: 1}\nopt: {type: categorical, choices: [sgd, adam]}",
        '{"lr": {"type": "int", "low": 1, "high": 9}, "opt": {"type": "ordinal", "choices": [1]}}',
        {"lr": [0.1, 0.01], "opt": ["sgd", "adam"]},
        {
            "parameters": {
                "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
                "opt": {"values": ["sgd", "adam"]},
            }
        },
    ],
    ids=["yaml", "json", "lists", "wandb"],
)
def test_create_study__a_space_in_other_words__is_read(call: Any, space: Any) -> None:
    assert "over lr, opt." in call("create_study", space=space, metric="a", goal="minimize")


def test_suggest__points_to_try_first__come_in_order_and_are_completed(call: Any) -> None:
    first = [{"lr": 0.01, "opt": "sgd", "momentum": 0.9}, {"opt": "adam"}]
    call("create_study", space=SPACE, metric="loss", goal="minimize", try_first=first)
    answer = call("suggest", count=3)
    assert 'trial 0: {"lr": 0.01, "opt": "sgd", "momentum": 0.9}' in answer
    assert '"opt": "adam"}' in answer.splitlines()[1]
    assert "trial=<its number>" in answer


def test_suggest__fixed__is_held(study: Any) -> None:
    assert '"opt": "sgd", "momentum": 0.5}' in study(
        "suggest", fixed={"opt": "sgd", "momentum": 0.5}
    )


def test_suggest__a_finite_space_at_its_end__says_that_the_search_is_complete(call: Any) -> None:
    call("create_study", space={"n": [1, 2]}, metric="a", goal="maximize")
    call("suggest", count=2)
    assert "call best" in call.refused("suggest")


def test_observe__several_goals_and_a_limit__asks_for_all_and_tells_the_front(call: Any) -> None:
    metrics = {"accuracy": "maximize", "latency": "minimize"}
    call("create_study", space=SPACE, metrics=metrics, limits={"memory": "<= 8"})
    asked = call("suggest", count=3)
    assert 'value={"accuracy": ..., "latency": ..., "memory": ...}' in asked
    assert "['accuracy', 'latency', 'memory']" in call.refused("observe", trial=0, value=0.5)
    told = call("observe", trial=0, value={"accuracy": 0.9, "latency": 10, "memory": 9})
    assert "beyond the limits" in told
    call("observe", trial=1, value={"accuracy": 0.8, "latency": 9, "memory": 1})
    told = call("observe", trial=2, value={"accuracy": 0.7, "latency": 5, "memory": 1})
    assert "2 trials are on the Pareto front" in told
    best = call("best")
    assert "trial 1: accuracy 0.8, latency 9, memory 1" in best
    assert "trial 0" not in best
    assert "chance to keep the limits" in call("suggest")


def test_observe__a_point_from_elsewhere__is_a_trial(study: Any) -> None:
    assert "Recorded trial 1: accuracy 0.8" in study("observe", params=POINT, value=0.8)
    assert "The model did not suggest it" in study("explain", trial=1)


def test_observe__the_same_trial_twice__keeps_the_first(study: Any) -> None:
    study("observe", trial=0, value=0.5)
    assert "observed before" in study.refused("observe", trial=0, value=0.6)
    assert "accuracy 0.5" in study("best")


def test_observe__in_a_later_session__finds_the_pending_trial(
    study: Any, storage: str, model: Path
) -> None:
    later = Tools(StorageHome(storage, model))
    assert "Pending, to be observed: 0" in later.call("best", {})[0]
    text, failed = later.call("observe", {"trial": 0, "value": 0.7})
    assert not failed
    assert "Recorded trial 0: accuracy 0.7" in text


def test_report__a_trial_that_is_behind__is_told_to_stop(call: Any) -> None:
    pruner = "median(n_startup_trials=1, n_warmup_steps=0)"
    call("create_study", space=SPACE, metric="accuracy", goal="maximize", pruner=pruner)
    assert "At every step call report(trial=0" in call("suggest")
    assert call("report", trial=0, step=1, value=0.9) == "Go on."
    call("observe", trial=0, value=0.95)
    call("suggest")
    assert "observe(trial=1, stopped=true)" in call("report", trial=1, step=1, value=0.1)
    assert "stopped early at accuracy 0.1" in call("observe", trial=1, stopped=True)


def test_report__without_a_pruner__says_so(study: Any) -> None:
    assert "no pruner" in study("report", trial=0, step=3, value=0.5)


def test_list_studies__of_several__needs_a_name_elsewhere(study: Any) -> None:
    study("create_study", space=SPACE, metric="loss", goal="minimize", name="other")
    assert study("list_studies").splitlines()[0].startswith('"other": minimize loss; no trials')
    assert "give study=, one of ['other', 's']" in study.refused("suggest")
    assert "trial 0" in study("suggest", study="other")


def test_list_studies__one_of_optuna_without_a_space__is_told_beside_the_others(
    study: Any, storage: str
) -> None:
    optuna.create_study(storage=open_storage(storage), study_name="foreign")
    lines = study("list_studies").splitlines()
    assert lines[0].startswith('"foreign": cannot be opened')
    assert lines[1].startswith('"s": maximize accuracy')


def test_null_and_text__where_agents_write_them__are_read(study: Any) -> None:
    asked = study("suggest", study=None, count=None, fixed='{"opt": "adam"}')
    assert '"opt": "adam"}' in asked


BAD = [
    ("create_study", {}, "'space' is a required property"),
    ("create_study", {"space": SPACE}, "metric= and goal="),
    ("create_study", {"space": {}, "metric": "a", "goal": "maximize"}, "at least one parameter"),
    ("create_study", {"space": SPACE, "metric": "a", "goal": "max"}, "'max' is not one of"),
    ("create_study", {"space": SPACE, "metric": " ", "goal": "maximize"}, "empty"),
    ("create_study", {"space": "s.yaml", "metric": "a", "goal": "maximize"}, "'s.yaml' is not"),
    ("create_study", {"space": "{", "metric": "a", "goal": "maximize"}, "neither YAML nor JSON"),
    ("create_study", {"space": {"x": 3}, "metric": "a", "goal": "maximize"}, "x"),
    ("create_study", {"space": {"x": {"type": "real"}}, "metric": "a"}, "type must be one of"),
    ("create_study", {"space": SPACE, "metric": "a", "goal": "maximize", "name": "s"}, "already"),
    ("create_study", {"space": SPACE, "metrics": {"a": "up"}}, '["a"]'),
    ("create_study", {"space": SPACE, "metrics": {"a": "maximize"}, "limits": {"b": "8"}}, "<="),
    (
        "create_study",
        {"space": SPACE, "metric": "a", "goal": "maximize", "try_first": [{"lr": 5}]},
        "try_first[0]: parameter 'lr'",
    ),
    (
        "create_study",
        {
            "space": SPACE,
            "metric": "a",
            "goal": "maximize",
            "fixed": {"opt": "sgd"},
            "try_first": [{}, {"opt": "adam"}],
        },
        "try_first[1]: parameter 'opt' is fixed to 'sgd'",
    ),
    ("create_study", {"space": SPACE, "metric": "a", "goal": "maximize", "pruner": "best"}, "best"),
    ("create_study", {"space": SPACE, "metric": "a", "goal": "maximize", "seed": -1}, "minimum"),
    ("create_study", {"space": SPACE, "metric": "a", "goal": "maximize", "sede": 1}, "'sede'"),
    ("suggest", {"study": "zzz"}, "no study 'zzz'; this storage has ['s']"),
    ("suggest", {"study": 3}, "not of type 'string'"),
    ("suggest", {"count": 0}, "minimum"),
    ("suggest", {"count": 1.5}, "'integer'"),
    ("suggest", {"count": 10**6}, "maximum"),
    ("suggest", {"fixed": {"lr": 7}}, "parameter 'lr'"),
    ("suggest", {"fixed": {"nope": 7}}, "'nope'"),
    ("observe", {"value": 1}, "got neither"),
    ("observe", {"trial": 0, "params": POINT, "value": 1}, "got both"),
    ("observe", {"trial": 0}, "failed='reason'"),
    ("observe", {"trial": 0, "value": "good"}, "'good' is not of type 'number'"),
    ("observe", {"trial": 0, "value": True}, "True is not of type"),
    ("observe", {"trial": 0, "value": {"acc": 1}}, "'accuracy' is missing"),
    ("observe", {"trial": 0, "value": 1, "failed": "x"}, "both"),
    ("observe", {"trial": 0, "failed": " "}, "must say why"),
    ("observe", {"trial": 0, "stopped": True}, "got neither"),
    ("observe", {"trial": -1, "value": 1}, "minimum"),
    ("observe", {"trial": 4, "value": 1}, "no trial 4; its trials are 0 to 0"),
    ("observe", {"trial": "0", "value": 1}, "'integer'"),
    ("observe", {"params": {"lr": 0.1}, "value": 1}, "parameter 'opt' is missing"),
    ("report", {"trial": 0, "step": 1}, "'value' is a required property"),
    ("report", {"trial": 0, "step": -1, "value": 1}, "minimum"),
    ("predict", {"points": []}, "non-empty"),
    ("predict", {"points": POINT}, "'array'"),
    ("predict", {"points": [{"lr": 0.1}]}, "parameter 'opt' is missing"),
    ("predict", {"points": [3]}, "points[0]"),
    ("explain", {"trial": 8}, "no trial 8"),
    ("best", {"top": 0}, "minimum"),
    ("importances", {}, "at least two completed trials"),
    ("nothing", {}, "the tools are create_study, list_studies"),
]


def test_call__of_every_wrong_kind__says_what_is_wrong_and_stores_nothing(
    study: Any,
) -> None:
    before = study("list_studies")
    wrong = {
        f"{tool} {arguments}": (text, words)
        for tool, arguments, words in BAD
        for text in [study.refused(tool, **arguments)]
        if words not in text or len(text) > 3000
    }
    assert wrong == {}
    assert study("list_studies") == before


def test_observe__not_a_number__is_recorded_as_failed_with_a_note(study: Any) -> None:
    told = study("observe", trial=0, value=math.nan)
    assert "failed: metric 'accuracy' is nan" in told
    assert "\nnote: trial 0: metric 'accuracy' is nan; recorded as failed" in told


def test_call__a_fault_of_ours__is_told_and_logged(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tools, "list_studies", lambda: 1 / 0)
    text, failed = tools.call("list_studies", {})
    assert failed
    assert text == "list_studies failed unexpectedly: ZeroDivisionError: division by zero"
    assert "Traceback" in caplog.text


def test_server__a_call_that_takes_long__keeps_nobody_else_waiting(tools: Tools) -> None:
    ready, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        ready.set()
        assert go_on.wait(10)
        return "done"

    tools.list_studies = slow  # type: ignore[method-assign]

    async def session() -> list[str]:
        happened = []
        async with Client(make_server(tools)) as client, anyio.create_task_group() as group:

            async def ask() -> None:
                result = await client.call_tool("list_studies", {})
                happened.append(result.content[0].text)  # type: ignore[union-attr]

            group.start_soon(ask)
            await anyio.to_thread.run_sync(ready.wait)
            happened.append(f"{len((await client.list_tools()).tools)} tools")
            go_on.set()
        return happened

    assert anyio.run(session) == [f"{len(CATALOGUE)} tools", "done"]
