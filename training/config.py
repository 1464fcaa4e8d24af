"""Configuration of a training run, read from YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.study_config import Goal
from optformer.data.studies.yaml_json import parse_yaml
from optformer.tokenization.symbols import MAX_PARAMETERS
from optformer.training.settings import (
    Count,
    Fraction,
    Positive,
    Share,
    are_shares,
    build,
    check_numbers,
)

SOURCES = ("synthetic", "emulated", "histories")
"""Where a batch may come from."""

OBJECTIVES = ("imitation", "returns", "advantages")
"""What the policy may learn from recorded trials."""

_OLD_NAMES = {"PolicyConfig": {"marked": "conditioned"}}
"""Settings of earlier releases by their present names; their configurations open as before."""


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """The synthetic prior.

    Attributes:
        parameters: Probability of each number of parameters.
        max_trials: Longest history drawn.
        short: Share of the batches whose studies have had at most five trials.
        studies_per_space: Functions F drawn on each space.
        tokens: Trials and metric queries in a batch, about.
        probes: Metric queries a study, beside those about the trials after the prefix.
        tail: Most trials after the prefix.
        spare: Further metric queries a study, of which `mined` are taken.
        mined: Queries a study that the model picks itself (see `optformer.training.mining`).
        mining: Share of the batches with such queries.
        methods: Probability of each method of `optformer.data.corpora.synthetic.histories`.
        random_slots: Share of batches whose slot vectors are a random subset.
        named_algorithm: Share of spaces whose metadata names the method.
        emulated: Share of batches whose functions emulate the run's tables, in a run without a
            mixture.
        optimum: Share of the batches whose policy learns where the functions are best, instead of
            what the method tries next.
    """

    parameters: Mapping[int, float]
    max_trials: int = 128
    short: Share = 0.2
    studies_per_space: Count = 4
    tokens: Count = 4096
    probes: Count = 48
    tail: Count = 8
    spare: int = 48
    mined: Count = 8
    mining: Share = 0.35
    methods: Mapping[str, float] = field(
        default_factory=lambda: {
            "random": 0.2,
            "quasi-random": 0.05,
            "local search": 0.1,
            "clustered": 0.2,
            "gp ei": 0.45,
        }
    )
    random_slots: Share = 0.25
    named_algorithm: Share = 0.6
    emulated: Share = 0.0
    optimum: Share = 0.0

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.mined > self.spare:
            raise ConfigError(f"mined must be at most spare={self.spare}, got {self.mined}")
        if self.max_trials <= self.tail:
            raise ConfigError(f"max_trials must be above tail={self.tail}, got {self.max_trials}")
        try:
            # YAML gives numbers as keys, JSON text.
            counts = {_whole(count): float(share) for count, share in self.parameters.items()}
        except (AttributeError, TypeError, ValueError):
            counts = {}
        if not counts or min(counts) < 1 or max(counts) > MAX_PARAMETERS or not are_shares(counts):
            raise ConfigError(
                f"parameters must give numbers from 1 to {MAX_PARAMETERS} a share each, "
                f"got {self.parameters!r}"
            )
        object.__setattr__(self, "parameters", counts)
        if not are_shares(self.methods):
            raise ConfigError(f"methods must give names a share each, got {self.methods!r}")


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Real evaluations to emulate: a table, a folder of tables, or generated histories.

    Attributes:
        path: Table of trials (see `optformer.data.studies.study_tables`), a folder of tables with a
            `corpus.yaml`, or a folder of histories (see
            `optformer.data.corpora.emulation.histories`), which makes a table of each model and
            kind of data; relative to the run's `tables` folder.
        goals: The metrics to learn, with their goals; none for folders, which tell them.
        tasks: Ways to say what is learned; metadata of a study has one, or none. Folders tell them.
        models: Ways to say what is tuned, as for `tasks`.
        licence: The licence it is taken under; a `corpus.yaml` that tells another one ends the run.
        held_out: Share of the data sets that training never sees.
        weight: How often its functions are drawn, relative to those of the other entries; the
            tables of a folder share it.
        left_out: Names of tables of a folder that training never sees, or patterns of the shell's
            kind.
    """

    path: str
    goals: Mapping[str, Goal] = field(default_factory=dict)
    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    licence: str | None = None
    held_out: Fraction = 0.15
    weight: Positive = 1.0
    left_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_numbers(self)
        _check_evaluations(self)
        for name in ("tasks", "models"):
            texts = getattr(self, name)
            listed = isinstance(texts, Sequence) and not isinstance(texts, str)
            if not listed or not all(isinstance(text, str) for text in texts):
                raise ConfigError(f"{name} of table {self.path!r} must list texts, got {texts!r}")
            if bool(texts) != bool(self.goals):
                raise ConfigError(
                    f"a table has goals, tasks and models, a folder of tables or histories none of "
                    f"them; {self.path!r} has goals {dict(self.goals)} and {name} {list(texts)}"
                )
            object.__setattr__(self, name, list(texts))
        patterns = self.left_out
        if isinstance(patterns, str) or not all(isinstance(text, str) for text in patterns):
            raise ConfigError(f"left_out of {self.path!r} must list names, got {patterns!r}")
        if patterns and self.goals:
            raise ConfigError(
                f"left_out is about the tables of a folder; {self.path!r} is one table"
            )
        object.__setattr__(self, "left_out", list(patterns))


