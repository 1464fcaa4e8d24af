"""The model as Optuna's sampler: beside our own study, and beside Optuna's samplers.

python experiments/optuna_sampler.py time    # processor time of a suggestion
python experiments/optuna_sampler.py regret  # through the sampler as through our own study?
python experiments/optuna_sampler.py goals   # several objectives, and constraints
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from optformer.data.objectives import bbob
from optformer.data.studies.optuna_distributions import to_distributions
from optformer.data.studies.pareto import hypervolume
from optformer.serving.benchmarks.suites import load_task
from optformer.serving.benchmarks.tasks import Task
from optformer.serving.integrations.optuna_sampler import OptFormerSampler
from optformer.serving.study.study import create_study

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "OptFormerSampler": lambda seed: OptFormerSampler(seed=seed),
    "GPSampler": lambda seed: GPSampler(seed=seed),
    "TPESampler": lambda seed: TPESampler(seed=seed),
    "RandomSampler": lambda seed: RandomSampler(seed=seed),
}

SPACE: dict[str, BaseDistribution] = {
    **{f"rate_{i}": FloatDistribution(1e-5, 1e-1, log=True) for i in range(4)},
    **{f"layers_{i}": IntDistribution(1, 8) for i in range(2)},
    "optimizer": CategoricalDistribution(["adam", "sgd", "lion"]),
}


def loss(trial: optuna.Trial) -> float:
    """Something smooth in all numbers of `SPACE`."""
    rates = [(np.log10(trial.params[f"rate_{i}"]) + 3) ** 2 for i in range(4)]
    layers = [(trial.params[f"layers_{i}"] - 3) ** 2 / 10 for i in range(2)]
    return float(sum(rates) + sum(layers))


def measure_time(lengths: Sequence[int], repeats: int) -> None:
    """Milliseconds of the processor's time for all of one trial but its evaluation."""
    for length in lengths:
        for name, make in SAMPLERS.items():
            study = optuna.create_study(sampler=RandomSampler(seed=0))
            for _ in range(length):
                trial = study.ask(SPACE)
                study.tell(trial, loss(trial))
            study.sampler = make(0)
            spent = []
            for _ in range(repeats + 1):
                began = time.process_time()
                trial = study.ask(SPACE)
                spent.append(1e3 * (time.process_time() - began))
                study.tell(trial, loss(trial))
            print(f"{length:5d} trials, {name}: {statistics.median(spent[1:]):.1f} ms", flush=True)


def measure_regret(trials: int, seeds: int) -> None:
    """Mean regret on the BBOB functions of development: 0 the optimum, 1 the median point."""
    regrets: dict[str, list[float]] = {}
    same = searches = 0
    for name in bbob.DEV_NAMES:
        task = load_task("dev", name)
        scale = _median(task)
        for seed in range(seeds):
            own = _own_study(task, trials, seed)
            declared = OptFormerSampler(
                seed=seed, space=task.config.space, metadata=task.config.metadata
            )
            found = {
                "our own study": own,
                "OptFormerSampler, declared space": _search(task, declared, trials),
                "OptFormerSampler": _search(task, OptFormerSampler(seed=seed), trials),
                "TPESampler": _search(task, TPESampler(seed=seed), trials),
            }
            searches += 1
            same += own == found["OptFormerSampler, declared space"]
            for method, values in found.items():
                best = min(task.config.sign * -value for value in values)
                optimum = task.config.sign * -float(task.optimum or 0)
                regrets.setdefault(method, []).append((best - optimum) / (scale - optimum))
        print(
            name, {method: round(values[-1], 3) for method, values in regrets.items()}, flush=True
        )
    print(
        f"the same values as our own study in {same} of {searches} searches with a declared space"
    )
    for method, values in regrets.items():
        print(f"{method}: mean regret after {trials} trials {np.mean(values):.4f}")


def _own_study(task: Task, trials: int, seed: int) -> list[float]:
    config = task.config
    study = create_study(
        config.space,
        metric=config.metric_name,
        goal=config.goal,
        metadata=config.metadata,
        seed=seed,
    )
    for _ in range(trials):
        trial = study.suggest()
        study.observe(trial, task.evaluate(trial.params))
    return [float(trial.value or 0) for trial in study.trials]


def _search(task: Task, sampler: BaseSampler, trials: int) -> list[float]:
    study = optuna.create_study(direction=task.config.goal, sampler=sampler)
    study.set_metric_names([task.config.metric_name])
    for _ in range(trials):
        trial = study.ask(to_distributions(task.config.space))
        study.tell(trial, task.evaluate(trial.params))
    return [float(trial.value or 0) for trial in study.trials]


