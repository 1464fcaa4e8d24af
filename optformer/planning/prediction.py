"""Predictions in the user's units, and the explanation of a suggestion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from optformer.data.studies.study_config import StudyConfig
from optformer.planning.candidates import CLOSE
from optformer.planning.distribution import BinnedDistribution
from optformer.planning.levels import Array
from optformer.planning.space_transform import SpaceTransform
from optformer.tokenization.objective_scale import ObjectiveScale

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_FLOOR_WIDTH = 0.01  # above the floor, that the model spreads a value at the floor over
_ROUND_OFF = 1e-6  # of an improvement, in spreads of the scale
_NEAR = 1e-4  # added to squared distances that weigh what was measured


@dataclass(frozen=True)
class Prediction:
    """What the model expects of one point; of the first metric where a study has several.

    Attributes:
        mean: Expected metric if the trial does not fail, in the metric's units and sign.
        std: Standard deviation of the metric if the trial does not fail, in the metric's units.
        quantiles: Quantiles of the metric if the trial does not fail, by their levels 0.05, 0.25,
            0.5, 0.75 and 0.95.
        probability_of_improvement: Probability of a value better than the best so far, in [0, 1];
            with limits the best of the trials that keep them, once there is one.
        probability_of_failure: Probability that the trial fails, in [0, 1].
        expected_improvement: By how much the trial is expected to be better than the best so far,
            at least 0, in the metric's units; a failure improves nothing, nor does a trial beyond
            a limit.
        probability_of_keeping: Probability that the limits are kept if the trial does not fail, in
            [0, 1]; 1 without limits.
        metrics: The prediction of every metric by its name, where a study has several goals or
            limits. There `probability_of_keeping` is of that metric's own limit.
    """

    mean: float
    std: float
    quantiles: Mapping[float, float]
    probability_of_improvement: float
    probability_of_failure: float
    expected_improvement: float
    probability_of_keeping: float = 1.0
    metrics: Mapping[str, Prediction] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """Why a point was suggested.

    Attributes:
        prediction: What the model expected of it; None before the first measured trial.
        nearest: Numbers of the most similar past trials, nearest first.
        source: Who proposed it: "start" (a space-filling trial), "space", "optimum", "mutation" or
            "local".
    """

    prediction: Prediction | None
    nearest: tuple[int, ...]
    source: str


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of a metric, as predicted points see it.

    Attributes:
        space: The space.
        points: The N predicted points, (N, P).
        tried: Points of T trials, (T, P).
        gains: Their values, larger is better, float64, (T,).
    """

    space: SpaceTransform
    points: Array
    tried: Array
    gains: Tensor

    @staticmethod
    def of(
        space: SpaceTransform, points: Array, tried: Array, gains: Sequence[float | None]
    ) -> Measured:
        """What trials say; those without a value say nothing."""
        known = [i for i, gain in enumerate(gains) if gain is not None]
        values = torch.tensor([gains[i] for i in known], dtype=torch.double)
        return Measured(space, points, tried[known], values)

    def distances(self, some: Tensor) -> Tensor:
        """Distances of the points from some of the trials, by their positions, (N, B)."""
        return torch.from_numpy(self.space.distances(self.points, self.tried[some.numpy()]))

    def range_at(self, low: Tensor, high: Tensor, sign: float) -> tuple[Tensor, Tensor]:
        """Intervals, each (N,), widened to what was measured at the points themselves.

        Args:
            low: Lower ends, in the metric's sign.
            high: Upper ends.
            sign: 1.0 when the metric is maximized, -1.0 when it is minimized.
        """
        values, same = sign * self.gains, self.space.gaps(self.points, self.tried) <= CLOSE
        here = torch.from_numpy(same)
        low, high = low[:, None], high[:, None]
        least = torch.cat([low, torch.where(here, values, low)], -1).amin(-1)
        most = torch.cat([high, torch.where(here, values, high)], -1).amax(-1)
        return least, most


