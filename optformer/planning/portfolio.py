"""The next of the first trials: the best complement of those before it, under a joint belief.

A draw x* of the policy is a hypothesis: "the metric is best there". Conditioned on it, the model
says what every other point is worth if that is so. A point is then scored by what it adds: the mean
over the hypotheses of the best value reached with it and with the trials before it. So the first
trial is the best for all hypotheses together, the second serves those that the first fails, and
none repeats another. It is an expected improvement over joint samples of the function (Wilson et
al. 2018, "Maximizing acquisition functions for Bayesian optimization"), and greedy in the sense of
a submodular cover.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from optformer.model.tensors import HistoryTensors, PointTensors, points_batch
from optformer.planning.candidates import Candidates
from optformer.planning.distribution import BinnedDistribution
from optformer.planning.space_transform import Array, SpaceTransform
from optformer.planning.study_encoder import EncodedStudy
from optformer.tokenization.history import MetricKind

OPTIMISM = 0.95  # quantile of its own prediction that the metric has where it is said to be best


class Portfolio:
    """Chooses the first trials one after the other.

    Args:
        study: The model before any trial.
        space: Space of the study, with what is fixed.
        optima: Hypotheses of where the metric is best, (K, P), as in `SpaceTransform`.
        candidates: Points to choose from.
        tried: Points of earlier trials, (M, P).
    """

    def __init__(
        self,
        study: EncodedStudy,
        space: SpaceTransform,
        optima: Array,
        candidates: Candidates,
        tried: Array,
    ):
        self._left = candidates
        values = np.concatenate([candidates.values, tried])
        means = _means(study, space, optima, values)
        self._means, before = means[:, : len(candidates)], means[:, len(candidates) :]
        nothing = torch.full((len(optima),), -torch.inf)
        self._reached = torch.cat([nothing[:, None], before], 1).amax(1)

    def __len__(self) -> int:
        """Candidates that are left."""
        return len(self._left)

    def take(self) -> Candidates:
        """The candidate that adds the most to what is reached, which counts as tried from now."""
        best = int(torch.maximum(self._means, self._reached[:, None]).mean(0).argmax())
        chosen = self._left.select([best])
        self._reached = torch.maximum(self._reached, self._means[:, best])
        others = np.arange(len(self._left)) != best
        self._left = self._left.select(others)
        self._means = self._means[:, torch.from_numpy(others)]
        return chosen


def _means(study: EncodedStudy, space: SpaceTransform, optima: Array, values: Array) -> Tensor:
    """Means of y at N points under each of K hypotheses, (K, N)."""
    count = len(optima)
    where = points_batch(space.points(optima))  # (1, K, P)
    best = torch.maximum(study.predict(space.points(optima)).quantile(OPTIMISM).amax(), study.best)
    assumed = HistoryTensors(
        PointTensors(where.values.transpose(0, 1), where.kinds.transpose(0, 1)),
        best.expand(count, 1),
        torch.full((count, 1), int(MetricKind.VALUE)),
    )
    metadata, history = study.metadata.expand(count), study.history.expand(count)
    # The processes are conditioned: fitted to one trial each, they would say nothing of the others.
    past = study.model.encode_history(metadata, history)
    encoded = study.model.condition_on(metadata, past, history.join(assumed))
    points = points_batch(space.points(values)).expand(count)
    logits = study.model.metric_logits(metadata, encoded, points)
    return BinnedDistribution(logits.flatten(0, 1)).mean.view(count, len(values))