def _median(task: Task) -> float:
    rng = np.random.default_rng(0)
    points = [task.config.space.sample(rng) for _ in range(500)]
    return float(np.median([task.config.sign * -task.evaluate(point) for point in points]))


@dataclass(frozen=True)
class Goals:
    """A task with several objectives, or constraints, all at most 0 where they are kept.

    Attributes:
        evaluate: A trial to its objectives, which are minimized, and its constraints.
        reference: What the objectives must be better than; of one objective the worst that counts.
    """

    evaluate: Callable[[optuna.Trial], tuple[list[float], list[float]]]
    reference: tuple[float, ...]


def binh_korn(trial: optuna.Trial) -> tuple[list[float], list[float]]:
    """Two objectives and two constraints of two numbers (Binh and Korn 1997)."""
    x, y = trial.suggest_float("x", 0, 5), trial.suggest_float("y", 0, 3)
    constraints = [(x - 5) ** 2 + y**2 - 25, 7.7 - (x - 8) ** 2 - (y + 3) ** 2]
    return [4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2], constraints


def gramacy(trial: optuna.Trial) -> tuple[list[float], list[float]]:
    """One objective under two constraints, best at .5998 (Gramacy et al. 2016)."""
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    wave = 1.5 - x - 2 * y - 0.5 * np.sin(2 * np.pi * (x**2 - 2 * y))
    return [x + y], [float(wave), x**2 + y**2 - 1.5]


def forest(trial: optuna.Trial) -> tuple[list[float], list[float]]:
    """Error and size (log10 of its leaves) of a random forest on digits, in at most 40 trees."""
    model = RandomForestClassifier(
        n_estimators=trial.suggest_int("n_estimators", 2, 80, log=True),
        max_depth=trial.suggest_int("max_depth", 1, 20),
        min_samples_leaf=trial.suggest_int("min_samples_leaf", 1, 50, log=True),
        max_features=trial.suggest_float("max_features", 0.02, 1.0, log=True),
        random_state=0,
    )
    x, y = load_digits(return_X_y=True)
    x_fit, x_test, y_fit, y_test = train_test_split(x, y, test_size=0.5, random_state=0)
    model.fit(x_fit, y_fit)
    leaves = sum(tree.get_n_leaves() for tree in model.estimators_)
    return [1 - model.score(x_test, y_test), float(np.log10(leaves))], [
        float(model.n_estimators - 40)
    ]


GOALS = {
    "binh-korn": Goals(binh_korn, (140.0, 50.0)),
    "forest": Goals(forest, (0.5, 4.0)),
    "gramacy": Goals(gramacy, (2.0,)),
}


def measure_goals(trials: int, seeds: int) -> None:
    """The hypervolume of what keeps the constraints, and how many trials do."""
    for task, goals in GOALS.items():
        for name, make in SAMPLERS.items():
            results = [_front(goals, make(seed), trials) for seed in range(seeds)]
            gained, half, kept = np.array(results).mean(0)
            print(
                f"{task}, {name}: hypervolume {half:.4g} after {trials // 2}, {gained:.4g} after "
                f"{trials} trials; {kept:.1f} keep the constraints",
                flush=True,
            )


def _front(goals: Goals, sampler: BaseSampler, trials: int) -> list[float]:
    study = optuna.create_study(directions=["minimize"] * len(goals.reference), sampler=sampler)

    def objective(trial: optuna.Trial) -> list[float]:
        values, constraints = goals.evaluate(trial)
        for i, constraint in enumerate(constraints):
            trial.set_constraint(f"{i}", constraint)
        return values

    study.optimize(objective, n_trials=trials)
    kept = [all(each <= 0 for each in trial.constraints.values()) for trial in study.trials]
    gains = -np.array([trial.values for trial in study.trials], dtype=float)
    volumes = [
        hypervolume(gains[:end][kept[:end]], -np.array(goals.reference))
        for end in (trials, trials // 2)
    ]
    return [*volumes, float(sum(kept))]


def main() -> None:
    """Run the measurement that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measure", choices=["time", "regret", "goals"])
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    if options.measure == "time":
        measure_time((10, 100, 1000), options.seeds)
    elif options.measure == "regret":
        measure_regret(options.trials, options.seeds)
    else:
        measure_goals(options.trials, options.seeds)


if __name__ == "__main__":
    main()
