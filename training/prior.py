"""Batches of the synthetic prior, each a pure function of the run's seed and the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from optformer.batch import UNSET, History, Metadata, Points, metadata_batch
from optformer.data.errors import ConfigError
from optformer.data.studies import Goal, StudyConfig
from optformer.data.synthetic.functions import SyntheticFunctions, draw_functions
from optformer.data.synthetic.histories import METHODS, SyntheticHistory, draw_probes
from optformer.data.synthetic.spaces import SyntheticSpaces, draw_spaces
from optformer.tokenization.binning import quantize_tensor
from optformer.tokenization.history import MetricKind, ValueKind
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.objective_scale import ObjectiveScale, fit_scale
from optformer.tokenization.symbols import MAX_PARAMETERS, NUM_BINS
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.batch import IGNORED, Questions, StudyBatch
from optformer.training.config import PriorConfig

_GOALS: tuple[Goal, Goal] = ("maximize", "minimize")
_METRICS = ("accuracy", "validation accuracy", "auc", "f1", "loss", "rmse", "score", "objective")
_Name = TypeVar("_Name", int, str)


class SyntheticPrior:
    """Draws batches of synthetic studies on a device.

    Args:
        config: Distribution of studies.
        vocabulary: Encodes the metadata.
        seed: Seed of the run.
        device: Where functions and histories are drawn.

    Raises:
        ConfigError: A method is unknown.
    """

    def __init__(
        self,
        config: PriorConfig,
        vocabulary: Vocabulary,
        seed: int,
        device: torch.device | str = "cpu",
    ):
        unknown = sorted(config.methods.keys() - METHODS.keys())
        if unknown:
            raise ConfigError(f"unknown method {unknown[0]!r}; known are {sorted(METHODS)}")
        self.config, self.vocabulary, self.seed = config, vocabulary, seed
        self.device = torch.device(device)

    def batch(self, step: int) -> StudyBatch:
        """The batch of one step."""
        config = self.config
        rng = np.random.default_rng([self.seed, step])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        parameters = _pick(config.parameters, rng)
        prefix = _draw_prefix(config.max_trials - config.tail, rng)
        tail = int(rng.integers(1, config.tail + 1))
        length = prefix + tail
        per_study = length + config.probes
        count = max(1, round(config.tokens / per_study / config.studies_per_space))

        spaces = draw_spaces(count, parameters, rng)
        names = [_pick(config.methods, rng) for _ in range(count)]
        order = sorted(range(count), key=lambda i: names[i])  # one method's spaces together
        names = sorted(names)
        spaces = _reorder(spaces, order, self.device)
        functions = draw_functions(spaces, config.studies_per_space, generator)
        tried = _histories(functions, names, length, generator)
        probes = draw_probes(functions, tried, prefix, config.probes, generator)
        return self._assemble(spaces, names, tried, probes, prefix, rng, generator)

    def _assemble(
        self,
        spaces: SyntheticSpaces,
        names: Sequence[str],
        tried: SyntheticHistory,
        probes: SyntheticHistory,
        prefix: int,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> StudyBatch:
        length, parameters = tried.values.shape[2:]
        points = points_of(spaces, tried.values)
        outcome = tried.outcome.flatten(0, 1)  # (B, T)
        kinds = _outcome_kinds(outcome, prefix, rng, generator)
        scale = _scale(outcome, kinds, prefix, generator)
        metric = torch.where(
            kinds == MetricKind.VALUE,
            scale.to_unit(outcome.nan_to_num()),
            torch.zeros_like(outcome),
        )
        position = torch.from_numpy(
            np.sort(rng.integers(prefix, length + 1, probes.values.shape[2]))
        )
        # Half of the probes ask right after the prefix.
        position[rng.random(len(position)) < 0.5] = prefix
        # The trials after the prefix are asked as well: points that a method has selected.
        position = torch.cat([position, torch.arange(prefix, length)])
        answers = torch.cat([probes.outcome, tried.outcome[:, :, prefix:]], 2).flatten(0, 1)
        asked_points = torch.cat([probes.values, tried.values[:, :, prefix:]], 2)
        bins = (scale.to_unit(answers.nan_to_num()) * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        target = torch.where(answers.isnan(), NUM_BINS, bins)

        asked = prefix + rng.permutation(length - prefix)[: max(1, 8 // max(parameters, 1))]
        asked = np.sort(asked[:2])
        slots = torch.arange(parameters, device=self.device).repeat(len(asked))
        rows = torch.from_numpy(np.repeat(asked, parameters)).to(self.device)
        return StudyBatch(
            metadata=self._metadata(spaces, names, rng),
            history=History(points, metric, kinds),
            prefix=prefix,
            metrics=Questions(points_of(spaces, asked_points), position.to(self.device), target),
            values=Questions(
                partial_points(points, rows, slots),
                rows,
                _value_targets(spaces, points, rows, slots),
            ),
            value_slots=slots,
        )

    def _metadata(
        self, spaces: SyntheticSpaces, names: Sequence[str], rng: np.random.Generator
    ) -> Metadata:
        metrics, algorithms = [], []
        for name in names:
            metrics.append(str(rng.choice(_METRICS)))
            algorithms.append(name if rng.random() < self.config.named_algorithm else None)
        slots = None
        if rng.random() < self.config.random_slots:
            parameters = spaces.choices.shape[1]
            slots = np.stack([np.sort(rng.permutation(MAX_PARAMETERS)[:parameters]) for _ in names])
        goals: list[Goal] = [_GOALS[int(rng.integers(2))] for _ in names]
        return describe_spaces(spaces, metrics, algorithms, self.vocabulary, slots, goals)


def describe_spaces(
    spaces: SyntheticSpaces,
    metrics: Sequence[str],
    algorithms: Sequence[str | None],
    vocabulary: Vocabulary,
    slots: np.ndarray | None = None,
    goals: Sequence[Goal] | None = None,
) -> Metadata:
    """The metadata of synthetic spaces.

    Args:
        spaces: S spaces.
        metrics: Name of each space's metric.
        algorithms: Search method named in each space's metadata, None for none.
        vocabulary: Encodes them.
        slots: Slot vectors to use, (S, P); in order when absent.
        goals: Goal each space's metadata tells; values are maximized inside whatever it says.
    """
    goals = goals or [_GOALS[0]] * len(metrics)
    encodings = [
        encode_metadata(
            StudyConfig(space=space, metric=metric, goal=goal), vocabulary, algorithm=algorithm
        )
        for space, metric, goal, algorithm in zip(
            spaces.described, metrics, goals, algorithms, strict=True
        )
    ]
    return metadata_batch(encodings, [legal_values(space) for space in spaces.described], slots)


def _pick(weights: Mapping[_Name, float], rng: np.random.Generator) -> _Name:
    names = list(weights)
    chances = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def _draw_prefix(longest: int, rng: np.random.Generator) -> int:
    """A fifth of the prefixes is very short, half is 16 to 56, the rest reaches the longest."""
    kind = rng.random()
    if kind < 0.2:
        return int(rng.integers(0, min(5, longest) + 1))
    if kind < 0.7:
        return int(rng.integers(min(16, longest), min(56, longest) + 1))
    return int(rng.integers(min(3, longest), longest + 1))


def _reorder(
    spaces: SyntheticSpaces, order: Sequence[int], device: torch.device
) -> SyntheticSpaces:
    index = torch.tensor(order)
    return SyntheticSpaces(
        spaces.choices[index].to(device),
        spaces.levels[index].to(device),
        spaces.parent[index].to(device),
        spaces.allowed[index].to(device),
        tuple(spaces.described[i] for i in order),
    )


def _histories(
    functions: SyntheticFunctions,
    names: Sequence[str],
    length: int,
    generator: torch.Generator,
) -> SyntheticHistory:
    parts = []
    for name in sorted(set(names)):
        rows = slice(names.index(name), names.index(name) + names.count(name))
        parts.append(METHODS[name](functions.select(rows), length, generator))
    return SyntheticHistory(
        torch.cat([part.values for part in parts]), torch.cat([part.outcome for part in parts])
    )


def points_of(spaces: SyntheticSpaces, values: Tensor) -> Points:
    """(S, F, N, P) values as the model's points, (B, N, P)."""
    choice = spaces.is_choice[:, None, None].expand_as(values)
    kinds = torch.where(choice, int(ValueKind.CHOICE), int(ValueKind.NUMBER))
    active = spaces.active(values)
    kinds = torch.where(active, kinds, int(ValueKind.INACTIVE))
    return Points((values * active).flatten(0, 1), kinds.flatten(0, 1))


