"""All methods of a benchmark by name, behind one ask/tell protocol.

Three kinds: OptFormer in its modes, every search method registered in `optformer.data.methods`, and
the methods of other libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from optformer._version import __version__
from optformer.data.methods.points import point_key
from optformer.data.studies.errors import CheckpointError, ConfigError, MissingExtraError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.planning.acquisition import STRATEGIES

if TYPE_CHECKING:
    from optformer.planning.planner import BatchMode, Planner


class Rival(Protocol):
    """One method at work on one study."""

    def ask(self, count: int) -> list[dict[str, Value]]:
        """Suggest `count` legal points to be evaluated together; they are pending until told."""

    def tell(self, params: Mapping[str, Value], value: float | None) -> None:
        """Report a point's value in the metric's units, None when the trial failed.

        The point need not have been asked for: given initial points are told too.
        """


@dataclass(frozen=True)
class _Mode:
    """How OptFormer chooses.

    Attributes:
        text: What it does, to follow "The pretrained model".
        strategy: Strategy of the planner.
        batch_mode: What the planner is told of pending trials.
        sees_pending: Whether the planner is told of pending trials at all.
    """

    text: str
    strategy: str = "ei"
    batch_mode: BatchMode = "mean"
    sees_pending: bool = True


@dataclass(frozen=True)
class _Foreign:
    """A method of another library.

    Attributes:
        text: What it is.
        packages: What it needs installed; the first is the library whose version is recorded.
    """

    text: str
    packages: tuple[str, ...] = ("optuna",)


_MODES = {
    "optformer": _Mode("chooses by expected improvement; pending trials have its own prediction"),
    "optformer-ignore": _Mode(
        "chooses by expected improvement; pending trials are ignored", sees_pending=False
    ),
    "optformer-placeholder": _Mode(
        "chooses by expected improvement, away from pending trials, which have a placeholder",
        batch_mode="placeholder",
    ),
    "optformer-sample": _Mode(
        "chooses by expected improvement; pending trials have a sample of its prediction",
        batch_mode="sample",
    ),
    **{f"optformer-{name}": _Mode(text, name) for name, text in STRATEGIES.items() if name != "ei"},
}
_FOREIGN = {
    "cma-es": _Foreign("Optuna's CmaEsSampler", ("optuna", "cmaes")),
    "gp": _Foreign("Optuna's GPSampler, 10 random start-up trials"),
    "gp-1": _Foreign("Optuna's GPSampler, 1 random start-up trial"),
    "gp-3": _Foreign("Optuna's GPSampler, 3 random start-up trials"),
    "optuna-random": _Foreign("Optuna's RandomSampler"),
    "qlogei": _Foreign("BoTorch's Gaussian process, qLogEI after a Sobol start", ("botorch",)),
    "smac": _Foreign("SMAC's random forest", ("smac",)),
    "tpe": _Foreign("Optuna's TPESampler, constant liar"),
}


def method_names() -> list[str]:
    """Every name that `create_rival` takes."""
    from optformer.data.methods import registry

    return sorted({*_MODES, *_FOREIGN, *registry.names()})


def check_methods(methods: Sequence[str]) -> None:
    """Refuse unknown and repeated names.

    Raises:
        ConfigError: A name is unknown or given twice, or there is none.
    """
    if not methods:
        raise ConfigError(f"methods must name at least one of {method_names()}, got none")
    known = method_names()
    for i, name in enumerate(methods):
        if name not in known:
            raise ConfigError(f"unknown method {name!r}; known methods are {known}")
        if name in methods[:i]:
            raise ConfigError(f"method {name!r} is given twice")


def check_available(name: str, *, model: Path | None = None) -> None:
    """Refuse a method that cannot run here.

    Raises:
        MissingExtraError: It needs a package that is not installed.
        CheckpointError: The model is missing or unreadable.
    """
    if name in _MODES:
        _planner(_MODES[name], model)
    elif name in _FOREIGN:
        for package in _FOREIGN[name].packages:
            if find_spec(package) is None:
                raise MissingExtraError(
                    f"method {name!r} needs {package}; "
                    'install it with: pip install "optformer[benchmark]"'
                )


def create_rival(name: str, config: StudyConfig, seed: int, *, model: Path | None = None) -> Rival:
    """Start a method on a study.

    Args:
        name: One of `method_names()`.
        config: The study.
        seed: Non-negative; the method's suggestions depend on nothing else but what it is told.
        model: Checkpoint of OptFormer; None is the shipped one. Other methods ignore it.

    Raises:
        ConfigError: The name is unknown.
        MissingExtraError: The method needs a package that is not installed.
    """
    check_methods([name])
    check_available(name, model=model)
    if name in _MODES:
        return _HistoryRival(_planning(_MODES[name], config, seed, model))
    rng = np.random.default_rng(seed)
    if name not in _FOREIGN:
        from optformer.data.methods import registry

        method = registry.create(name, config)
        return _HistoryRival(lambda history, count: method.suggest(history, count, rng))
    if name == "qlogei":
        from optformer.serving.benchmarks.botorch_rivals import QLogEI

        process = QLogEI(config)
        return _HistoryRival(lambda history, count: process.suggest(history, count, rng))
    if name == "smac":
        from optformer.serving.benchmarks.smac_rivals import SmacRival

        return SmacRival(config, seed)
    from optformer.serving.benchmarks.optuna_rivals import OptunaRival

    return OptunaRival(name, config, seed)


def method_version(name: str, *, model: Path | None = None) -> str:
    """What produced a result: the package's version, and the checkpoint's first digits.

    Raises:
        CheckpointError: The checkpoint holds no weights.
    """
    if name in _FOREIGN:
        library = _FOREIGN[name].packages[0]
        return f"{library} {version(library)}"
    if name not in _MODES:
        return f"optformer {__version__}"
    from optformer.model.checkpoint import SHIPPED

    return f"optformer {__version__} {_digest(model or SHIPPED)}"


def sequential_twin(name: str) -> str:
    """The method that suggests the same as this one where no trial is ever pending."""
    mode = _MODES.get(name)
    if mode is None:
        return name
    return next(twin for twin, other in _MODES.items() if other.strategy == mode.strategy)


def describe_method(name: str) -> str:
    """What a method is, in a line without a full stop.

    Raises:
        ConfigError: The name is unknown.
        MissingExtraError: It needs a package that is not installed.
    """
    check_methods([name])
    if name in _MODES:
        return f"The pretrained model {_MODES[name].text}"
    if name in _FOREIGN:
        check_available(name)
        return _FOREIGN[name].text
    from optformer.data.methods import registry
    from optformer.data.studies.parameters import Float
    from optformer.data.studies.spaces import SearchSpace

    config = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), metric="value", goal="maximize")
    return (type(registry.create(name, config)).__doc__ or "").partition("\n")[0].rstrip(".")


_Suggest: TypeAlias = Callable[[Sequence[Trial], int], list[dict[str, Value]]]
"""History and count to points."""


class _HistoryRival:
    """Whatever suggests from a history, with its history."""

    def __init__(self, suggest: _Suggest) -> None:
        self._suggest = suggest
        self._history: list[Trial] = []

    def ask(self, count: int) -> list[dict[str, Value]]:
        points = self._suggest(self._history, count)
        for params in points:
            self._history.append(Trial(len(self._history), params))
        return points

    def tell(self, params: Mapping[str, Value], value: float | None) -> None:
        key = point_key(params)
        for i, trial in enumerate(self._history):
            if trial.status is TrialStatus.PENDING and point_key(trial.params) == key:
                self._history[i] = _settled(trial, value)
                return
        self._history.append(_settled(Trial(len(self._history), params), value))


def _settled(trial: Trial, value: float | None) -> Trial:
    return trial.fail("the objective gave no value") if value is None else trial.finish(value)


def _planning(mode: _Mode, config: StudyConfig, seed: int, model: Path | None) -> _Suggest:
    planner = _planner(mode, model)

    def suggest(history: Sequence[Trial], count: int) -> list[dict[str, Value]]:
        return [s.params for s in planner.suggest(config, history, count, seed=seed)]

    def suggest_blindly(history: Sequence[Trial], count: int) -> list[dict[str, Value]]:
        settled = [trial for trial in history if trial.status is not TrialStatus.PENDING]
        pending = len(history) - len(settled)
        return [  # with one seed, all would be the same point
            planner.suggest(config, settled, 1, seed=seed + pending + member)[0].params
            for member in range(count)
        ]

    return suggest if mode.sees_pending else suggest_blindly


@lru_cache(maxsize=4)
def _planner(mode: _Mode, model: Path | None) -> Planner:
    from optformer.planning.planner import load_planner

    return load_planner(model, strategy=mode.strategy, batch_mode=mode.batch_mode)


@lru_cache(maxsize=4)
def _digest(model: Path) -> str:
    """First digits of the hash of a checkpoint's weights."""
    import hashlib

    files = sorted(model.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"no *.safetensors in {model}; give the folder of a checkpoint")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
