"""Methods by name behind the ask/tell protocol."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optformer.data.methods import registry
from optformer.data.studies.errors import CheckpointError, ConfigError, MissingExtraError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.benchmarks import rivals
from optformer.serving.benchmarks.optuna_rivals import SAMPLERS, OptunaRival, distribution

SPACE = SearchSpace(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "drop.rate": Float(0.0, 0.5, step=0.2),
        "width": Int(4, 64, log=True),
        "layers": Int(1, 8, step=3),
        "batch": Ordinal([16, 64, 256]),
        "loss": Ordinal(["l1"]),
        "optimizer": Categorical(["sgd", "adam", True, 1]),
        "momentum": Float(0.0, 0.99, when={"optimizer": ["sgd"], "batch": [16, 64]}),
    }
)
STUDY = StudyConfig(space=SPACE, metric="loss", goal="minimize")


def _loss(params: Mapping[str, Any]) -> float | None:
    if params["layers"] == 7:
        return None
    return float((np.log10(params["lr"]) + 3) ** 2 + params.get("momentum", 0.5))


def _play(rival: rivals.Rival, trials: int, batch: int = 1) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    while len(points) < trials:
        asked = rival.ask(batch)
        assert len(asked) == batch
        for point in asked:
            points.append(SPACE.validate(point))
        for point in reversed(asked):  # values arrive in any order
            rival.tell(point, _loss(point))
    return points


@pytest.mark.parametrize("name", ["gp", "gp-1", "gp-3", "optuna-random", "random", "tpe"])
def test_rival__conditional_space_with_failures__suggests_legal_points_by_seed(name: str) -> None:
    trials = 6 if name.startswith("gp") else 14
    points = _play(rivals.create_rival(name, STUDY, 3), trials)
    assert points == _play(rivals.create_rival(name, STUDY, 3), trials)
    assert points != _play(rivals.create_rival(name, STUDY, 4), trials)
    assert len(points) == trials


@pytest.mark.parametrize("name", ["hill-climbing", "random", "tpe"])
def test_rival__batches__are_legal_and_follow_the_seed(name: str) -> None:
    points = _play(rivals.create_rival(name, STUDY, 3), 8, batch=4)
    assert len({str(point) for point in points}) == 8
    assert points == _play(rivals.create_rival(name, STUDY, 3), 8, batch=4)


def test_cma_es__installed_or_not__runs_or_names_the_extra() -> None:
    if importlib.util.find_spec("cmaes") is None:
        with pytest.raises(MissingExtraError, match=r"optformer\[benchmark\]"):
            rivals.check_available("cma-es")
    else:
        assert len(_play(rivals.create_rival("cma-es", STUDY, 0), 12)) == 12


def test_optuna_rival__given_points__are_in_its_history() -> None:
    rival = OptunaRival("tpe", STUDY, 0)
    given = [SPACE.sample(np.random.default_rng(i)) for i in range(12)]
    for i, point in enumerate(given):
        rival.tell(point, None if i == 5 else float(i))
    trials = rival._study.get_trials()
    assert [t.state.name for t in trials].count("FAIL") == 1
    assert trials[3].value == 3.0
    assert trials[3].params["optimizer"] == SPACE["optimizer"].choices.index(  # type: ignore[union-attr]
        given[3]["optimizer"]
    )
    SPACE.validate(rival.ask(1)[0])


def test_optuna_rival__asked_point__is_told_once_and_not_added() -> None:
    rival = OptunaRival("optuna-random", STUDY, 0)
    (point,) = rival.ask(1)
    rival.tell(dict(point), 1.0)
    rival.tell(dict(point), 2.0)
    assert [trial.value for trial in rival._study.get_trials()] == [1.0, 2.0]


def test_optuna_rival__goal__is_the_studys() -> None:
    assert OptunaRival("tpe", STUDY, 0)._study.direction.name == "MINIMIZE"


def test_optuna_rival__at_work__leaves_optunas_logging_alone(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    before = optuna.logging.get_verbosity()
    _play(OptunaRival("gp-1", STUDY, 0), 4)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
    assert not [w for w in recwarn if "optuna" in str(w.filename)]


def test_optuna_rival__unknown_name__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'bohb'.*tpe"):
        OptunaRival("bohb", STUDY, 0)
    named = {n for n, method in rivals._FOREIGN.items() if method.packages[0] == "optuna"}
    assert named == set(SAMPLERS)


def test_optuna_rival__pending_points__are_running_trials_until_told() -> None:
    rival = OptunaRival("tpe", STUDY, 0)
    asked = rival.ask(3)
    states = [trial.state.name for trial in rival._study.get_trials()]
    assert states == ["RUNNING"] * 3
    rival.tell(asked[1], 1.0)
    states = [trial.state.name for trial in rival._study.get_trials()]
    assert states == ["RUNNING", "COMPLETE", "RUNNING"]


def test_distributions__every_type__as_optuna_sees_it() -> None:
    seen = {name: distribution(parameter) for name, parameter in SPACE.items()}
    assert seen["lr"] == FloatDistribution(1e-5, 1e-1, log=True)
    assert seen["drop.rate"] == FloatDistribution(0.0, 0.4, step=0.2)
    assert seen["layers"] == IntDistribution(1, 7, step=3)
    assert seen["batch"] == IntDistribution(0, 2)
    assert seen["loss"] == IntDistribution(0, 0)
    assert seen["optimizer"] == CategoricalDistribution((0, 1, 2, 3))


def test_check_methods__unknown_repeated_or_none__is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'tpee'.*'tpe'"):
        rivals.check_methods(["random", "tpee"])
    with pytest.raises(ConfigError, match="'random' is given twice"):
        rivals.check_methods(["random", "random"])
    with pytest.raises(ConfigError, match="got none"):
        rivals.check_methods([])


def test_create_rival__unknown__is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown method 'bohb'"):
        rivals.create_rival("bohb", STUDY, 0)


@pytest.mark.parametrize(
    ("name", "package"), [("qlogei", "botorch"), ("smac", "smac"), ("cma-es", "cmaes")]
)
def test_check_available__package_missing__names_it_and_the_extra(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for refuse in (
        lambda: rivals.check_available(name),
        lambda: rivals.create_rival(name, STUDY, 0),
        lambda: rivals.describe_method(name),
    ):
        with pytest.raises(MissingExtraError, match=rf"{name}.*{package}.*optformer\[benchmark\]"):
            refuse()


class _Recording:
    """Suggests the number of trials it saw of each status."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        self.seen.append([trial.status.value for trial in history])
        return [SPACE.sample(rng) for _ in range(count)]


