"""Batches of the synthetic prior, each a pure function of the run's seed and the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from optformer.data.corpora.emulation.functions import (
    USUAL,
    EmulatedFunctions,
    EmulatedTable,
    SpaceVariation,
)
from optformer.data.corpora.synthetic.functions import draw_functions
from optformer.data.corpora.synthetic.histories import (
    METHODS,
    Functions,
    SyntheticHistory,
    draw_probes,
)
from optformer.data.corpora.synthetic.optima import draw_optima
from optformer.data.corpora.synthetic.spaces import SyntheticSpaces, draw_spaces
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.model.tensors import HistoryTensors, MetadataTensors, PointTensors, metadata_batch
from optformer.tokenization.binning import quantize_tensor
from optformer.tokenization.history import MetricKind, ValueKind
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.objective_scale import ObjectiveScale
from optformer.tokenization.symbols import NUM_BINS, SYMBOLS
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import PolicyConfig, PriorConfig
from optformer.training.mixtures.batch import IGNORED, Queries, StudyBatch
from optformer.training.mixtures.queries import (
    draw_optimum_positions,
    draw_pending,
    draw_positions,
    draw_prefix,
    draw_scale,
    draw_slots,
    draw_value_queries,
    ignore_illegal,
    metric_targets,
    observed_y,
)
from optformer.training.mixtures.return_conditioning import condition_policy, scaled_y

_GOALS: tuple[Goal, Goal] = ("maximize", "minimize")
_METRICS = ("accuracy", "validation accuracy", "auc", "f1", "loss", "rmse", "score", "objective")
_SYNONYMS = {
    "acc": ("acc", "accuracy", "validation accuracy", "test accuracy"),
    "auc": ("auc", "roc auc", "area under the curve"),
    "logloss": ("logloss", "log loss", "cross entropy", "negative log likelihood", "loss"),
    "timetrain": ("timetrain", "training time", "training seconds"),
    "accuracy": ("accuracy", "acc", "validation accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "balanced accuracy", "mean recall"),
    "log_loss": ("log_loss", "log loss", "cross entropy", "validation loss"),
    "roc_auc": ("roc_auc", "roc auc", "auc"),
    "f1_macro": ("f1_macro", "macro f1", "f1"),
    "rmse": ("rmse", "root mean squared error", "validation rmse"),
    "mae": ("mae", "mean absolute error", "validation error"),
    "r2": ("r2", "explained variance", "validation r2"),
}
WHOLE_SHARE = 0.4  # of the batches of a table, searches of its whole space
FILLED_SHARE = 0.3  # of the entries of a synthetic study's metadata
METADATA_SHARE = 0.6  # of the entries of the metadata of a table's space that are told
OPTIMA = 24  # value queries of a study about where it is best
OPTIMUM = "optimum"  # told instead of a method where the policy writes where the metric is best
_Name = TypeVar("_Name", int, str)


@dataclass(frozen=True)
class EmulatedSource:
    """A table of real evaluations and the words for what was tuned.

    Attributes:
        functions: Where its functions come from.
        tasks: Ways to say what is learned; what the table itself tells when empty.
        models: Ways to say what is tuned; what the table itself tells when empty.
        weight: How often it is drawn, relative to the other tables.
        variation: How its spaces are written.
        metadata_share: Share of the entries of a space's metadata that are told.
    """

    functions: EmulatedTable
    tasks: Sequence[str]
    models: Sequence[str]
    weight: float = 1.0
    variation: SpaceVariation = USUAL
    metadata_share: float = METADATA_SHARE


@dataclass(frozen=True)
class _Drawn:
    """Functions, and metric, goal and metadata of each of their S spaces."""

    functions: Functions
    metrics: list[str]
    goals: list[Goal]
    metadata: list[dict[str, str]]


class SyntheticPrior:
    """Draws batches of synthetic studies on a device.

    Args:
        config: Distribution of studies.
        vocabulary: Encodes the metadata.
        seed: Seed of the run.
        device: Where functions and histories are drawn.
        tables: Tables that emulated batches come from.
        policy: How the policy learns from the histories.
        probes: Draws the points of metric queries, as `draw_probes` does.
        scale: Draws the scale of a batch's objectives, as `draw_scale` does.

    Raises:
        ConfigError: A method is unknown, or there are no tables to emulate.
    """

    def __init__(
        self,
        config: PriorConfig,
        vocabulary: Vocabulary,
        seed: int,
        device: torch.device | str = "cpu",
        tables: Sequence[EmulatedSource] = (),
        policy: PolicyConfig | None = None,
        probes: Callable[..., SyntheticHistory] = draw_probes,
        scale: Callable[..., ObjectiveScale] = draw_scale,
    ):
        unknown = sorted(config.methods.keys() - METHODS.keys())
        if unknown:
            raise ConfigError(f"unknown method {unknown[0]!r}; known are {sorted(METHODS)}")
        if config.emulated and not tables:
            raise ConfigError(f"emulated={config.emulated} needs tables, got none")
        self.config, self.vocabulary, self.seed = config, vocabulary, seed
        self.device = torch.device(device)
        self.tables = tables
        self.policy = policy or PolicyConfig()
        self.probes, self.scale = probes, scale
        self.words = _plain_words(vocabulary)

    def batch(self, step: int, emulated: float | None = None) -> StudyBatch:
        """The batch of one step.

        Args:
            step: Which step.
            emulated: Probability of functions that emulate a table; the configuration's when
                absent.
        """
        config = self.config
        rng = np.random.default_rng([self.seed, step])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        prefix = draw_prefix(config.max_trials - config.tail, config.short, rng)
        tail = int(rng.integers(1, config.tail + 1))
        length = prefix + tail
        per_study = length + config.probes
        count = max(1, round(config.tokens / per_study / config.studies_per_space))

        drawn = None
        if rng.random() < (config.emulated if emulated is None else emulated):
            weights = {number: table.weight for number, table in enumerate(self.tables)}
            table = self.tables[_pick(weights, rng)]
            drawn = _draw_emulated(table, count, config.studies_per_space, rng)
        else:
            drawn = self._draw_synthetic(count, rng, generator)
        names = sorted(_pick(config.methods, rng) for _ in range(count))
        tried = _histories(drawn.functions, names, length, generator)
        probes = self.probes(drawn.functions, tried, prefix, config.probes, generator)
        optima = None
        if config.optimum and rng.random() < config.optimum:
            parameters = drawn.functions.spaces.choices.shape[1]
            optima = draw_optima(drawn.functions, max(1, OPTIMA // parameters), generator)
            names = [OPTIMUM] * count
        spare = None
        if prefix and rng.random() < config.mining:
            spare = self.probes(drawn.functions, tried, prefix, config.spare, generator)
        return self._assemble(drawn, names, tried, probes, spare, optima, prefix, rng, generator)

    def _draw_synthetic(
        self, count: int, rng: np.random.Generator, generator: torch.Generator
    ) -> _Drawn:
        spaces = draw_spaces(count, _pick(self.config.parameters, rng), rng, self.words)
        spaces = spaces.to(self.device)
        return _Drawn(
            functions=draw_functions(spaces, self.config.studies_per_space, generator),
            metrics=[str(rng.choice(_METRICS)) for _ in range(count)],
            goals=[_GOALS[int(rng.integers(2))] for _ in range(count)],
            metadata=[_filler(self.words, rng) for _ in range(count)],
        )

    def _assemble(
        self,
        drawn: _Drawn,
        names: Sequence[str],
        tried: SyntheticHistory,
        probes: SyntheticHistory,
        spare: SyntheticHistory | None,
        optima: Tensor | None,
        prefix: int,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> StudyBatch:
        spaces = drawn.functions.spaces
        length, parameters = tried.values.shape[2:]
        points = points_of(spaces, tried.values)
        gain = tried.gain.flatten(0, 1)  # (B, T)
        kinds = torch.where(gain.isnan(), int(MetricKind.FAILED), int(MetricKind.VALUE))
        kinds = draw_pending(kinds, prefix, rng, generator)
        scale = self.scale(gain, kinds, prefix, generator)
        position = draw_positions(prefix, length, probes.values.shape[2], rng)
        queried_gain = torch.cat([probes.gain, tried.gain[:, :, prefix:]], 2).flatten(0, 1)
        queried_values = torch.cat([probes.values, tried.values[:, :, prefix:]], 2)

        rows, slots = draw_value_queries(prefix, length, parameters, rng)
        rows, slots = rows.to(self.device), slots.to(self.device)
        queried, positions = points, rows
        if optima is not None:
            queried = points_of(spaces, optima)
            rows = torch.arange(optima.shape[2], device=self.device).repeat_interleave(parameters)
            slots = torch.arange(parameters, device=self.device).repeat(optima.shape[2])
            positions = draw_optimum_positions(prefix, length, optima.shape[2], rng)
            positions = positions.repeat_interleave(parameters).to(self.device)
        y, queried_y = scaled_y(scale, gain), scaled_y(scale, queried_gain)
        conditioning = condition_policy(
            self.policy,
            y,
            torch.ones_like(y, dtype=torch.bool),
            torch.cat([y, queried_y], 1).amax(-1),
            rows,
            rng.spawn(1)[0],  # leaves the batch as it is
        )
        metadata = self._metadata(drawn, conditioning.metadata, names, rng)
        targets = _value_targets(spaces, queried, rows, slots)
        if isinstance(drawn.functions, EmulatedFunctions):
            targets = ignore_illegal(targets, metadata.legal, slots)
        return StudyBatch(
            metadata=metadata,
            history=HistoryTensors(points, observed_y(scale, gain, kinds), kinds),
            prefix=prefix,
            metrics=Queries(
                points_of(spaces, queried_values),
                position.to(self.device),
                metric_targets(scale, queried_gain),
            ),
            values=Queries(queried.partial(rows, slots), positions, targets),
            value_slots=slots,
            value_weights=conditioning.weights if optima is None else None,
            spare=None if spare is None else _spare_queries(spaces, spare, scale, prefix),
        )

    def _metadata(
        self,
        drawn: _Drawn,
        further: Sequence[Mapping[str, str]],
        names: Sequence[str],
        rng: np.random.Generator,
    ) -> MetadataTensors:
        algorithms = [
            name if name == OPTIMUM or rng.random() < self.config.named_algorithm else None
            for name in names
        ]
        parameters = drawn.functions.spaces.choices.shape[1]
        per_space = drawn.functions.per_space
        slots = draw_slots(len(names), parameters, self.config.random_slots, rng)
        return describe_spaces(
            drawn.functions.spaces,
            drawn.metrics,
            algorithms,
            self.vocabulary,
            slots,
            drawn.goals,
            # A study tells its own return where it has a space of its own, see `PolicyConfig`.
            [{**free, **further[s * per_space]} for s, free in enumerate(drawn.metadata)],
        )


def describe_spaces(
    spaces: SyntheticSpaces,
    metrics: Sequence[str],
    algorithms: Sequence[str | None],
    vocabulary: Vocabulary,
    slots: np.ndarray | None = None,
    goals: Sequence[Goal] | None = None,
    metadata: Sequence[Mapping[str, str]] | None = None,
) -> MetadataTensors:
    """The metadata of synthetic spaces.

    Args:
        spaces: S spaces.
        metrics: Name of each space's metric.
        algorithms: Search method named in each space's metadata, None for none.
        vocabulary: Encodes them.
        slots: Slot vectors to use, (S, P); in order when absent.
        goals: Goal each space's metadata tells; values are maximized inside whatever it says.
        metadata: Free metadata of each space; none when absent.
    """
    goals = goals or [_GOALS[0]] * len(metrics)
    metadata = metadata or [{}] * len(metrics)
    encodings = [
        encode_metadata(
            StudyConfig(space=space, metric=metric, goal=goal, metadata=free),
            vocabulary,
            algorithm=algorithm,
        )
        for space, metric, goal, free, algorithm in zip(
            spaces.described, metrics, goals, metadata, algorithms, strict=True
        )
    ]
    return metadata_batch(encodings, [legal_values(space) for space in spaces.described], slots)


def _pick(weights: Mapping[_Name, float], rng: np.random.Generator) -> _Name:
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _draw_emulated(
    table: EmulatedSource, count: int, functions: int, rng: np.random.Generator
) -> _Drawn:
    """Functions on the table's whole space or on a part of it."""
    whole = len(table.functions.space)
    parameters = whole if rng.random() < WHOLE_SHARE else int(rng.integers(1, whole + 1))
    drawn, metrics, goals, metadata = table.functions.draw(
        count, parameters, functions, rng, table.variation
    )
    return _Drawn(
        functions=drawn,
        metrics=[str(rng.choice(_SYNONYMS.get(metric, (metric,)))) for metric in metrics],
        goals=goals,
        metadata=[_described(table, about, rng) for about in metadata],
    )