def _outcome_kinds(
    outcome: Tensor, prefix: int, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Failed where NaN; some of the last and a few random trials pending."""
    studies, length = outcome.shape
    kinds = torch.where(outcome.isnan(), int(MetricKind.FAILED), int(MetricKind.VALUE))
    draw = torch.rand(studies, length, generator=generator, device=outcome.device)
    place = torch.arange(length, device=outcome.device)
    pending = torch.zeros_like(draw, dtype=torch.bool)
    if rng.random() < 0.3:
        last = int(rng.integers(1, 17))
        pending |= (place >= prefix - last) & (place < prefix) & (place > 0)
    if rng.random() < 0.2:
        pending |= draw < 0.05
    # After the prefix: whole studies either know the results, or wait for all of them.
    waiting = torch.rand(studies, 1, generator=generator, device=outcome.device) < 0.5
    pending |= waiting & (place >= prefix)
    return torch.where(pending, int(MetricKind.PENDING), kinds)


def _scale(
    outcome: Tensor, kinds: Tensor, prefix: int, generator: torch.Generator
) -> ObjectiveScale:
    """The scale of the prefix, jittered; random where it says nothing about the spread."""
    studies = outcome.shape[0]

    def normal() -> Tensor:
        return torch.randn(studies, 1, generator=generator, device=outcome.device)

    known = kinds[:, :prefix] == MetricKind.VALUE
    scale = fit_scale(outcome[:, :prefix].nan_to_num(), known, torch.exp(0.7 * normal()))
    anchor = torch.where(known.any(-1, keepdim=True), 0.02, 0.15)
    return ObjectiveScale(
        scale.median,
        scale.spread,
        scale.slope * torch.exp(0.05 * normal()),
        scale.offset + anchor * normal(),
    )


def partial_points(points: Points, rows: Tensor, slots: Tensor) -> Points:
    """Trials with the asked slot and all later ones unset."""
    later = torch.arange(points.values.shape[-1], device=slots.device) >= slots[:, None]
    values = points.values[:, rows].masked_fill(later, 0.0)
    return Points(values, points.kinds[:, rows].masked_fill(later, UNSET))


def _value_targets(spaces: SyntheticSpaces, points: Points, rows: Tensor, slots: Tensor) -> Tensor:
    """Bin, or Q + choice, of the asked values, (B, N)."""
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
