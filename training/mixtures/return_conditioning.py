"""Learn from recorded searches to search better than they did: offline reinforcement learning.

A policy that imitates a mixture of searches is as good as their mixture. Two ways to lean towards
what went well, both of which need nothing but the recorded trials:

- "returns": the metadata tell in which fifth the study's regret-to-go is, and when a suggestion is
  asked for, they tell the best one (Chen et al. 2021, "Decision Transformer"; regret-to-go as in
  Song et al. 2024, "Reinforced In-Context Black-Box Optimization").
- "advantages": a trial's policy loss is weighted by exp(advantage / temperature), where the
  advantage is its value above the mean of the trials before it (Peng et al. 2019,
  "Advantage-Weighted Regression").

Letters as in `optformer.model.tensors`; values are scaled to [0, 1], larger is better.
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

MARKS = ("worst", "poor", "fair", "good", "best")
"""Fifths of the regret-to-go, the largest first."""


@dataclass(frozen=True)
class Guidance:
    """What leans the policy towards good searches.

    Attributes:
        told: Metadata to add to each study's, B of them.
        weights: Weight of each value question, (B, N); None for equal ones.
    """

    told: Sequence[Mapping[str, str]]
    weights: Tensor | None


def guide(
    policy: PolicyConfig,
    measured: Tensor,
    known: Tensor,
    best: Tensor,
    rows: Tensor,
    rng: np.random.Generator,
) -> Guidance:
    """Lean the policy's questions towards good searches, as configured.

    Args:
        policy: How.
        measured: Scaled value of each trial, 0 for a failure, (B, T).
        known: Which of them are known, bool, (B, T).
        best: Best scaled value that is known of each study's objective, (B,).
        rows: Trial of each value question, in order, (N,).
        rng: Chooses the studies that tell their return.
    """
    nothing: list[Mapping[str, str]] = [{}] * len(measured)
    if policy.objective == "advantages":
        return Guidance(nothing, advantage_weights(policy, measured, known, rows))
    if policy.objective == "returns":
        first = int(rows[0])
        marks = return_marks(measured[:, first:], known[:, first:], best)
        marked = rng.random(len(marks)) < policy.marked
        told = [{RETURN: mark} if tell else {} for mark, tell in zip(marks, marked, strict=True)]
        return Guidance(told, None)
    return Guidance(nothing, None)


def scaled_outcome(scale: ObjectiveScale, outcome: Tensor) -> Tensor:
    """Scaled values of outcomes, (B, T); 0, the least, where they are NaN."""
    unit = scale.to_unit(outcome.nan_to_num()).float()
    return unit.masked_fill(outcome.isnan(), 0.0)


def advantage_weights(
    policy: PolicyConfig, measured: Tensor, known: Tensor, rows: Tensor
) -> Tensor:
    """exp(advantage / temperature), at most `largest_weight`, (B, N).

    The advantage of a trial is its value above the mean of the known ones before it; 0 where it is
    not known, or none before it is.
    """
    before = known.cumsum(-1) - known.long()  # (B, T) known trials before each
    sums = (measured * known).cumsum(-1) - measured * known
    advantage = measured - sums / before.clamp(min=1)
    advantage = advantage.masked_fill(~known | (before == 0), 0.0)
    weights = torch.exp(advantage / policy.temperature).clamp(max=policy.largest_weight)
    return weights[:, rows]


def return_marks(later: Tensor, known: Tensor, best: Tensor) -> list[str]:
    """Fifth of each study's regret-to-go among the studies of a batch.

    The regret-to-go is the mean distance of the trials to come, (B, T), from the best value known.
    The studies of a batch have equally many trials before and to come, so that their ranks compare.
    """
    counted = known.sum(-1).clamp(min=1)
    regret = ((best[:, None] - later) * known).sum(-1) / counted
    regret = regret.masked_fill(~known.any(-1), torch.inf)
    rank = regret.argsort(descending=True, stable=True).argsort()
    return [MARKS[place * len(MARKS) // len(regret)] for place in rank.tolist()]


def ask_for_the_best(config: StudyConfig) -> StudyConfig:
    """The study with the mark of the best return, as its policy is asked for a suggestion."""
    return replace(config, metadata={**config.metadata, RETURN: MARKS[-1]})