def _described(
    table: EmulatedSource, about: Mapping[str, str], rng: np.random.Generator
) -> dict[str, str]:
    """What an engineer may tell: sometimes all, often a part."""
    ways = {"task": table.tasks, "model": table.models}
    entries = {**about, **{key: str(rng.choice(texts)) for key, texts in ways.items() if texts}}
    return {key: text for key, text in entries.items() if rng.random() < table.metadata_share}


def _filler(words: Sequence[str], rng: np.random.Generator) -> dict[str, str]:
    """Words that mean nothing for a synthetic function, so that unknown words do no harm."""
    return {
        key: " ".join(str(word) for word in rng.choice(words, int(rng.integers(1, 4))))
        for key in ("task", "dataset", "model")
        if rng.random() < FILLED_SHARE
    }


def _plain_words(vocabulary: Vocabulary) -> list[str]:
    """Words and parts of words that are one token."""
    text = (vocabulary.decode_text([token]) for token in range(len(SYMBOLS), vocabulary.size))
    return sorted({word for word in text if len(word) > 1 and word.isascii() and word.isalpha()})


def _histories(
    functions: Functions,
    names: Sequence[str],
    length: int,
    generator: torch.Generator,
) -> SyntheticHistory:
    parts = []
    for name in sorted(set(names)):
        rows = slice(names.index(name), names.index(name) + names.count(name))
        parts.append(METHODS[name](functions.select(rows), length, generator))
    return SyntheticHistory(
        torch.cat([part.values for part in parts]), torch.cat([part.gain for part in parts])
    )


