"""Learn from recorded searches to search better than they did: offline reinforcement learning.

A policy that imitates a mixture of searches is as good as their mixture. Two ways to lean towards
what went well, both of which need nothing but the recorded trials:

- "returns": the metadata tell in which fifth the study's regret-to-go is. A suggestion is then
  conditioned on the best fifth (Chen et al. 2021, "Decision Transformer"; regret-to-go as in
  Song et al. 2024, "Reinforced In-Context Black-Box Optimization").
- "advantages": a trial's policy loss is weighted by exp(advantage / temperature), where the
  advantage is its y above the mean of the trials before it (Peng et al. 2019,
  "Advantage-Weighted Regression").

Letters as in `optformer.model.tensors`; y is a value scaled to [0, 1], larger is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from optformer.data.studies.study_config import StudyConfig
from optformer.tokenization.objective_scale import ObjectiveScale
from optformer.training.config import PolicyConfig

RETURN = "return"
"""Key of the metadata that tell how well the search goes on."""

RETURN_LEVELS = ("worst", "poor", "fair", "good", "best")
"""Fifths of the regret-to-go, the largest first."""


@dataclass(frozen=True)
class PolicyConditioning:
    """What leans the policy towards good searches.

    Attributes:
        metadata: Entries to add to each study's metadata, B mappings.
        weights: Weight of each value query, (B, N); None weighs them equally.
    """

    metadata: Sequence[Mapping[str, str]]
    weights: Tensor | None


def condition_policy(
    policy: PolicyConfig,
    y: Tensor,
    observed: Tensor,
    best: Tensor,
    rows: Tensor,
    rng: np.random.Generator,
) -> PolicyConditioning:
    """Lean the policy's queries towards good searches, as configured.

    Args:
        policy: How.
        y: Scaled value of each trial, 0 for a failure, (B, T).
        observed: Trials that have ended, bool, (B, T).
        best: Best y known of each study's objective, (B,).
        rows: Trial of each value query, in order, (N,).
        rng: Chooses the studies that tell their return.
    """
    nothing: list[Mapping[str, str]] = [{}] * len(y)
    if policy.objective == "advantages":
        return PolicyConditioning(nothing, advantage_weights(policy, y, observed, rows))
    if policy.objective == "returns":
        first = int(rows[0])
        levels = return_levels(y[:, first:], observed[:, first:], best)
        conditioned = rng.random(len(levels)) < policy.conditioned
        metadata = [
            {RETURN: level} if tell else {} for level, tell in zip(levels, conditioned, strict=True)
        ]
        return PolicyConditioning(metadata, None)
    return PolicyConditioning(nothing, None)


def scaled_y(scale: ObjectiveScale, gain: Tensor) -> Tensor:
    """Scaled values of gains, (B, T); 0, the least, where they are NaN."""
    unit = scale.to_unit(gain.nan_to_num()).float()
    return unit.masked_fill(gain.isnan(), 0.0)


def advantage_weights(policy: PolicyConfig, y: Tensor, observed: Tensor, rows: Tensor) -> Tensor:
    """exp(advantage / temperature), at most `largest_weight`, (B, N).

    The advantage of a trial is its y above the mean of the observed ones before it; 0 where it is
    not observed, or none before it is.
    """
    before = observed.cumsum(-1) - observed.long()  # (B, T) observed trials before each
    sums = (y * observed).cumsum(-1) - y * observed
    advantage = y - sums / before.clamp(min=1)
    advantage = advantage.masked_fill(~observed | (before == 0), 0.0)
    weights = torch.exp(advantage / policy.temperature).clamp(max=policy.largest_weight)
    return weights[:, rows]


def return_levels(y: Tensor, observed: Tensor, best: Tensor) -> list[str]:
    """Fifth of each study's regret-to-go among the studies of a batch.

    The regret-to-go is the mean distance of the trials to come, (B, T), from the best y known.
    The studies of a batch have equally many trials before and to come, so that their ranks compare.
    """
    counted = observed.sum(-1).clamp(min=1)
    regret = ((best[:, None] - y) * observed).sum(-1) / counted
    regret = regret.masked_fill(~observed.any(-1), torch.inf)
    rank = regret.argsort(descending=True, stable=True).argsort()
    return [RETURN_LEVELS[r * len(RETURN_LEVELS) // len(regret)] for r in rank.tolist()]


def condition_on_best_return(config: StudyConfig) -> StudyConfig:
    """The study whose metadata ask for the best return, as the policy's suggestions need it."""
    return replace(config, metadata={**config.metadata, RETURN: RETURN_LEVELS[-1]})
