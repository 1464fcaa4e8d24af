"""Predictions in the user's units, and the explanation of a suggestion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from optformer.planning.acquisition import bin_centres, quantile
from optformer.tokenization.objective_scale import ObjectiveScale

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Prediction:
    """What the model expects of one point.

    Attributes:
        mean: Expected metric given that the trial does not fail, in the metric's units and sign.
        std: Its standard deviation.
        quantiles: Quantiles of the metric at 0.05, 0.25, 0.5, 0.75 and 0.95.
        probability_of_improvement: Chance of a value better than the best so far, in [0, 1].
        probability_of_failure: Chance that the trial fails, in [0, 1].
    """

    mean: float
    std: float
    quantiles: Mapping[float, float]
    probability_of_improvement: float
    probability_of_failure: float


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
    logits: Tensor, scale: ObjectiveScale, best: Tensor, sign: float
) -> list[Prediction]:
    """Read predictions off the logits.

    Args:
        logits: Over the bins and `failed`, (N, Q + 1).
        scale: The study's scale.
        best: Best scaled value, scalar.
        sign: 1.0 when the metric is maximized, -1.0 when it is minimized.
    """
    logits = logits.double()
    chances = logits.softmax(-1)
    failure = chances[:, -1]
    alive = logits[:, :-1].softmax(-1)
    centres = bin_centres(alive.shape[-1], alive).double()
    values = sign * scale.from_unit(centres)
    # About the middle: a metric of 1e9 + 1e-3 keeps its small part.
    middle = values[len(values) // 2]
    shift = alive @ (values - middle)
    spread = values - middle - shift[:, None]
    mean, std = middle + shift, (alive * spread.square()).sum(-1).sqrt()
    improvement = chances[:, :-1] @ (centres > best).to(chances.dtype)
    # Of a minimized metric the low quantiles are the high ones of the scaled value.
    quantiles = {
        level: sign * scale.from_unit(quantile(logits, level if sign > 0 else 1 - level).double())
        for level in LEVELS
    }
    return [
        Prediction(
            mean=float(mean[i]),
            std=float(std[i]),
            quantiles={level: float(row[i]) for level, row in quantiles.items()},
            probability_of_improvement=float(improvement[i]),
            probability_of_failure=float(failure[i]),
        )
        for i in range(len(mean))
    ]
