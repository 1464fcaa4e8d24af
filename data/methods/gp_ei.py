"""Bayesian optimization: a Gaussian process with expected improvement or an upper bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optformer.data.methods.base import check_count
from optformer.data.methods.points import (
    mutate,
    point_key,
    sample_untried,
    tried_keys,
    untried_neighbour,
)
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus

_SPACE_CANDIDATES, _LOCAL_CANDIDATES = 192, 64
_LOCAL_STEPS = (0.003, 0.2)  # sizes of the local candidates' steps, log-uniform


class GaussianProcessEI:
    """Fits a Gaussian process to the history and takes the candidate of most expected improvement.

    After some random points, candidates are drawn from the space and around the best point. The
    process has a Matern 5/2 kernel whose length scale and noise maximize the marginal likelihood on
    a grid; a choice is a corner of a simplex. Failed trials count as the worst value, pending ones
    as the mean, and so do the earlier points of a batch. This is the method "gp ei" of the bulk
    histories, for one study of any space.

    Source: Jones, Schonlau, Welch, "Efficient global optimization of expensive black-box
    functions", 1998; Snoek, Larochelle, Adams, "Practical Bayesian optimization of machine learning
    algorithms", 2012.

    Args:
        config: The study.
        start: Random points before the process is asked, at least 1.

    Raises:
        ConfigError: `start` is below 1.
    """

    _acquisition = "ei"

    def __init__(self, config: StudyConfig, start: int = 5):
        if start < 1:
            raise ConfigError(f"start must be at least 1, got {start}")
        self._config = config
        self._start = start

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        tried = tried_keys(history)
        points: list[dict[str, Value]] = []
        for _ in range(count):
            told = [*history, *(Trial(len(history) + i, p) for i, p in enumerate(points))]
            points.append(self._next(told, tried, rng))
        return points

    def _next(
        self, history: Sequence[Trial], tried: set[object], rng: np.random.Generator
    ) -> dict[str, Value]:
        space, fixed, sign = self._config.space, self._config.fixed, self._config.sign
        measured = [trial for trial in history if trial.value is not None]
        if len(history) < self._start or not measured:
            return sample_untried(space, fixed, tried, rng)
        best = max(measured, key=lambda trial: sign * (trial.value or 0.0)).params
        low, high = np.log(_LOCAL_STEPS)
        candidates = [space.sample(rng, fixed) for _ in range(_SPACE_CANDIDATES)]
        candidates += [
            mutate(space, best, rng, step_size=float(np.exp(rng.uniform(low, high))), fixed=fixed)
            for _ in range(_LOCAL_CANDIDATES)
        ]
        fresh = [point for point in candidates if point_key(point) not in tried]
        if not fresh:
            return untried_neighbour(
                space, best, tried, rng, step_size=_LOCAL_STEPS[1], fixed=fixed
            )
        point = fresh[int(np.argmax(self._scores(history, fresh)))]
        tried.add(point_key(point))
        return point

    def _scores(
        self, history: Sequence[Trial], candidates: Sequence[Mapping[str, Value]]
    ) -> NDArray[np.float64]:
        """Acquisition of each candidate, larger is better."""
        import torch

        from optformer.data.methods import gaussian_process

        space = self._config.space
        place = torch.from_numpy(_place(space, [trial.params for trial in history]))[None]
        asked = torch.from_numpy(_place(space, candidates))[None]
        values = torch.from_numpy(self._standardized(history))[None]
        scale, noise = gaussian_process.fit(place, values)
        rank = gaussian_process.ACQUISITIONS[self._acquisition]
        score = rank(place, values, asked, scale, noise)
        found: NDArray[np.float64] = score[0].numpy()
        return found

    def _standardized(self, history: Sequence[Trial]) -> NDArray[np.float64]:
        """Values with mean 0 and deviation 1, exploded ones pulled in."""
        gains = np.array(
            [
                np.nan if trial.value is None else self._config.sign * trial.value
                for trial in history
            ]
        )
        centred = gains - np.nanmedian(gains)
        size = np.nanmean(np.abs(centred))
        scaled = np.arcsinh(centred / size) if size > 0 else centred
        failed = [trial.status is TrialStatus.FAILED for trial in history]
        scaled = np.where(failed, np.nanmin(scaled), scaled)
        scaled = np.where(np.isnan(scaled), np.nanmean(scaled), scaled)
        spread = scaled.std()
        standardized: NDArray[np.float64] = scaled - scaled.mean()
        return standardized / spread if spread > 0 else standardized


class GaussianProcessUCB(GaussianProcessEI):
    """Fits a Gaussian process to the history and takes the candidate of the highest upper bound.

    As `GaussianProcessEI`, but for the acquisition: the mean plus two standard deviations.

    Source: Srinivas, Krause, Kakade, Seeger, "Gaussian process optimization in the bandit setting",
    2010; Snoek, Larochelle, Adams, 2012.

    Args:
        config: The study.
        start: Random points before the process is asked, at least 1.

    Raises:
        ConfigError: `start` is below 1.
    """

    _acquisition = "ucb"


def _place(space: SearchSpace, points: Sequence[Mapping[str, Value]]) -> NDArray[np.float64]:
    """Coordinates of points, (N, E): unit-interval numbers and half a step for each choice."""
    columns: list[list[float]] = []
    for name, parameter in space.items():
        if isinstance(parameter, Categorical):
            index = [parameter.index(p[name]) if name in p else -1 for p in points]
            columns += [[0.5 * (i == k) for i in index] for k in range(parameter.num_levels)]
        else:
            columns.append([parameter.to_unit(p[name]) if name in p else 0.5 for p in points])
    return np.array(columns, dtype=np.float64).T
