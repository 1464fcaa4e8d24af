"""Methods by name behind the ask/tell protocol."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optformer.data.errors import CheckpointError, ConfigError, MissingExtraError
from optformer.data.parameters import Categorical, Float, Int, Ordinal
from optformer.data.spaces import SearchSpace
from optformer.data.studies import StudyConfig
from optformer.data.trials import Trial, TrialStatus
from optformer.serving.benchmarks import rivals
from optformer.serving.benchmarks.optuna_rivals import SAMPLERS, OptunaRival, distributions

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


def _play(rival: rivals.Rival, trials: int) -> list[dict[str, Any]]:
    points = []
    for _ in range(trials):
        point = rival.ask()
        points.append(SPACE.validate(point))
        rival.tell(point, _loss(point))
    return points


@pytest.mark.parametrize("name", ["gp", "gp-1", "gp-3", "optuna-random", "random", "tpe"])
def test_rival__conditional_space_with_failures__suggests_legal_points_by_seed(name: str) -> None:
    trials = 6 if name.startswith("gp") else 14
    points = _play(rivals.create_rival(name, STUDY, 3), trials)
    assert points == _play(rivals.create_rival(name, STUDY, 3), trials)
    assert points != _play(rivals.create_rival(name, STUDY, 4), trials)
    assert len(points) == trials


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
    SPACE.validate(rival.ask())


def test_optuna_rival__asked_point__is_told_once_and_not_added() -> None:
    rival = OptunaRival("optuna-random", STUDY, 0)
    point = rival.ask()
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
    assert set(rivals._OPTUNA) == set(SAMPLERS)


def test_distributions__every_type__as_optuna_sees_it() -> None:
    seen = distributions(SPACE)
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


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, Path | None], _FakePlanner]:
    """Planners by strategy and model that were loaded through a stand-in module."""
    planners: dict[tuple[str, Path | None], _FakePlanner] = {}

    def load_planner(model: Path | None = None, *, strategy: str = "ei") -> _FakePlanner:
        return planners.setdefault((strategy, model), _FakePlanner())

    module = ModuleType("optformer.planner")
    module.load_planner = load_planner  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "optformer.planner", module)
    rivals._planner.cache_clear()
    return planners


@pytest.mark.parametrize(
    ("name", "strategy"),
    [("optformer", "ei"), ("optformer-policy", "policy"), ("optformer-ts", "ts")],
)
def test_optformer__any_strategy__plans_on_the_whole_history(
    loaded: dict[tuple[str, Path | None], _FakePlanner], name: str, strategy: str
) -> None:
    model = Path("some-model")
    _play(rivals.create_rival(name, STUDY, 11, model=model), 20)
    ((at, planner),) = loaded.items()
    assert at == (strategy, model)
    history, seed = planner.calls[-1]
    assert seed == 11
    assert [trial.number for trial in history] == list(range(19))
    assert {trial.status for trial in history} == {TrialStatus.COMPLETED, TrialStatus.FAILED}
    rivals._planner.cache_clear()


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