class _Values:
    """What the bins of a prediction are worth, larger is better.

    Values below the scale's floor share its bin: there it means "this or worse". So it is worth
    what was measured so low, nearest first.

    Args:
        distribution: The prediction of N points, in double precision.
        scale: The study's scale.
        measured: What was measured.
        bounds: Least and most value.
    """

    def __init__(
        self,
        distribution: BinnedDistribution,
        scale: ObjectiveScale,
        measured: Measured,
        bounds: tuple[float, float],
    ):
        self._distribution, self._scale, self._bounds = distribution, scale, bounds
        self.bins = scale.from_unit(distribution.centers).clamp(*bounds)  # (Q,), or (N, Q) below
        below = scale.below_floor(measured.gains)
        self._low = 0  # bins that mean "this or worse"
        if not below.any():
            return
        self._worst, order = measured.gains[below].sort()
        distances = measured.distances(below.nonzero()[:, 0][order])
        closeness = 1 / (distances.square() + _NEAR)
        self._share = closeness.cumsum(-1) / closeness.sum(-1, keepdim=True)  # (N, B)
        self._low = self._bins_at_floor(measured.gains[~below])
        typical = self._low_quantile(torch.full_like(self._share[:, 0], 0.5))
        self.bins = self.bins.repeat(len(typical), 1)
        self.bins[:, : self._low] = typical[:, None]

    def quantile(self, level: float) -> Tensor:
        """Quantile of the values, (N,)."""
        value = self._scale.from_unit(self._distribution.quantile(level)).clamp(*self._bounds)
        if not self._low:
            return value
        mass = self._distribution.probabilities[..., : self._low].sum(-1)
        return torch.where(mass >= level, self._low_quantile(level / mass), value)

    def _bins_at_floor(self, above: Tensor) -> int:
        """How many of the lowest bins are nearer to the floor than to any value above it."""
        floor = float(self._scale.floor)
        least = float(self._scale.to_unit(above).amin()) if len(above) else 1.0
        edge = min(floor + _FLOOR_WIDTH, (floor + least) / 2)
        return int((self._distribution.centers <= edge).sum())

    def _low_quantile(self, part: Tensor) -> Tensor:
        """Quantile of what was measured below the floor, weighted by nearness, (N,)."""
        index = torch.searchsorted(self._share, part.clamp(max=1.0)[:, None])[:, 0]
        return self._worst[index.clamp(max=len(self._worst) - 1)].clamp(*self._bounds)


def predictions(
    distribution: BinnedDistribution,
    scale: ObjectiveScale,
    best: Tensor,
    config: StudyConfig,
    measured: Measured,
) -> list[Prediction]:
    """Predictions in the user's units.

    Args:
        distribution: What is predicted of the scaled metric of N points.
        scale: The study's scale.
        best: Best scaled metric, scalar.
        config: The study, of this one metric: its goal, and the metric's range.
        measured: What was measured of the metric.
    """
    distribution, sign = distribution.double(), config.sign
    probabilities = distribution.probabilities
    gains = _Values(distribution, scale, measured, _bounds(config, measured))
    values = sign * gains.bins
    # About the middle: a metric of 1e9 + 1e-3 keeps its small part.
    middle = values[..., values.shape[-1] // 2, None]
    shift = _expected(probabilities, values - middle)
    mean = middle[..., 0] + shift
    std = _deviation(probabilities, values - middle - shift[:, None])
    better = (gains.bins - scale.from_unit(best)).clamp(min=0)
    gain = _expected(distribution.outcome_probabilities[..., :-1], better)
    improvement = distribution.pi(best)
    if config.metric_ranges:  # at the end of the range there is none, up to single precision
        improvement = improvement.where(gain > _ROUND_OFF * scale.spread, 0.0)
    failure = distribution.outcome_probabilities[:, -1]
    # The low quantiles of a minimized metric are the high ones of the scaled metric.
    quantiles = {level: sign * gains.quantile(level if sign > 0 else 1 - level) for level in LEVELS}
    least, *_, most = LEVELS
    ends = measured.range_at(quantiles[least], quantiles[most], sign)
    quantiles[least], quantiles[most] = ends
    return [
        Prediction(
            mean=float(mean[i]),
            std=float(std[i]),
            quantiles={level: float(row[i]) for level, row in quantiles.items()},
            probability_of_improvement=float(improvement[i]),
            probability_of_failure=float(failure[i]),
            expected_improvement=float(gain[i]),
        )
        for i in range(len(mean))
    ]


def _bounds(config: StudyConfig, measured: Measured) -> tuple[float, float]:
    """Least and most gain by the metric's range, which what was measured may pass."""
    low, high = config.metric_ranges.get(config.metric_name, (-math.inf, math.inf))
    if config.sign < 0:
        low, high = -high, -low
    gains = measured.gains.tolist()
    return min([low, *gains]), max([high, *gains])


def _expected(probabilities: Tensor, values: Tensor) -> Tensor:
    """Expectation of values of the bins, (Q,) or (N, Q); (N,)."""
    return probabilities @ values if values.dim() == 1 else (probabilities * values).sum(-1)


def _deviation(probabilities: Tensor, deviations: Tensor) -> Tensor:
    """Root of the mean square, (N,); squares neither overflow nor vanish."""
    largest = float(torch.cat([deviations.flatten(), deviations.new_zeros(1)]).abs().max())
    unit = 2.0 ** math.frexp(largest)[1]  # a power of 2, exact
    root: Tensor = unit * (probabilities * (deviations / unit).square()).sum(-1).sqrt()
    return root
