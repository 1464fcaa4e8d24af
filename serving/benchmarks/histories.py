"""Runs of a benchmark as histories whose values can be predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from optformer.data.studies.errors import DatasetError
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.trials import Trial
from optformer.serving.benchmarks import results, suites


def draw_runs(out: Path, count: int, rng: np.random.Generator) -> list[RecordedStudy]:
    """Draw runs from a folder that `optformer benchmark` wrote.

    Args:
        out: The folder.
        count: Most runs to draw, at least 1; all of them when there are fewer.
        rng: Draws them.

    Raises:
        ConfigError: The suite or task of a run is unknown.
        DatasetError: The folder holds no run.
        StorageError: A shard of the folder is unreadable; the message names it.
        MissingExtraError: A package of the `benchmark` extra is not installed.
    """
    keys = results.find_runs(out)
    if not keys:
        raise DatasetError(f"{out} holds no benchmark run; give a folder of `optformer benchmark`")
    drawn = [keys[i] for i in np.sort(rng.permutation(len(keys))[:count])]
    tasks = {(key.suite, key.task) for key in drawn}
    configs = {(suite, task): suites.load_task(suite, task).config for suite, task in sorted(tasks)}
    histories = []
    for key in drawn:
        config = configs[key.suite, key.task]
        trials = []
        for row in results.read_run(out, key).trials:
            trial = Trial(row.trial, config.space.validate(row.params))
            trials.append(
                trial.fail("the objective gave no value")
                if row.value is None
                else trial.finish(row.value)
            )
        task = f"{key.suite}/{key.task}"
        name = f"{task}/{key.method}/{key.seed}"
        histories.append(RecordedStudy(name, config, tuple(trials), out.name, task, key.method))
    return histories
