"""Functions drawn from emulators: real response surfaces without end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from optformer.data.corpora.emulation.emulator import Emulator, from_scores
from optformer.data.corpora.emulation.naming import rename
from optformer.data.corpora.emulation.ranges import as_list, narrow, span_of
from optformer.data.corpora.emulation.tables import EvaluationTable
from optformer.data.corpora.synthetic.spaces import MAX_CHOICES, SyntheticSpaces
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal

MAX_LEVELS = 200  # integers with more levels count as continuous
ONE_DATA_SET = 0.3  # share of the spaces whose functions are all nearest to one data set
TRIED = 3  # evaluated points of which the best gives the values of what is not searched
BLENDED = 0.6  # share of the functions between two data sets
NOISY = 0.35  # share of the functions with noise


@dataclass(frozen=True)
class SpaceVariation:
    """In how many ways the spaces of a table are written, as shares of the spaces.

    Attributes:
        unnamed: Parameters get neutral names, and half of the numeric axes are mirrored.
        renamed: Parameters of the others get further names that people give them.
        undescribed: Parameters that keep their names lose their descriptions.
        reranged: Half of the numbers are searched on a part of their range.
        listed: Numbers become lists of values.
    """

    unnamed: float = 0.3
    renamed: float = 0.5
    undescribed: float = 0.5
    reranged: float = 0.5
    listed: float = 0.25


USUAL = SpaceVariation()
"""The variation of training."""


@dataclass(frozen=True)
class EmulatedFunctions:
    """B functions, F of them on each of S spaces, all from one emulator.

    Points and results have the shapes of `SyntheticFunctions`.
    """

    spaces: SyntheticSpaces
    whole: SyntheticSpaces  # the table's full space, S = 1
    emulator: Emulator
    columns: Tensor  # (S, P) column of the full space
    start: Tensor  # (S, P) where a number's range begins on that of the full space
    span: Tensor  # (S, P) how far it reaches; below 0 where the axis is mirrored
    base: Tensor  # (S, P_full) values of all columns; those that are searched are overwritten
    metric: Tensor  # (S,)
    embedding: Tensor  # (S, F, E)
    knots: Tensor  # (S, F, K)
    noise: Tensor  # (S, F, 1) in normal scores

    @property
    def per_space(self) -> int:
        """Number of functions F on each space."""
        return self.noise.shape[1]

    def select(self, rows: slice) -> EmulatedFunctions:
        """The functions of some of the spaces."""
        return replace(
            self,
            spaces=self.spaces.select(rows),
            columns=self.columns[rows],
            start=self.start[rows],
            span=self.span[rows],
            base=self.base[rows],
            metric=self.metric[rows],
            embedding=self.embedding[rows],
            knots=self.knots[rows],
            noise=self.noise[rows],
        )

    def scores(self, values: Tensor) -> Tensor:
        """Normal scores without noise, (S, F, N)."""
        shape = values.shape
        placed = self.start[:, None, None] + self.span[:, None, None] * values
        columns = self.columns[:, None, None].expand(shape)
        full = self.base[:, None, None].expand(*shape[:3], -1).scatter(-1, columns, placed)
        active = self.whole.active(full.reshape(1, -1, full.shape[-1])).reshape(full.shape)
        embedding = self.embedding[:, :, None].expand(*shape[:3], -1)
        scores = self.emulator(full, active, embedding)  # (S, F, N, M)
        metric = self.metric[:, None, None, None].expand(*shape[:3], 1)
        return torch.gather(scores, -1, metric)[..., 0]

    def expected(self, values: Tensor) -> Tensor:
        """Values without noise, to be maximized, (S, F, N)."""
        return from_scores(self.scores(values), self.knots)

    def observe(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Values with noise, (S, F, N)."""
        scores = self.scores(values)
        draw = torch.randn(scores.shape, generator=generator, device=scores.device)
        return from_scores(scores + self.noise * draw, self.knots)


