"""What is added to the acquisition scores of candidates, each at most 0.

Scores are logarithms, so a term is the logarithm of a weight in (0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from optformer.planning.distribution import PredictiveDistribution
from optformer.planning.space_transform import Array, SpaceTransform

# Chosen by the regret after 3 to 20 trials on development tasks: 2 among 1, 2 and 4, .2 among .1
# and .2.
CENTER_PRIOR_WEIGHT = 2.0  # before any trial
KNOWN_SIGNAL = 0.2  # metadata signal that is trusted by half; .02 for nameless parameters
# Powers of the feasibility beside the one in the acquisition. With 1, 2, 4 and 8 in all, .20, .17,
# .11 and .05 of trials 21 to 30 failed on functions that fail in a third to half of their space.
FAILURE_WEIGHT = 3.0
_CLOSE = 1e-3  # distance below which a slope is round-off


def center_prior(space: SpaceTransform, values: Array, measured: int) -> Tensor:
    """Log-prior that favours the center of the space in the first trials, (N,).

    With few trials a prediction is least certain at the ends of the ranges, so acquisitions are
    high there; but whoever chose the ranges put them around good values. A prior of where the best
    lies is therefore added (Hvarfner et al. 2022, "piBO: Augmenting acquisition functions with user
    beliefs for Bayesian optimization"). It fades as trials are measured.

    Args:
        space: The space.
        values: Candidates, (N, P), as in `SpaceTransform`.
        measured: Number of trials with a value.
    """
    weight = CENTER_PRIOR_WEIGHT / (1 + measured)
    return torch.from_numpy(weight * space.centrality(values)).float()


def metadata_trust(signal: float) -> float:
    """How far the belief of where the best lies replaces the center prior, in [0, 1].

    Args:
        signal: How much the metadata tell, see `StudyEncoder.metadata_signal`.
    """
    return 1 - 1 / (1 + (signal / KNOWN_SIGNAL) ** 4)


def failure_penalty(prediction: PredictiveDistribution) -> Tensor:
    """Extra weight of the feasibility, (N,).

    Failed trials carry no value, so the acquisition stays high next to them, weighted with the
    feasibility only once. Where trials have failed the feasibility counts more than once.
    """
    return FAILURE_WEIGHT * prediction.log_feasible


def local_penalty(
    pending: PredictiveDistribution, distances: Array, best: Tensor, slope: float
) -> Tensor:
    """Penalty near pending trials whose values are not assumed, (N,).

    If y is nowhere steeper than `slope`, nothing in a ball around a pending trial can be better
    than the best. The penalty is the logarithm of the probability of lying outside all balls
    (Gonzalez et al. 2016, "Batch Bayesian optimization via local penalization").

    Args:
        pending: Prediction for M pending trials.
        distances: Distances of the candidates from them, (N, M).
        best: Best y so far, scalar.
        slope: y over distance.
    """
    reach = slope * torch.from_numpy(distances).float()
    log_outside = torch.special.log_ndtr((reach - (best - pending.mean)) / pending.stddev)
    penalty: Tensor = log_outside.sum(-1)
    return penalty


def steepest_slope(mean: Tensor, distances: Array) -> float:
    """The steepest slope of predicted means between two candidates.

    Args:
        mean: Predicted means of y, (N,).
        distances: Distances between the candidates, (N, N).
    """
    rise = (mean[:, None] - mean[None, :]).abs()
    return float((rise / torch.from_numpy(distances).float().clamp(min=_CLOSE)).amax())
