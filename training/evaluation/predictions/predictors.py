"""Who predicts: a checkpoint, and a Gaussian process fitted to the same trials.

Both answer with the probability of the bin that a target's value falls into, on the objective scale
fitted to the prefix, so that their likelihoods compare. N counts targets, Q bins.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from optformer.data.studies.extras import importing
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.planning.planner import ALGORITHM
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.study_encoder import StudyEncoder
from optformer.tokenization.history import objective_values
from optformer.tokenization.objective_scale import ObjectiveScale, fit_scale
from optformer.training.bootstrap import Array
from optformer.training.evaluation.evaluate import binned_normal
from optformer.training.mixtures.queries import gain_bins


@dataclass(frozen=True)
class PredictionQuery:
    """Points whose values are predicted from a prefix of a history.

    Attributes:
        config: The study.
        prefix: The known trials, at least one with a value.
        points: N points.
        values: Their measured values, in the metric's units and sign, (N,).
    """

    config: StudyConfig
    prefix: Sequence[Trial]
    points: Sequence[Mapping[str, Value]]
    values: Array

    @cached_property
    def scale(self) -> ObjectiveScale:
        """The objective scale of the prefix."""
        values, observed = objective_values(self.config, self.prefix)
        return fit_scale(torch.from_numpy(values), torch.from_numpy(observed))

    @cached_property
    def bins(self) -> torch.Tensor:
        """Bins of the values, int64, (N,)."""
        return gain_bins(self.scale, torch.from_numpy(self.config.sign * self.values))


@dataclass(frozen=True)
class Answer:
    """How the values that were observed lie in what was predicted.

    Attributes:
        below: Predicted probability of all bins below the observed one, (N,).
        inside: Predicted probability of the observed bin, (N,).
        centre: What orders the points from bad to good: the mean, on any increasing scale, (N,).
    """

    below: Array
    inside: Array
    centre: Array


class Predictor(Protocol):
    """Predicts the values of points from a prefix of their history."""

    def __call__(self, query: PredictionQuery) -> Answer:
        """Answer one query."""


class CheckpointPredictor:
    """The model as the planner uses it; values are predicted given that the trial does not fail."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @torch.no_grad()
    def __call__(self, query: PredictionQuery) -> Answer:
        """See `Predictor`."""
        space = SpaceTransform(query.config.space, {})
        study = StudyEncoder(self._checkpoint, query.config, ALGORITHM).encode(query.prefix)
        prediction = study.predict(space.points(space.encode(query.points))).double()
        probabilities = prediction.probabilities
        inside = probabilities.gather(-1, query.bins[:, None])
        below = probabilities.cumsum(-1).gather(-1, query.bins[:, None]) - inside
        return Answer(below[:, 0].numpy(), inside[:, 0].numpy(), prediction.mean.numpy())


class GaussianProcessPredictor:
    """BoTorch's Gaussian process with its defaults, hyperparameters fitted to each prefix.

    A length scale an input under the priors of Hvarfner et al. 2024, marginal likelihood, values
    standardized; numbers lie on the unit interval, choices are one-hot, failed trials are left out.

    Raises:
        MissingExtraError: BoTorch is not installed.
    """

    def __init__(self) -> None:
        with importing("the Gaussian process", "botorch"):
            import botorch  # noqa: F401

    def __call__(self, query: PredictionQuery) -> Answer:
        """See `Predictor`."""
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from gpytorch.mlls import ExactMarginalLogLikelihood

        config = query.config
        space = SpaceTransform(config.space, {})
        known = [trial for trial in query.prefix if trial.value is not None]
        gains = [config.sign * trial.value for trial in known if trial.value is not None]
        inputs = _one_hot(space, [trial.params for trial in known])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # equal values and hard fits are usual here
            process = SingleTaskGP(inputs, torch.tensor(gains, dtype=torch.float64)[:, None])
            fit_gpytorch_mll(ExactMarginalLogLikelihood(process.likelihood, process))
            with torch.no_grad():
                found = process.posterior(_one_hot(space, query.points), observation_noise=True)
                mean, deviation = found.mean[:, 0], found.variance[:, 0].sqrt()
        below, inside = binned_normal(query.scale, mean, deviation, query.bins)
        return Answer(below.numpy(), inside.numpy(), mean.numpy())


def _one_hot(space: SpaceTransform, points: Sequence[Mapping[str, Value]]) -> torch.Tensor:
    """Numbers as they are and a column for each choice; nothing where a condition is not met."""
    values = space.encode(points)
    active = space.active(values)
    columns: list[Array] = []
    for slot, own in enumerate(space.levels):
        if space.is_choice[slot] and own is not None:
            chosen = [(values[:, slot] == k) & active[:, slot] for k in own.listed()]
            columns += [one.astype(float) for one in chosen]
        else:
            columns.append(values[:, slot])
    return torch.from_numpy(np.stack(columns, axis=-1))