class EmulatedTable:
    """Draws functions from one table's emulator.

    Args:
        table: Evaluations.
        emulator: Its emulator.
        device: Where functions are evaluated.
    """

    def __init__(
        self, table: EvaluationTable, emulator: Emulator, device: torch.device | str = "cpu"
    ):
        self.space, self.goals = table.space, table.goals
        self.device = torch.device(device)
        self.emulator = emulator.to(self.device)
        self.points = torch.from_numpy(table.values).float()
        self.ranks = _ranks(table)
        self.measured = table.measured
        self.texts = table.texts or ({},) * len(table.datasets)
        self.whole = _as_synthetic([table.space])
        self.parents = {parent for parent in self.whole.parent[0].tolist() if parent >= 0}

    def draw(
        self,
        count: int,
        parameters: int,
        functions: int,
        rng: np.random.Generator,
        variation: SpaceVariation = USUAL,
    ) -> tuple[EmulatedFunctions, list[str], list[Goal], list[dict[str, str]]]:
        """Draw functions on random sub-spaces; the other parameters keep an evaluated point.

        Args:
            count: Number of spaces S.
            parameters: Parameters of each, P.
            functions: Functions F on each.
            rng: Source of randomness.
            variation: How the spaces differ from the table's.

        Returns:
            The functions, and each space's metric, goal and metadata; the metadata tell the data
            set only where all functions of the space belong to it.
        """
        parts = [self._sub_space(parameters, rng, variation) for _ in range(count)]
        names = list(self.goals)
        shares = self.measured.sum(0) / self.measured.sum()
        metric = rng.choice(len(names), size=count, p=shares)
        one, other = (
            np.stack([rng.choice(np.flatnonzero(self.measured[:, m]), functions) for m in metric])
            for _ in range(2)
        )
        shape = (count, functions)
        blend = rng.random(shape) * (rng.random(shape) < BLENDED)
        together = rng.random(count) < ONE_DATA_SET
        one[together] = one[together, :1]
        blend[together] /= 2

        def on_device(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(self.device)

        weight, knots = self.emulator.embedding.weight, self.emulator.knots
        which, share = on_device(metric)[:, None].expand(shape), on_device(blend)[..., None].float()
        noise = np.exp(rng.uniform(np.log(0.01), np.log(0.3), (*shape, 1)))
        drawn = EmulatedFunctions(
            spaces=_as_synthetic([part.space for part in parts]).to(self.device),
            whole=self.whole.to(self.device),
            emulator=self.emulator,
            columns=torch.tensor([part.columns for part in parts], device=self.device),
            start=torch.tensor([part.starts for part in parts], device=self.device),
            span=torch.tensor([part.spans for part in parts], device=self.device),
            base=torch.stack([part.base for part in parts]).to(self.device),
            metric=on_device(metric),
            embedding=torch.lerp(weight[on_device(one)], weight[on_device(other)], share),
            knots=torch.lerp(knots[on_device(one), which], knots[on_device(other), which], share),
            noise=on_device(noise * (rng.random((*shape, 1)) < NOISY)).float(),
        )
        metrics = [names[number] for number in metric]
        metadata = [
            self._metadata(int(first), bool(whole))
            for first, whole in zip(one[:, 0], together, strict=True)
        ]
        return drawn, metrics, [self.goals[name] for name in metrics], metadata

    def _metadata(self, dataset: int, whole: bool) -> dict[str, str]:
        """The metadata of a data set's study, or what all of the table have in common."""
        return {
            key: text
            for key, text in self.texts[dataset].items()
            if whole or all(other.get(key) == text for other in self.texts)
        }

    def _sub_space(
        self, parameters: int, rng: np.random.Generator, variation: SpaceVariation
    ) -> _SubSpace:
        while True:
            rows = rng.integers(len(self.points), size=TRIED)
            base = self.points[int(rows[self.ranks[rows].argmax()])]
            searched: set[int] = set()
            for column in sorted(self.parents):
                if rng.random() < parameters / len(self.space):
                    searched.add(column)
            if all(self._can_be_active(column, searched, base) for column in searched):
                others = [
                    column
                    for column in range(len(self.space))
                    if column not in self.parents and self._can_be_active(column, searched, base)
                ]
                missing = parameters - len(searched)
                if 0 <= missing <= len(others):
                    searched.update(rng.permutation(others)[:missing].tolist())
                    columns = self._in_order(rng.permutation(sorted(searched)).tolist())
                    return self._described(columns, base, rng, variation)

    def _can_be_active(self, column: int, searched: set[int], base: Tensor) -> bool:
        """Whether a parameter takes part, given its parent is searched or keeps its value."""
        parent = int(self.whole.parent[0, column])
        if parent < 0 or parent in searched:
            return True
        return bool(self.whole.allowed[0, column, int(base[parent])])

    def _in_order(self, columns: list[int]) -> list[int]:
        """The columns as drawn, parents moved before their children."""
        ordered: list[int] = []
        for column in columns:
            above = int(self.whole.parent[0, column])
            if above in columns and above not in ordered:
                ordered.append(above)
            if column not in ordered:
                ordered.append(column)
        return ordered

    def _described(
        self,
        columns: list[int],
        base: Tensor,
        rng: np.random.Generator,
        variation: SpaceVariation,
    ) -> _SubSpace:
        unnamed = rng.random() < variation.unnamed
        bare = unnamed or rng.random() < variation.undescribed
        reranged = 0.5 * (rng.random() < variation.reranged)
        listed = rng.random() < variation.listed
        originals = [self.space.names[column] for column in columns]
        if unnamed:
            renamed = {name: f"x{i}" for i, name in enumerate(originals)}
        elif rng.random() < variation.renamed:
            renamed = rename(originals, rng)
        else:
            renamed = dict(zip(originals, originals, strict=True))
        described: dict[str, Parameter] = {}
        starts, spans = [], []
        for name in originals:
            parameter = self.space[name]
            start, end = 0.0, 1.0
            if not isinstance(parameter, Categorical):
                whole = parameter
                if rng.random() < reranged:
                    parameter = narrow(parameter, rng)
                if listed:
                    parameter = as_list(parameter, rng)
                start, end = span_of(parameter, whole)
                if unnamed and rng.random() < 0.5:
                    start, end = end, start
            starts.append(start)
            spans.append(end - start)
            above = {} if parameter.when is None else parameter.when
            when = {renamed[key]: list(allowed) for key, allowed in above.items() if key in renamed}
            described[renamed[name]] = replace(
                parameter,
                when=when or None,
                description="" if bare else parameter.description,
            )
        return _SubSpace(SearchSpace(described), columns, starts, spans, base)


@dataclass(frozen=True)
class _SubSpace:
    """A part of a table's space.

    Attributes:
        space: What is searched.
        columns: Column of each of its P parameters in the table.
        starts: Where each parameter's range begins on the table's, P.
        spans: How far it reaches, P.
        base: Values of all columns.
    """

    space: SearchSpace
    columns: list[int]
    starts: list[float]
    spans: list[float]
    base: Tensor


def _ranks(table: EvaluationTable) -> np.ndarray:
    """Rank of each row's first measured metric in its data set, in (0, 1], (N,)."""
    ranks = np.zeros(len(table.dataset))
    for number, measured in enumerate(table.measured):
        rows = table.dataset == number
        gains = list(table.gains.values())[int(measured.argmax())][rows]
        ranks[rows] = rankdata(gains) / len(gains)
    return ranks


def _as_synthetic(spaces: list[SearchSpace]) -> SyntheticSpaces:
    """Spaces of equal size as tensors.

    Raises:
        DatasetError: A parameter has more than MAX_CHOICES choices, or another condition than
            on one categorical parameter.
    """
    shape = (len(spaces), len(spaces[0]))
    choices, levels = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    parent = torch.full(shape, -1)
    allowed = torch.zeros(*shape, MAX_CHOICES, dtype=torch.bool)
    for s, space in enumerate(spaces):
        for p, (name, parameter) in enumerate(space.items()):
            if isinstance(parameter, Categorical):
                choices[s, p] = len(parameter.choices)
            else:
                levels[s, p] = _levels(parameter)
            if not parameter.when:
                continue
            (above, values), *others = parameter.when.items()
            holder = space[above]
            if others or not isinstance(holder, Categorical):
                raise DatasetError(
                    f"parameter {name!r}: an emulated space takes one condition a parameter, on a "
                    f"categorical one; got {dict(parameter.when)!r}"
                )
            parent[s, p] = space.names.index(above)
            allowed[s, p, [holder.index(value) for value in values]] = True
    if choices.max() > MAX_CHOICES:
        raise DatasetError(
            f"an emulated space takes at most {MAX_CHOICES} choices a parameter, "
            f"got {int(choices.max())}"
        )
    return SyntheticSpaces(choices, levels, parent, allowed, tuple(spaces))


def _levels(parameter: Parameter) -> int:
    """Levels of an even grid of a number, 0 where there is none or it is fine."""
    if isinstance(parameter, Ordinal):
        return parameter.num_levels
    if isinstance(parameter, Float | Int) and not parameter.log:
        levels = parameter.num_levels
        return levels if levels is not None and levels <= MAX_LEVELS else 0
    return 0
