"""Does what was learned on some data sets help on others of the same space, and do the names?

The data sets of a run's tables that training never saw become functions (an emulator is fitted to
them alone) on the table's whole space, which the model searches with all the metadata, and with
parts of it taken away or made wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from optformer.data.corpora.emulation.emulator import Emulator, fit_emulator, from_scores
from optformer.data.corpora.emulation.tables import EvaluationTable, load_table
from optformer.data.methods import SearchMethod, create
from optformer.data.studies.errors import ConfigError, DatasetError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.planning.planner import Planner
from optformer.planning.search_method import ModelSearch
from optformer.planning.space_transform import Array, SpaceTransform
from optformer.planning.study_encoder import StudyEncoder
from optformer.training.bootstrap import Estimate, mean
from optformer.training.config import TableConfig
from optformer.training.evaluation.metadata_ablation import (
    VARIANTS,
    MetadataVariant,
    ablate_metadata,
)
from optformer.training.evaluation.synthetic_tasks import (
    check_searches,
    regrets,
    search,
)
from optformer.training.losses import negative_log_likelihood
from optformer.training.mixtures.corpora import expand_corpora
from optformer.training.mixtures.queries import gain_bins

BUDGETS = (5, 10, 20, 30)
CONTEXTS = (1, 5, 10, 20)
"""Random trials that are given before the others are predicted."""

_PREDICTED = 64  # random points whose values are predicted
_DRAWS = 4  # contexts of each length and task
_REFERENCE = 8192  # random points that the median and the climbs to the top begin from
_GOOD = 16  # of the random points, and of those climbed to
_CLIMBS = (0.3, 0.1, 0.05, 0.02, 0.01, 0.005) * 2


@dataclass(frozen=True)
class TableData:
    """Data sets of one space: those that training saw, or those that it never saw.

    Attributes:
        name: Name of the table.
        table: The evaluations.
        metadata: Metadata that an engineer would give to a study.
    """

    name: str
    table: EvaluationTable
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class TransferScore:
    """One searcher on the held-out data sets of one table.

    Regret is (top - best so far) / (top - median) of the emulated metric.

    Attributes:
        table: Name of the table.
        searcher: A search method, or the model with one of `VARIANTS`.
        tasks: Data sets, one metric each.
        seeds: Searches of each data set.
        regret: Trials to the mean regret after so many.
    """

    table: str
    searcher: str
    tasks: int
    seeds: int
    regret: Mapping[int, Estimate]


@dataclass(frozen=True)
class VariantScore:
    """How well one variant of the metadata lets values of held-out data sets be predicted.

    Attributes:
        table: Name of the table.
        variant: One of `VARIANTS`.
        tasks: Data sets, one metric each.
        loss: Number of random trials seen to the mean negative log-likelihood of other points'
            bins, in nats.
        worse: Number of random trials seen to how much that exceeds the loss with all metadata.
    """

    table: str
    variant: str
    tasks: int
    loss: Mapping[int, Estimate]
    worse: Mapping[int, Estimate]


@dataclass(frozen=True)
class EmulatedTask:
    """One metric of one data set, with the sign that is maximized, as an emulator answers for it.

    Attributes:
        config: The study.
        goal: The metric's own goal, which the model reads.
        space: The study's space, encoded.
        answer: Values of encoded points, (N, P) to (N,).
        median: Median value of random points.
        top: The best value found by climbing from the best of them.
        good: The best of the random points and of those that were climbed to, (N, P).
    """

    config: StudyConfig
    goal: Goal
    space: SpaceTransform
    answer: Callable[[Array], Array]
    median: float
    top: float
    good: Array

    def value(self, point: Mapping[str, Value]) -> float:
        """The metric at a point of the space."""
        return float(self.answer(self.space.encode([point]))[0])


def held_out_data(configs: Sequence[TableConfig], folder: Path) -> list[TableData]:
    """What a run's tables of one space each hold out; folders of histories are left aside.

    Args:
        configs: The run's tables.
        folder: What their paths are relative to.

    Raises:
        ConfigError: None of them is such a table.
        DatasetError: A table cannot be read, or holds out no data set.
    """
    return [late for _, late in split_tables(configs, folder)]


def split_tables(
    configs: Sequence[TableConfig], folder: Path, only: Sequence[str] = ()
) -> list[tuple[TableData, TableData]]:
    """Of each table that holds out data sets, those of training and those held out.

    Args:
        configs: The run's tables.
        folder: What their paths are relative to.
        only: Names of tables, or patterns of the shell's kind; then those of a folder that
            training left out count, too.

    Raises:
        ConfigError: None of the tables holds out a share of its data sets.
        DatasetError: A table cannot be read, or holds out no data set.
    """
    data = []
    for config in expand_corpora(configs, folder, left_out=bool(only)):
        stem = Path(config.path).stem
        if only and not any(fnmatchcase(stem, pattern) for pattern in only):
            continue
        if config.goals and config.held_out:
            parts = load_table(folder / config.path, config.goals).split(config.held_out)
            if not parts[1].datasets:
                raise DatasetError(f"{config.path} holds out no data set; raise held_out")
            metadata = {"task": config.tasks[0], "model": config.models[0]}
            early, late = (TableData(stem, part, metadata) for part in parts)
            data.append((early, late))
    if not data:
        wanted = f" called {' or '.join(only)}" if only else ""
        raise ConfigError(f"the model was not trained on a table of real evaluations{wanted}")
    return data


def draw_tasks(
    data: Sequence[TableData], *, count: int = 10, seed: int = 2024, progress: bool = False
) -> dict[str, list[EmulatedTask]]:
    """Tasks of each table: an emulator is fitted to its held-out data sets alone.

    Args:
        data: Held-out data sets.
        count: Data sets of each table, or as many as there are.
        seed: Seed of emulators and tasks.
        progress: Show progress bars on standard error.

    Raises:
        ConfigError: The count is below 1.
    """
    if count < 1:
        raise ConfigError(f"tasks must be at least 1, got {count}")
    return {one.name: list(_tasks(one, count, seed, progress)) for one in data}


def transfer_scores(
    planner: Planner,
    drawn: Mapping[str, Sequence[EmulatedTask]],
    *,
    rivals: Sequence[str] = ("random", "tpe", "gp-ei"),
    seeds: int = 2,
    seed: int = 2024,
    progress: bool = False,
) -> list[TransferScore]:
    """Search held-out data sets with each variant of the metadata, and with other methods.

    Args:
        planner: The model.
        drawn: Tasks of each table.
        rivals: Registered search methods.
        seeds: Searches of each data set.
        seed: Seed of the searches.
        progress: Show progress bars on standard error.

    Raises:
        ConfigError: A rival is unknown, or the number of seeds is below 1.
    """
    check_searches(rivals, seeds=seeds)
    scores = []
    for table, tasks in drawn.items():
        searched = search_tasks(
            planner, table, tasks, rivals, max(BUDGETS), seeds, seed=seed, progress=progress
        )
        for name, curves in searched.items():
            over_seeds = curves.mean(1)
            found = {budget: mean(over_seeds[:, budget - 1]) for budget in BUDGETS}
            scores.append(TransferScore(table, name, len(tasks), seeds, found))
    return scores


def search_tasks(
    planner: Planner,
    table: str,
    tasks: Sequence[EmulatedTask],
    rivals: Sequence[str],
    trials: int,
    seeds: int,
    *,
    seed: int,
    progress: bool,
) -> dict[str, Array]:
    """Search the K tasks of a table with each variant of the metadata, and with other methods.

    Args:
        planner: The model.
        table: Name of the table.
        tasks: Its tasks.
        rivals: Registered search methods.
        trials: Trials T of each search.
        seeds: Searches S of each task.
        seed: Seed of the searches.
        progress: Show a progress bar on standard error.

    Returns:
        Each searcher to its regret after each trial, see `regrets`, (K, S, T).
    """

    def model(variant: str, task: EmulatedTask, number: int, search_seed: int) -> SearchMethod:
        return _VariantSearch(planner, _variant_of(task, variant, seed, number), search_seed)

    searchers: dict[str, Callable[[EmulatedTask, int, int], SearchMethod]] = {
        **{f"optformer, {variant}": partial(model, variant) for variant in VARIANTS},
        **{name: partial(_method, name) for name in rivals},
    }
    found: dict[str, Array] = {}
    with tqdm(total=len(searchers) * len(tasks), unit="task", disable=not progress) as bar:
        for name, make in searchers.items():
            bar.set_description(f"{table}: {name}")
            curves: list[list[Array]] = []
            for number, task in enumerate(tasks):
                runs = [
                    search(task, make(task, number, s), trials, [seed, number, s])
                    for s in range(seeds)
                ]
                curves.append([regrets(task, run) for run in runs])
                bar.update()
            found[name] = np.array(curves)
    return found


def variant_scores(
    checkpoint: Checkpoint,
    drawn: Mapping[str, Sequence[EmulatedTask]],
    *,
    seed: int = 2024,
    progress: bool = False,
) -> list[VariantScore]:
    """Predict random points of held-out data sets after a few random trials, in each variant.

    All variants see the same trials and predict the same points.

    Args:
        checkpoint: The model.
        drawn: Tasks of each table.
        seed: Seed of trials and points.
        progress: Show a progress bar on standard error.
    """
    scores = []
    for table, tasks in drawn.items():
        losses = {name: np.zeros((len(tasks), len(CONTEXTS))) for name in VARIANTS}
        for number, task in enumerate(tqdm(tasks, table, unit="task", disable=not progress)):
            for name in VARIANTS:
                variant = _variant_of(task, name, seed, number)
                losses[name][number] = _losses(checkpoint, task, variant, [seed, number])
        for name, loss in losses.items():
            above = loss - losses[VARIANTS[0]]
            scores.append(
                VariantScore(
                    table,
                    name,
                    len(tasks),
                    {n: mean(loss[:, i]) for i, n in enumerate(CONTEXTS)},
                    {n: mean(above[:, i]) for i, n in enumerate(CONTEXTS)},
                )
            )
    return scores


def _losses(
    checkpoint: Checkpoint, task: EmulatedTask, variant: MetadataVariant, seed: Sequence[int]
) -> NDArray[np.float64]:
    """Mean negative log-likelihood of random points after each number of trials."""
    space = SpaceTransform(variant.config.space, {})
    losses = np.zeros((_DRAWS, len(CONTEXTS)))
    for draw in range(_DRAWS):
        rng = np.random.default_rng([*seed, draw])
        points = task.space.from_uniform(
            rng.random((max(CONTEXTS) + _PREDICTED, len(task.space.names)))
        )
        values = task.answer(points)
        trials = variant.trials(
            [
                Trial(number, task.space.decode(point)).finish(float(value))
                for number, (point, value) in enumerate(zip(points, values, strict=True))
            ]
        )
        queried = space.points(space.encode([trial.params for trial in trials[max(CONTEXTS) :]]))
        encoder = StudyEncoder(checkpoint, variant.config, "random")
        for i, length in enumerate(CONTEXTS):
            study = encoder.encode(trials[:length])
            target = gain_bins(study.scale, torch.from_numpy(values[max(CONTEXTS) :]))
            with torch.no_grad():
                logits = study.predict(queried).logits
                loss = negative_log_likelihood(logits[None], target[None])
            losses[draw, i] = float(loss)
    averages: NDArray[np.float64] = losses.mean(0)
    return averages


def _tasks(data: TableData, count: int, seed: int, progress: bool) -> Iterator[EmulatedTask]:
    """One task a data set; the metrics take turns."""
    table = data.table
    emulator = fit_emulator(table, seed=seed, progress=progress)
    rng = np.random.default_rng(seed)
    metrics = list(table.gains)
    for number, dataset in enumerate(rng.permutation(len(table.datasets))[:count]):
        metric = number % len(metrics)
        config = StudyConfig(table.space, metrics[metric], "maximize", data.metadata)
        goal = table.goals[metrics[metric]]
        yield _emulated(config, goal, emulator, int(dataset), metric, rng)


def _emulated(
    config: StudyConfig,
    goal: Goal,
    emulator: Emulator,
    dataset: int,
    metric: int,
    rng: np.random.Generator,
) -> EmulatedTask:
    space = SpaceTransform(config.space, {})

    @torch.no_grad()
    def answer(values: Array) -> Array:
        embedding = emulator.embedding.weight[dataset].expand(len(values), -1)
        active = torch.from_numpy(space.active(values))
        scores = emulator(torch.from_numpy(values).float(), active, embedding)[:, metric]
        knots = emulator.knots[dataset, metric].expand(len(values), -1)
        found: Array = from_scores(scores[:, None], knots)[:, 0].double().numpy()
        return found

    points = space.from_uniform(rng.random((_REFERENCE, len(space.names))))
    values = answer(points)
    median = float(np.median(values))
    good = points[np.argsort(-values)[:_GOOD]]
    for size in _CLIMBS:
        best = points[np.argsort(-values)[:64]]
        scale = np.full((1024, 1), size)
        points = np.concatenate([best, space.mutate(best.repeat(16, 0), scale, 0.3, rng)])
        values = answer(points)
    good = np.concatenate([good, points[np.argsort(-values)[:_GOOD]]])
    return EmulatedTask(config, goal, space, answer, median, float(values.max()), good)


def _method(name: str, task: EmulatedTask, number: int, search_seed: int) -> SearchMethod:
    del number, search_seed  # the search's own stream says it all
    return create(name, task.config)


class _VariantSearch:
    """A search by the model that reads a variant of a task's metadata."""

    def __init__(self, planner: Planner, variant: MetadataVariant, seed: int) -> None:
        self._variant = variant
        self._search = ModelSearch(variant.config, planner, seed=seed)

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        points = self._search.suggest(self._variant.trials(history), count, rng)
        return [self._variant.original(point) for point in points]


def _variant_of(task: EmulatedTask, name: str, seed: int, number: int) -> MetadataVariant:
    return ablate_metadata(task.config, task.goal, name, np.random.default_rng([seed, number]))
