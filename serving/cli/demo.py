"""`optformer demo`: tune a small classifier and compare with random search."""

from __future__ import annotations

import argparse
import math
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optformer.serving.cli import console

if TYPE_CHECKING:
    from optformer.data.methods.run import TimedTrial
    from optformer.data.objectives import Objective
    from optformer.data.studies.parameters import Value
    from optformer.data.studies.study_config import StudyConfig
    from optformer.serving.study.study import Study

_SECONDS = 140.0  # no further seed is begun that would end later
_MOST_SEEDS = 5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        description="Tunes a neural network on handwritten digits with the shipped model and with "
        "random search, for as many seeds as fit into about two minutes; then trains the final "
        "network with the best values and scores it on images nobody has seen.",
    )
    parser.add_argument("--trials", type=int, default=25, help="trials a search (default 25)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-output"), help="folder (default demo-output)"
    )
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class _Result:
    """One finished search.

    Attributes:
        values: Validation accuracy of each trial, NaN when it failed.
        suggesting: Seconds spent on suggestions.
        seconds: Seconds in all.
        best: Parameters of the best trial.
        test: Test accuracy of the final network, trained with them.
    """

    values: list[float]
    suggesting: float
    seconds: float
    best: Mapping[str, Value]
    test: float


def run(args: argparse.Namespace) -> int:
    """Run the comparison and write its table, plot and study; returns the exit status."""
    from optformer.data.objectives.digits import digits_objective
    from optformer.data.studies.errors import ConfigError, StudyError
    from optformer.planning.planner import load_planner

    if args.trials < 1 or args.seed < 0:
        raise ConfigError(
            f"--trials must be at least 1 and --seed at least 0, got {args.trials} and {args.seed}"
        )
    storage = args.out.resolve() / "study.db"
    if storage.exists():
        raise StudyError(f"{storage} is there already, from an earlier demo; give another --out")
    load_planner()  # a missing model shows before anything is written
    storage.parent.mkdir(parents=True, exist_ok=True)
    objective = digits_objective()
    told = objective.config.metadata
    console.write(
        f"Tuning a {told['model']} ({told['task']}, {told['dataset']}): "
        f"{len(objective.config.space)} hyperparameters, {args.trials} trials a search."
    )
    results: dict[str, list[_Result]] = {"optformer": [], "random": []}
    started = time.monotonic()
    for seed in range(args.seed, args.seed + _MOST_SEEDS):
        begun = time.monotonic()
        for name, found in results.items():
            found.append(_search(objective, name, args.trials, seed, storage))
            console.write(
                f"seed {seed}, {name}: best {_best_known(found[-1].values):.4f} "
                f"after {found[-1].seconds:.1f} s"
            )
        now = time.monotonic()
        if now - started + (now - begun) > _SECONDS:
            break
    _report(results, objective.config, args)
    return 0


def _best_known(values: list[float]) -> float:
    """The largest value that is not NaN; NaN when there is none."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _search(objective: Objective, name: str, trials: int, seed: int, storage: Path) -> _Result:
    from optformer.data.objectives.digits import final_test_accuracy
    from optformer.data.studies.errors import ObjectiveError

    started = time.monotonic()
    done = list(
        _by_model(objective, seed, storage, trials)
        if name == "optformer"
        else _by_chance(objective, seed, trials)
    )
    seconds = time.monotonic() - started
    ended = [timed.trial for timed in done]
    known = [trial for trial in ended if trial.value is not None]
    if not known:
        raise ObjectiveError(f"all {trials} trials of {name} failed: {ended[-1].reason}")
    best = max(known, key=lambda trial: trial.value or 0.0).params
    return _Result(
        values=[math.nan if trial.value is None else trial.value for trial in ended],
        suggesting=sum(timed.suggesting or 0.0 for timed in done),
        seconds=seconds,
        best=best,
        test=final_test_accuracy(best),
    )


def _by_chance(objective: Objective, seed: int, trials: int) -> Iterator[TimedTrial]:
    """Random search."""
    import numpy as np

    from optformer.data.methods import create
    from optformer.data.methods.run import run_method

    config, rng = objective.config, np.random.default_rng(seed)
    return run_method(create("random", config), config.space, objective, trials, lambda _: rng)


def _by_model(objective: Objective, seed: int, storage: Path, trials: int) -> Iterator[TimedTrial]:
    """A stored study."""
    from optformer.data.methods.run import TimedTrial
    from optformer.data.studies.errors import ObjectiveError

    study = _study(objective.config, seed, storage)
    for _ in range(trials):
        began = time.perf_counter()
        trial = study.suggest()
        suggested = time.perf_counter()
        try:
            ended = study.observe(trial, objective(trial.params))
        except ObjectiveError as error:
            ended = study.observe(trial, failed=str(error))
        yield TimedTrial(ended, suggested - began, time.perf_counter() - suggested)


def _study(config: StudyConfig, seed: int, storage: Path) -> Study:
    from optformer.serving.study.optuna_access import sqlite_address
    from optformer.serving.study.study import create_study

    return create_study(
        config.space,
        metric=config.metric,
        goal=config.goal,
        metadata=config.metadata,
        storage=sqlite_address(storage),
        name=f"digits-{seed}",
        seed=seed,
    )


def _report(
    results: Mapping[str, list[_Result]], config: StudyConfig, args: argparse.Namespace
) -> None:
    import numpy as np

    from optformer.serving.study.optuna_access import sqlite_address
    from optformer.serving.study.plots import best_so_far, plot_comparison

    # name -> best validation accuracy so far, shape (seeds, trials)
    curves = {
        name: np.array([best_so_far(result.values, config.goal) for result in found])
        for name, found in results.items()
    }
    marks = [n for n in (5, 10) if n < args.trials] + [args.trials]
    rows = [
        [
            name,
            len(found),
            *(f"{curves[name][:, n - 1].mean():.4f}" for n in marks),
            f"{np.mean([result.test for result in found]):.4f}",
            f"{np.mean([result.seconds for result in found]):.1f}",
            f"{1000 * np.mean([result.suggesting for result in found]) / args.trials:.0f}",
        ]
        for name, found in results.items()
    ]
    console.write()
    console.write("Best validation accuracy after so many trials, and the final network's accuracy")
    console.write("on the test images; means over the seeds.")
    console.table(
        ["method", "seeds", *(f"after {n}" for n in marks), "test", "seconds", "ms a suggestion"],
        rows,
    )
    seeds = len(results["optformer"])
    plot = args.out / "demo.png"
    plot_comparison(
        {name: list(curve.mean(axis=0)) for name, curve in curves.items()},
        goal=config.goal,
        metric=config.metric_name,
        title=f"digits, mean of {seeds} seed{'s' if seeds > 1 else ''}",
        path=plot,
    )
    first = results["optformer"][0]
    console.write()
    console.write(f"Best values of optformer, seed {args.seed}:")
    console.table(["parameter", "value"], [(k, str(v)) for k, v in first.best.items()])
    console.write(f"test accuracy of the final network trained with them: {first.test:.4f}")
    console.write(f"plot: {plot}")
    address = shlex.quote(sqlite_address(args.out / "study.db"))
    console.write(f"studies: optformer show --storage {address}")
