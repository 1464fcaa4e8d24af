"""Configuration of a training run, read from YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from optformer.data.errors import ConfigError
from optformer.data.studies import Goal
from optformer.tokenization.symbols import MAX_PARAMETERS

_Section = TypeVar("_Section")


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """The synthetic prior.

    Attributes:
        parameters: Probability of each number of parameters.
        max_trials: Longest history drawn.
        studies_per_space: Functions F drawn on each space.
        tokens: Trials and metric questions in a batch, about.
        probes: Metric questions a study, beside those about the trials after the prefix.
        tail: Most trials after the prefix.
        spare: Further metric questions a study, of which `mined` are asked.
        mined: Questions a study that the model picks itself (see `optformer.training.mining`).
        mining: Share of the batches with such questions.
        methods: Probability of each method of `optformer.data.synthetic.histories`.
        random_slots: Share of batches whose slot vectors are a random subset.
        named_algorithm: Share of spaces whose metadata names the method.
        emulated: Share of batches whose functions emulate the run's tables.
    """

    parameters: Mapping[int, float]
    max_trials: int = 128
    studies_per_space: int = 4
    tokens: int = 4096
    probes: int = 48
    tail: int = 8
    spare: int = 48
    mined: int = 8
    mining: float = 0.35
    methods: Mapping[str, float] = field(
        default_factory=lambda: {
            "random": 0.2,
            "quasi-random": 0.05,
            "local search": 0.1,
            "clustered": 0.2,
            "gp ei": 0.45,
        }
    )
    random_slots: float = 0.25
    named_algorithm: float = 0.6
    emulated: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self)
        for name in ("studies_per_space", "tokens", "probes", "tail", "mined"):
            _check_positive(self, name)
        if self.mined > self.spare:
            raise ConfigError(f"mined must be at most spare={self.spare}, got {self.mined}")
        if self.max_trials <= self.tail:
            raise ConfigError(f"max_trials must be above tail={self.tail}, got {self.max_trials}")
        try:
            # YAML gives numbers as keys, JSON text.
            counts = {int(count): float(share) for count, share in self.parameters.items()}
        except (AttributeError, TypeError, ValueError):
            counts = {}
        if not counts or min(counts) < 1 or max(counts) > MAX_PARAMETERS or not _shares(counts):
            raise ConfigError(
                f"parameters must give numbers from 1 to {MAX_PARAMETERS} a share each, "
                f"got {self.parameters!r}"
            )
        object.__setattr__(self, "parameters", counts)
        if not isinstance(self.methods, Mapping) or not _shares(self.methods):
            raise ConfigError(f"methods must give names a share each, got {self.methods!r}")


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """A table of real evaluations to learn from, see `optformer.data.emulation.tables`.

    Attributes:
        path: Parquet file with its space beside it; relative to the run's `tables` folder.
        tasks: Ways to say what is learned; metadata of a study has one, or none.
        models: Ways to say what is tuned.
        goals: The metrics to learn, with their goals.
        held_out: Share of the data sets that training never sees.
    """

    path: str
    tasks: Sequence[str]
    models: Sequence[str]
    goals: Mapping[str, Goal]
    held_out: float = 0.15

    def __post_init__(self) -> None:
        _check_numbers(self)
        for name in ("tasks", "models"):
            texts = getattr(self, name)
            if isinstance(texts, str) or not all(isinstance(t, str) for t in texts) or not texts:
                raise ConfigError(f"{name} of table {self.path!r} must list texts, got {texts!r}")
            object.__setattr__(self, name, list(texts))
        if not isinstance(self.goals, Mapping) or not self.goals:
            raise ConfigError(f"goals of table {self.path!r} must name metrics, got {self.goals!r}")
        for metric, goal in self.goals.items():
            if goal not in ("maximize", "minimize"):
                raise ConfigError(f"goal of {metric!r} must be maximize or minimize, got {goal!r}")
        if self.held_out >= 1:
            raise ConfigError(f"held_out must be in [0, 1), got {self.held_out}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A training run.

    Attributes:
        model: Size of the model: tiny, small or base.
        prior: What it is trained on.
        tables: Tables of real evaluations; `prior.emulated` of the batches come from them.
        seed: Seed of weights and data.
        steps: Length of the schedule.
        warmup: Steps until the full learning rate.
        learning_rate: Peak rate of AdamW (embeddings, norms, heads).
        matrix_learning_rate: Peak rate of Muon (hidden matrices), on AdamW's scale.
        weight_decay: Decoupled decay of hidden matrices.
        clip: Largest norm of the gradient.
        metric_share: Weight of the metric's loss; the rest is the policy's.
        ema: Decay of the averaged weights.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between log entries.
        workers: Processes that draw batches; 0 draws in the training process.
        batches_per_step: Batches whose gradients are averaged in a step; the training processes
            share them, so their number does not change the result.
        validate_every: Steps between validations; 0 for none.
        peak_teraflops: What a process's device can do in bf16, in 10^12 operations a second; 0
            measures it.
    """

    model: str
    prior: PriorConfig
    tables: Sequence[TableConfig] = ()
    seed: int = 0
    steps: int = 10_000
    warmup: int = 200
    learning_rate: float = 2e-3
    matrix_learning_rate: float = 4e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    metric_share: float = 0.8
    ema: float = 0.998
    checkpoint_every: int = 250
    log_every: int = 20
    workers: int = 1
    batches_per_step: int = 1
    validate_every: int = 500
    peak_teraflops: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self)
        for name in ("steps", "warmup", "checkpoint_every", "log_every", "batches_per_step"):
            _check_positive(self, name)
        if (self.prior.emulated > 0) != bool(self.tables):
            raise ConfigError(
                "tables and prior.emulated belong together, got "
                f"{len(self.tables)} tables and emulated={self.prior.emulated}"
            )
        if not self.ema < 1:
            raise ConfigError(f"ema must be in [0, 1), got {self.ema}")
        if not 0.5 <= self.metric_share <= 1:
            raise ConfigError(f"metric_share must be in [0.5, 1], got {self.metric_share}")

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Build from plain values, refusing unknown names."""
        settings = dict(values)
        if not isinstance(settings.get("prior"), Mapping):
            raise ConfigError("a training configuration needs a 'prior' section")
        settings["prior"] = _section(PriorConfig, settings["prior"])
        settings["tables"] = tuple(
            _section(TableConfig, table) for table in settings.get("tables", ())
        )
        return _section(cls, settings)

    @classmethod
    def load(cls, path: str | Path) -> TrainingConfig:
        """Read a YAML file."""
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read the training configuration {path}: {error}") from error
        if not isinstance(values, Mapping):
            raise ConfigError(f"{path} must hold a mapping of settings")
        return cls.from_dict(values)


def _check_numbers(section: Any) -> None:
    """What is declared as a number must be one, finite and not negative."""
    for item in fields(section):
        value = getattr(section, item.name)
        if item.type == "int":
            kind, fits = "whole number", isinstance(value, int) and not isinstance(value, bool)
        elif item.type == "float":
            kind, fits = "number", _is_number(value)
        else:
            continue
        if not fits or not 0 <= value < math.inf:
            raise ConfigError(
                f"{item.name} must be a {kind} of at least 0, got {value!r}"
                + ("; YAML takes 1e-3 for text, write 0.001" if isinstance(value, str) else "")
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_positive(section: Any, name: str) -> None:
    if getattr(section, name) < 1:
        raise ConfigError(f"{name} must be at least 1, got {getattr(section, name)}")


def _shares(table: Mapping[Any, Any]) -> bool:
    """Whether all values are shares: numbers, none negative, not all zero."""
    shares: list[Any] = list(table.values())
    legal = all(_is_number(share) and 0 <= share < math.inf for share in shares)
    return legal and any(shares)


def _section(cls: type[_Section], values: Mapping[str, Any]) -> _Section:
    known = {item.name for item in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(values.keys() - known)
    if unknown:
        raise ConfigError(
            f"unknown setting {unknown[0]!r} in {cls.__name__}; known: {sorted(known)}"
        )
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}") from error
