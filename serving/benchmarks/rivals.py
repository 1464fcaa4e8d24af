"""All methods of a benchmark by name, behind one ask/tell protocol.

Three kinds: OptFormer with one of its strategies, every search method registered in
`optformer.data.methods`, and Optuna's samplers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from optformer._version import __version__
from optformer.data.errors import CheckpointError, ConfigError
from optformer.data.parameters import Value
from optformer.data.studies import StudyConfig
from optformer.data.trials import Trial

if TYPE_CHECKING:
    from optformer.planner import Planner

_STRATEGIES = {
    "optformer": "ei",
    "optformer-pi": "pi",
    "optformer-policy": "policy",
    "optformer-ts": "ts",
    "optformer-ucb": "ucb",
}
_OPTUNA = ("cma-es", "gp", "gp-1", "gp-3", "optuna-random", "tpe")


class Rival(Protocol):
    """One method at work on one study."""

    def ask(self) -> dict[str, Value]:
        """Suggest one legal point."""

    def tell(self, params: Mapping[str, Value], value: float | None) -> None:
        """Report a point's value in the metric's units, None when the trial failed.

        The point need not have been asked for: given initial points are told too.
        """


def method_names() -> list[str]:
    """Every name that `create_rival` takes."""
    from optformer.data.methods import registry

    return sorted({*_STRATEGIES, *_OPTUNA, *registry.names()})


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
    if name in _STRATEGIES:
        _planner(_STRATEGIES[name], model)
    elif name in _OPTUNA:
        from optformer.serving.benchmarks.optuna_rivals import SAMPLERS, quiet

        with quiet():
            SAMPLERS[name](0)


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
    if name in _STRATEGIES:
        return _OptFormerRival(_planner(_STRATEGIES[name], model), config, seed)
    if name in _OPTUNA:
        from optformer.serving.benchmarks.optuna_rivals import OptunaRival

        return OptunaRival(name, config, seed)
    check_methods([name])
    return _MethodRival(name, config, seed)


def method_version(name: str, *, model: Path | None = None) -> str:
    """What produced a result: the package's version, and the checkpoint's first digits.

    Raises:
        CheckpointError: The checkpoint holds no weights.
    """
    if name in _OPTUNA:
        from importlib.metadata import version

        return f"optuna {version('optuna')}"
    if name not in _STRATEGIES:
        return f"optformer {__version__}"
    from optformer.checkpoint import SHIPPED

    return f"optformer {__version__} {_digest(model or SHIPPED)}"


class _MethodRival:
    """A registered search method with its history."""

    def __init__(self, name: str, config: StudyConfig, seed: int) -> None:
        from optformer.data.methods import registry

        self._method = registry.create(name, config)
        self._rng = np.random.default_rng(seed)
        self._history: list[Trial] = []

    def ask(self) -> dict[str, Value]:
        return self._method.suggest(self._history, 1, self._rng)[0]

    def tell(self, params: Mapping[str, Value], value: float | None) -> None:
        self._history.append(_finished(len(self._history), params, value))


class _OptFormerRival:
    """The planner with its history."""

    def __init__(self, planner: Planner, config: StudyConfig, seed: int) -> None:
        self._planner = planner
        self._config = config
        self._seed = seed
        self._history: list[Trial] = []

    def ask(self) -> dict[str, Value]:
        return self._planner.suggest(self._config, self._history, 1, seed=self._seed)[0].params

    def tell(self, params: Mapping[str, Value], value: float | None) -> None:
        self._history.append(_finished(len(self._history), params, value))


def _finished(number: int, params: Mapping[str, Value], value: float | None) -> Trial:
    trial = Trial(number, dict(params))
    return trial.fail("the objective gave no value") if value is None else trial.finish(value)


@lru_cache(maxsize=4)
def _planner(strategy: str, model: Path | None) -> Planner:
    from optformer.planner import load_planner

    return load_planner(model, strategy=strategy)


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
