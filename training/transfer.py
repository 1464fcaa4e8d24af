"""Does what was learned on some data sets help on others of the same space, and do the names?

The data sets of a run's tables that training never saw become functions (an emulator is fitted to
them alone) on the table's whole space, which the model searches with all the metadata, and with
parts of it taken away or made wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from optformer.data.emulation.emulator import Emulator, fit_emulator, from_scores
from optformer.data.emulation.tables import EvaluationTable, load_table
from optformer.data.errors import ConfigError, DatasetError
from optformer.data.methods import registry
from optformer.data.parameters import Value
from optformer.data.spaces import SearchSpace
from optformer.data.studies import Goal, StudyConfig
from optformer.data.trials import Trial
from optformer.encoded_space import Array, EncodedSpace
from optformer.planner import Planner
from optformer.training.config import TableConfig
from optformer.training.estimates import Estimate, mean
from optformer.training.synthetic_tasks import Suggest, ask_method, regrets, search

TOLD = ("all", "no metadata", "no names", "permuted names")
"""What the model is told: everything; no task and model; parameters called x0, x1, ...; each
parameter called by another one's name."""

BUDGETS = (5, 10, 20, 30)

_REFERENCE = 8192  # random points that the median and the climbs to the top begin from
_CLIMBS = (0.3, 0.1, 0.05, 0.02, 0.01, 0.005) * 2


@dataclass(frozen=True)
class HeldOutData:
    """Data sets of one space that training never saw.

    Attributes:
        name: Of the table.
        table: Their evaluations.
        metadata: What an engineer would tell of a study.
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
        searcher: A search method, or what the model was told.
        tasks: Data sets, one metric each.
        seeds: Searches of each.
        regret: Trials to the mean regret after so many.
    """

    table: str
    searcher: str
    tasks: int
    seeds: int
    regret: Mapping[int, Estimate]


@dataclass(frozen=True)
class EmulatedTask:
    """One metric of one data set, with the sign that is maximized, as an emulator answers for it.

    Attributes:
        config: The study.
        goal: The metric's own goal, which the model is told.
        space: Its space, encoded.
        answer: Values of encoded points, (N, P) to (N,).
        median: Of the values of random points.
        top: The best value found by climbing from the best of them.
    """

    config: StudyConfig
    goal: Goal
    space: EncodedSpace
    answer: Callable[[Array], Array]
    median: float
    top: float

    def value(self, point: Mapping[str, Value]) -> float:
        """The metric at a point of the space."""
        return float(self.answer(self.space.encode([point]))[0])


def held_out_data(configs: Sequence[TableConfig], folder: Path) -> list[HeldOutData]:
    """What a run's tables of one space each hold out; folders of histories are left aside.

    Args:
        configs: The run's tables.
        folder: What their paths are relative to.

    Raises:
        ConfigError: None of them is such a table.
        DatasetError: A table cannot be read, or holds out no data set.
    """
    data = []
    for config in configs:
        if config.goals:
            _, late = load_table(folder / config.path, config.goals).split(config.held_out)
            if not late.datasets:
                raise DatasetError(f"{config.path} holds out no data set; raise held_out")
            told = {"task": config.tasks[0], "model": config.models[0]}
            data.append(HeldOutData(Path(config.path).stem, late, told))
    if not data:
        raise ConfigError("the model was not trained on a table of real evaluations")
    return data