def test_registered_method__asked_twice__sees_the_first_points_pending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = _Recording()
    monkeypatch.setitem(registry._FACTORIES, "recording", lambda config: method)
    rival = rivals.create_rival("recording", STUDY, 0)
    first = rival.ask(2)
    rival.ask(1)
    rival.tell(first[1], 1.0)
    rival.tell(first[0], None)
    rival.tell(SPACE.sample(np.random.default_rng(5)), 2.0)  # given, not asked for
    rival.ask(1)
    assert method.seen == [
        [],
        ["pending", "pending"],
        ["failed", "completed", "pending", "completed"],
    ]


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
    """Planners by strategy, batch mode and model that were loaded through a stand-in module."""
    planners: _Loaded = {}

    def load_planner(
        model: Path | None = None, *, strategy: str = "ei", batch_mode: str = "mean"
    ) -> _FakePlanner:
        return planners.setdefault((strategy, batch_mode, model), _FakePlanner())

    module = ModuleType("optformer.planning.planner")
    module.load_planner = load_planner  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "optformer.planning.planner", module)
    rivals._planner.cache_clear()
    yield planners
    rivals._planner.cache_clear()


@pytest.mark.parametrize(
    ("name", "strategy", "batch_mode"),
    [
        ("optformer", "ei", "mean"),
        ("optformer-placeholder", "ei", "placeholder"),
        ("optformer-policy", "policy", "mean"),
        ("optformer-sample", "ei", "sample"),
        ("optformer-ts", "ts", "mean"),
    ],
)
def test_optformer__any_mode__plans_on_the_whole_history(
    loaded: _Loaded, name: str, strategy: str, batch_mode: str
) -> None:
    model = Path("some-model")
    _play(rivals.create_rival(name, STUDY, 11, model=model), 20)
    ((at, planner),) = loaded.items()
    assert at == (strategy, batch_mode, model)
    history, seed = planner.calls[-1]
    assert seed == 11
    assert [trial.number for trial in history] == list(range(19))
    assert {trial.status for trial in history} == {TrialStatus.COMPLETED, TrialStatus.FAILED}


def test_optformer__batch__is_planned_in_one_call(loaded: _Loaded) -> None:
    rival = rivals.create_rival("optformer", STUDY, 11)
    _play(rival, 4, batch=4)
    rival.ask(2)
    rival.ask(2)
    (planner,) = loaded.values()
    assert [len(history) for history, _ in planner.calls] == [0, 4, 6]
    assert [trial.status.value for trial in planner.calls[-1][0]][4:] == ["pending"] * 2


def test_optformer_ignore__batch__never_sees_pending_trials(loaded: _Loaded) -> None:
    rival = rivals.create_rival("optformer-ignore", STUDY, 11)
    first = rival.ask(2)
    second = rival.ask(1)
    (planner,) = loaded.values()
    assert planner.calls == [([], 11), ([], 12), ([], 13)]
    assert len({str(point) for point in [*first, *second]}) == 3
    alone = rivals.create_rival("optformer-ignore", STUDY, 11)
    assert _play(alone, 5) == _play(rivals.create_rival("optformer", STUDY, 11), 5)


def test_method_version__kinds__name_what_ran(tmp_path: Path) -> None:
    assert rivals.method_version("tpe") == f"optuna {optuna.__version__}"
    assert rivals.method_version("random").startswith("optformer ")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    one = rivals.method_version("optformer", model=tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"other weights")
    assert one.startswith(f"{rivals.method_version('random')} ")
    assert one != rivals.method_version("optformer", model=other)


def test_method_version__no_weights__is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no \*.safetensors"):
        rivals.method_version("optformer", model=tmp_path)