@dataclass(frozen=True, kw_only=True)
class HistoriesConfig:
    """Recorded studies to learn from, see `optformer.training.mixtures.recorded`.

    Attributes:
        path: Folder that `optformer generate` wrote, or one of such folders; a file of recorded
            studies (see `optformer.data.studies.study_files`); or, with `goals`, a table of one's
            own trials or a folder of them (see `optformer.data.studies.study_tables`). Relative to
            the run's `tables` folder.
        goals: The metrics of one's own tables, with their goals; none for what tells them.
        held_out: Share of the data sets that training never sees; the same ones as of a table.
        weight: How often its studies are drawn, relative to those of the other folders.
        reordered: Share of the studies whose parameters and choices change their order.
        unnamed: Share of the studies that are told without names, metadata and descriptions, half
            of their numeric axes mirrored.
        left_out: Share of the entries of metadata, and of the descriptions, that the others are
            told without.
    """

    path: str
    goals: Mapping[str, Goal] = field(default_factory=dict)
    held_out: Fraction = 0.15
    weight: Positive = 1.0
    reordered: Share = 0.75
    unnamed: Share = 0.25
    left_out: Share = 0.25

    def __post_init__(self) -> None:
        check_numbers(self)
        _check_evaluations(self)


@dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """Which share of the batches comes from where: `synthetic`, `emulated` or `histories`.

    Attributes:
        start: Weight of each source at the first step; sources left out have none.
        end: Weights at the last step, which they reach linearly; those of the start when absent.
    """

    start: Mapping[str, float]
    end: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            weights = getattr(self, name)
            if weights is None and name == "end":
                continue
            if not are_shares(weights):
                raise ConfigError(f"{name} must give sources a weight each, got {weights!r}")
            unknown = sorted(weights.keys() - set(SOURCES))
            if unknown:
                raise ConfigError(f"unknown source {unknown[0]!r} in {name}; known: {SOURCES}")

    def shares(self, done: float) -> dict[str, float]:
        """Shares of all sources after a part of the run, in [0, 1]; they sum to one."""
        first, last = _normalized(self.start), _normalized(self.end or self.start)
        mixed = {name: (1 - done) * first[name] + done * last[name] for name in SOURCES}
        return _normalized(mixed)


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """What the policy learns from trials, see `optformer.training.mixtures.return_conditioning`.

    Attributes:
        objective: "imitation" of the trials as they are, conditioned on "returns" told in the
            metadata, or weighted by "advantages".
        conditioned: Share of the studies whose metadata tell their return ("returns").
        temperature: Advantage, on the unit interval, that multiplies a weight by e ("advantages").
        largest_weight: Where weights are clipped ("advantages").
    """

    objective: str = "imitation"
    conditioned: Share = 0.8
    temperature: Positive = 0.1
    largest_weight: Positive = 10.0

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.objective not in OBJECTIVES:
            raise ConfigError(f"objective must be one of {OBJECTIVES}, got {self.objective!r}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A training run.

    Attributes:
        model: Size of the model: tiny, small or base.
        prior: What it is trained on.
        tables: Tables of real evaluations, which emulated batches come from.
        histories: Folders of recorded studies.
        mixture: Shares of the sources; without it, `prior.emulated` of the batches are emulated and
            the others synthetic.
        policy: What the policy learns from trials.
        seed: Seed of weights and data.
        steps: Length of the schedule; the most that a run of so many seconds takes.
        seconds: Length of the schedule by the clock, for a machine that is there for a given time:
            the learning rate falls with the time that the steps took, and the run ends with it. 0
            lets the rate fall with the steps.
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
        peak_teraflops: What a process's device can do in the precision that it trains in, in 10^12
            operations a second; 0 measures it.
    """

    model: str
    prior: PriorConfig
    tables: Sequence[TableConfig] = ()
    histories: Sequence[HistoriesConfig] = ()
    mixture: MixtureConfig | None = None
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    seed: int = 0
    steps: Count = 10_000
    seconds: float = 0.0
    warmup: Count = 200
    learning_rate: float = 2e-3
    matrix_learning_rate: float = 4e-3
    weight_decay: float = 0.01
    clip: Positive = 1.0
    metric_share: Share = 0.8
    ema: Fraction = 0.998
    checkpoint_every: Count = 250
    log_every: Count = 20
    workers: int = 1
    batches_per_step: Count = 1
    validate_every: int = 500
    peak_teraflops: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self)
        self._check_sources()
        if not isinstance(self.model, str):
            raise ConfigError(f"model must be the name of a size, got {self.model!r}")
        if self.seed >= 2**63:
            raise ConfigError(f"seed must be below 2**63, got {self.seed}")
        if self.metric_share < 0.5:
            raise ConfigError(f"metric_share must be in [0.5, 1], got {self.metric_share}")

    def _check_sources(self) -> None:
        """Every source that is drawn from is there, and every one that is there is drawn from."""
        if self.mixture is not None and self.prior.emulated:
            raise ConfigError(
                f"prior.emulated={self.prior.emulated} and mixture both say how many batches are "
                "emulated; leave prior.emulated out"
            )
        ends = (self.shares(0), self.shares(self.steps))
        for source, given in (("emulated", "tables"), ("histories", "histories")):
            wanted = any(shares[source] for shares in ends)
            if wanted != bool(getattr(self, given)):
                raise ConfigError(
                    f"{given} and the share of {source!r} batches belong together, got "
                    f"{len(getattr(self, given))} {given} and shares from {ends[0][source]:g} to "
                    f"{ends[1][source]:g}"
                )
        if self.policy.objective == "returns" and self.prior.studies_per_space != 1:
            raise ConfigError(
                "policy.objective='returns' tells each study's return in its metadata and needs "
                f"prior.studies_per_space=1, got {self.prior.studies_per_space}"
            )

    def shares(self, step: float) -> dict[str, float]:
        """Share of the batches at a step that comes from each of `SOURCES`."""
        emulated = self.prior.emulated
        plain = MixtureConfig(start={"synthetic": 1 - emulated, "emulated": emulated})
        return (self.mixture or plain).shares(min(step / self.steps, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Build from plain values, refusing unknown names."""
        settings = dict(values)
        if settings.get("policy") is None:
            settings.pop("policy", None)
        return build(cls, settings, _OLD_NAMES)

    @classmethod
    def load(cls, path: str | Path) -> TrainingConfig:
        """Read a YAML file.

        Raises:
            ConfigError: It cannot be read, or a setting is unknown, missing or out of range.
        """
        try:
            values = parse_yaml(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the training configuration {path}: {error}") from error
        if not isinstance(values, Mapping):
            raise ConfigError(f"{path} must hold a mapping of settings")
        return cls.from_dict(values)


def find_config(name: str | Path) -> Path:
    """A configuration's file: the one of this path, or the packaged one of this bare name.

    Raises:
        ConfigError: There is neither.
    """
    path, folder = Path(name), Path(__file__).parent / "configs"
    if path.exists():
        return path
    if path.name == str(name) and (folder / path).exists():
        return folder / path
    packaged = sorted(file.name for file in folder.glob("*.yaml"))
    raise ConfigError(f"there is no configuration {str(name)!r}; packaged ones are {packaged}")


def _check_evaluations(section: TableConfig | HistoriesConfig) -> None:
    """What a source of real evaluations needs: goals of metrics, a weight, data sets to learn."""
    if not isinstance(section.path, str) or not section.path:
        raise ConfigError(f"path must name a file or folder, got {section.path!r}")
    if not isinstance(section.goals, Mapping):
        raise ConfigError(f"goals of {section.path!r} must name metrics, got {section.goals!r}")
    for metric, goal in section.goals.items():
        if goal not in ("maximize", "minimize"):
            raise ConfigError(f"goal of {metric!r} must be maximize or minimize, got {goal!r}")


def _whole(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise ValueError
    return int(key)


def _normalized(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights of all sources that sum to one."""
    total = sum(weights.values())
    return {name: weights.get(name, 0.0) / total for name in SOURCES}