def transfer_scores(
    planner: Planner,
    data: Sequence[HeldOutData],
    *,
    rivals: Sequence[str] = ("random", "optuna-tpe", "gp-ei"),
    tasks: int = 10,
    seeds: int = 2,
    seed: int = 2024,
    progress: bool = False,
) -> list[TransferScore]:
    """Search held-out data sets with each way of telling, and with methods that start from nothing.

    Args:
        planner: The model.
        data: Held-out data sets.
        rivals: Registered search methods.
        tasks: Data sets searched of each table, or as many as there are.
        seeds: Searches of each.
        seed: Seed of emulators, tasks and searches.
        progress: Show progress bars on standard error.

    Raises:
        ConfigError: A rival is unknown, or a number is below 1.
    """
    unknown = sorted(set(rivals) - set(registry.names()))
    if unknown or tasks < 1 or seeds < 1:
        raise ConfigError(
            f"rivals must be registered methods ({registry.names()}), tasks and seeds at least 1; "
            f"got {list(rivals)}, {tasks} and {seeds}"
        )
    scores = []
    for held_out in data:
        drawn = list(_tasks(held_out, tasks, seed, progress))
        searchers = {
            **{f"optformer, {told}": _model(planner, told, seed) for told in TOLD},
            **{name: _method(name) for name in rivals},
        }
        with tqdm(total=len(searchers) * len(drawn), unit="task", disable=not progress) as bar:
            for name, make in searchers.items():
                bar.set_description(f"{held_out.name}: {name}")
                curves = []  # (K, T), means over the seeds
                for number, task in enumerate(drawn):
                    runs = [
                        search(task, make(task, number, s), max(BUDGETS), [seed, number, s])
                        for s in range(seeds)
                    ]
                    curves.append(np.mean([regrets(task, run) for run in runs], axis=0))
                    bar.update()
                found = {budget: mean(np.array(curves)[:, budget - 1]) for budget in BUDGETS}
                scores.append(TransferScore(held_out.name, name, len(drawn), seeds, found))
    return scores


def _tasks(data: HeldOutData, count: int, seed: int, progress: bool) -> Iterator[EmulatedTask]:
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
    space = EncodedSpace(config.space, {})

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
    for size in _CLIMBS:
        best = points[np.argsort(-values)[:64]]
        scale = np.full((1024, 1), size)
        points = np.concatenate([best, space.mutate(best.repeat(16, 0), scale, 0.3, rng)])
        values = answer(points)
    return EmulatedTask(config, goal, space, answer, median, float(values.max()))


def _method(name: str) -> Callable[[EmulatedTask, int, int], Suggest]:
    def make(task: EmulatedTask, number: int, search_seed: int) -> Suggest:
        del number, search_seed  # the search's own stream says it all
        return ask_method(name, task.config)

    return make


def _model(planner: Planner, told: str, seed: int) -> Callable[[EmulatedTask, int, int], Suggest]:
    def make(task: EmulatedTask, number: int, search_seed: int) -> Suggest:
        names = task.space.names
        rename = _renamed(names, told, np.random.default_rng([seed, number]))
        back = {new: old for old, new in rename.items()}
        metadata = {} if told == "no metadata" else task.config.metadata
        space = _rename(task.config.space, rename)
        config = replace(task.config, space=space, metadata=metadata, goal=task.goal)

        def suggest(history: Sequence[Trial], rng: np.random.Generator) -> dict[str, Value]:
            del rng  # the planner has a stream of its own for each length of a history
            seen = [
                replace(
                    trial,
                    params={rename[name]: value for name, value in trial.params.items()},
                    value=None if trial.value is None else config.sign * trial.value,
                )
                for trial in history
            ]
            (found,) = planner.suggest(config, seen, 1, seed=search_seed)
            return {back[name]: value for name, value in found.params.items()}

        return suggest

    return make


def _renamed(names: Sequence[str], told: str, rng: np.random.Generator) -> dict[str, str]:
    if told == "no names":
        return {name: f"x{number}" for number, name in enumerate(names)}
    if told == "permuted names":
        return dict(zip(names, [names[i] for i in rng.permutation(len(names))], strict=True))
    return {name: name for name in names}


def _rename(space: SearchSpace, names: Mapping[str, str]) -> SearchSpace:
    """The space with other names; descriptions, which tell the old ones, go with those."""
    renamed = {}
    for name, parameter in space.items():
        when = {names[above]: list(values) for above, values in (parameter.when or {}).items()}
        told = parameter.description if names[name] == name else ""
        renamed[names[name]] = replace(parameter, when=when or None, description=told)
    return SearchSpace(renamed)
