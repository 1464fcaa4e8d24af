"""Predictions in the user's units, and the explanation of a suggestion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from optformer.planning.distribution import BinnedDistribution
from optformer.tokenization.objective_scale import ObjectiveScale

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


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
            at least 0, in the metric's units; a failure improves nothing.
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
        source: Who proposed it: "start" (a space-filling trial), "space", "policy", "mutation" or
            "local".
    """

    prediction: Prediction | None
    nearest: tuple[int, ...]
    source: str


def predictions(
    distribution: BinnedDistribution, scale: ObjectiveScale, best: Tensor, sign: float
) -> list[Prediction]:
    """Predictions in the user's units.

    Args:
        distribution: What is predicted of the scaled metric of N points.
        scale: The study's scale.
        best: Best scaled metric, scalar.
        sign: 1.0 when the metric is maximized, -1.0 when it is minimized.
    """
    distribution = distribution.double()
    probabilities = distribution.probabilities
    values = sign * scale.from_unit(distribution.centers)
    # About the middle: a metric of 1e9 + 1e-3 keeps its small part.
    middle = values[len(values) // 2]
    shift = probabilities @ (values - middle)
    deviation = values - middle - shift[:, None]
    mean, std = middle + shift, (probabilities * deviation.square()).sum(-1).sqrt()
    improvement = distribution.pi(best)
    gains = (scale.from_unit(distribution.centers) - scale.from_unit(best)).clamp(min=0)
    gain = distribution.outcome_probabilities[..., :-1] @ gains
    failure = distribution.outcome_probabilities[:, -1]
    # The low quantiles of a minimized metric are the high ones of the scaled metric.
    quantiles = {
        level: sign * scale.from_unit(distribution.quantile(level if sign > 0 else 1 - level))
        for level in LEVELS
    }
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