def points_of(spaces: SyntheticSpaces, values: Tensor) -> PointTensors:
    """(S, F, N, P) values as the model's points, (B, N, P)."""
    choice = spaces.is_choice[:, None, None].expand_as(values)
    kinds = torch.where(choice, int(ValueKind.CHOICE), int(ValueKind.NUMBER))
    active = spaces.active(values)
    kinds = torch.where(active, kinds, int(ValueKind.INACTIVE))
    return PointTensors((values * active).flatten(0, 1), kinds.flatten(0, 1))


def _spare_queries(
    spaces: SyntheticSpaces, spare: SyntheticHistory, scale: ObjectiveScale, prefix: int
) -> Queries:
    position = torch.full(spare.values.shape[2:3], prefix, device=spare.values.device)
    target = metric_targets(scale, spare.gain.flatten(0, 1))
    return Queries(points_of(spaces, spare.values), position, target)


def _value_targets(
    spaces: SyntheticSpaces, points: PointTensors, rows: Tensor, slots: Tensor
) -> Tensor:
    """Bin, or Q + choice, of the queried values, (B, N)."""
    studies = points.values.shape[0] // spaces.choices.shape[0]
    value = points.values[:, rows, slots].double()  # (B, N)
    kind = points.kinds[:, rows, slots]
    steps = (spaces.levels[:, slots] - 1).clamp(min=1).repeat_interleave(studies, 0)
    stepped = spaces.levels[:, slots].repeat_interleave(studies, 0) > 0
    # Levels are binned from exact fractions, as the tokenizer does.
    value = torch.where(
        stepped & (kind == ValueKind.NUMBER), (value * steps).round() / steps, value
    )
    bins = quantize_tensor(value)  # agrees with the legality mask on values at edges
    target = torch.where(kind == ValueKind.CHOICE, NUM_BINS + value.long(), bins)
    return torch.where(kind == ValueKind.INACTIVE, IGNORED, target)
