"""BoTorch's Gaussian process with the logarithm of expected improvement, one point or a batch.

Sources: Balandat et al. 2020, "BoTorch"; Ament et al. 2023, "Unexpected Improvements to Expected
Improvement for Bayesian Optimization". Everything below the encoding is BoTorch's, as it comes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from botorch.acquisition.logei import qLogExpectedImprovement
from botorch.exceptions.warnings import BotorchWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models.gp_regression import SingleTaskGP
from botorch.models.gp_regression_mixed import MixedSingleTaskGP
from botorch.optim.optimize import optimize_acqf_discrete
from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.warnings import NumericalWarning
from torch import Tensor

from optformer.data.methods.base import check_count
from optformer.data.methods.external.library import refuse_fixed
from optformer.data.methods.points import exhausted, point_key, tried_keys
from optformer.data.methods.quasi_random import QuasiRandom
from optformer.data.studies.encoding import decode_value, encode_value
from optformer.data.studies.parameters import Categorical, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus

START_TRIALS = 5
"""Sobol points before the Gaussian process takes over; given points count."""

_MAX_LISTED = 40_000  # finite spaces up to this size are maximized over point by point
_MAX_LEVELS = 1_000  # numbers with more levels are continuous until the point is decoded
_SAMPLES, _RAW_SAMPLES, _RESTARTS = 128, 256, 8


class QLogEI:
    """Maximizes log expected improvement under a Gaussian process, after a quasi-random start.

    Numbers lie on the unit interval (logarithmic where declared, an `Ordinal` by its rank);
    categoricals have BoTorch's categorical kernel. A parameter that is inactive takes the middle
    of its range, or its first choice. A failed trial counts as bad as the worst measured one.
    Pending trials, earlier points of the same batch among them, are integrated over
    (`X_pending`); a batch is chosen greedily, one point after the other.

    Args:
        config: The study.

    Raises:
        ConfigError: The study holds parameters fixed.
    """

    def __init__(self, config: StudyConfig):
        refuse_fixed("qlogei", config)
        self._config = config
        self._start = QuasiRandom(config)
        self._encoding = _Encoding(config.space)

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        measured = sum(trial.has_value for trial in history)
        early = count if measured < 2 else min(count, max(0, START_TRIALS - len(history)))
        points = self._start.suggest(history, early, rng) if early else []
        if early < count:
            seed = int(rng.integers(2**31))
            with _quiet(), torch.random.fork_rng(devices=()):
                torch.manual_seed(seed)  # of the fork: starting points are drawn from it
                points += self._maximize(history, points, count - early, seed)
        return points

    def _maximize(
        self,
        history: Sequence[Trial],
        chosen: Sequence[Mapping[str, Value]],
        count: int,
        seed: int,
    ) -> list[dict[str, Value]]:
        encoding = self._encoding
        acquisition = self._acquisition(history, chosen, seed)
        size = self._config.space.size
        if size is not None and size <= _MAX_LISTED:
            tried = tried_keys(history) | {point_key(point) for point in chosen}
            untried = [i for i, key in enumerate(encoding.keys) if key not in tried]
            if len(untried) < count:
                raise exhausted(tried)
            best, _ = optimize_acqf_discrete(acquisition, count, encoding.all_points[untried])
        else:
            best, _ = optimize_acqf_mixed_alternating(
                acquisition,
                encoding.bounds,
                discrete_dims=encoding.discrete,
                cat_dims=encoding.categorical,
                q=count,
                raw_samples=_RAW_SAMPLES,
                num_restarts=_RESTARTS,
                post_processing_func=encoding.legal,
            )
        return [encoding.decode(row) for row in best]

    def _acquisition(
        self, history: Sequence[Trial], chosen: Sequence[Mapping[str, Value]], seed: int
    ) -> qLogExpectedImprovement:
        settled = [trial for trial in history if trial.status is not TrialStatus.PENDING]
        pending = [trial.params for trial in history if trial.status is TrialStatus.PENDING]
        values = [self._config.sign * trial.value for trial in settled if trial.value is not None]
        gains = [
            min(values) if trial.value is None else self._config.sign * trial.value
            for trial in settled
        ]
        inputs = self._encoding.encode([trial.params for trial in settled])
        outputs = torch.tensor(gains, dtype=torch.double)[:, None]
        waiting = self._encoding.encode([*pending, *chosen])
        categorical = list(self._encoding.categorical)
        model = (
            MixedSingleTaskGP(inputs, outputs, cat_dims=categorical)
            if categorical
            else SingleTaskGP(inputs, outputs)
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return qLogExpectedImprovement(
            model,
            best_f=max(values),
            sampler=SobolQMCNormalSampler(torch.Size([_SAMPLES]), seed=seed),
            X_pending=waiting if len(waiting) else None,
        )


class _Encoding:
    """Points of a space as rows of numbers, one column a parameter with more than one value.

    Attributes:
        bounds: Lowest and highest value of each column, shape (2, P).
        discrete: Column to its values in order, for numbers that have few.
        categorical: Column to the positions of its choices.
    """

    def __init__(self, space: SearchSpace):
        self._space = space
        self._columns = {name: p for name, p in space.items() if p.num_levels != 1}
        self._constants = {name: p.grid()[0] for name, p in space.items() if p.num_levels == 1}
        self.discrete: dict[int, list[float]] = {}
        self.categorical: dict[int, list[float]] = {}
        low_high = []
        for column, parameter in enumerate(self._columns.values()):
            levels = parameter.num_levels
            values = [0.0, 1.0]
            if levels is not None and levels <= _MAX_LEVELS:
                values = [encode_value(parameter, value) for value in parameter.grid()]
                kind = self.categorical if isinstance(parameter, Categorical) else self.discrete
                kind[column] = values
            low_high.append((values[0], values[-1]))
        self.bounds = torch.tensor(low_high, dtype=torch.double).T

    def encode(self, points: Iterable[Mapping[str, Value]]) -> Tensor:
        """Legal points as rows, shape (N, P)."""
        rows = [
            [
                encode_value(parameter, point[name]) if name in point else _imputed(parameter)
                for name, parameter in self._columns.items()
            ]
            for point in points
        ]
        return torch.tensor(rows, dtype=torch.double).reshape(-1, len(self._columns))

    def decode(self, row: Tensor) -> dict[str, Value]:
        """The legal point nearest to a row, shape (P,)."""
        values = {
            name: decode_value(parameter, number)
            for (name, parameter), number in zip(self._columns.items(), row.tolist(), strict=True)
        }
        return self._space.active({**values, **self._constants})

    def legal(self, rows: Tensor) -> Tensor:
        """Rows, shape (..., P), as their nearest legal points are encoded."""
        flat = rows.reshape(-1, rows.shape[-1])
        return self.encode([self.decode(row) for row in flat]).reshape(rows.shape)

    @cached_property
    def keys(self) -> list[object]:
        """Key of each point of a finite space."""
        return [point_key(point) for point in self._space.grid()]

    @cached_property
    def all_points(self) -> Tensor:
        """Every point of a finite space in the order of `keys`, shape (N, P)."""
        return self.encode(self._space.grid())


def _imputed(parameter: Parameter) -> float:
    """What an inactive parameter is taken to be: a legal value, so that it can be encoded again."""
    if isinstance(parameter, Categorical):
        return 0.0
    return parameter.to_unit(parameter.from_unit(0.5))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries' notes on short histories and on jitter."""
    with warnings.catch_warnings():
        for category in (BotorchWarning, NumericalWarning):
            warnings.simplefilter("ignore", category)
        yield
