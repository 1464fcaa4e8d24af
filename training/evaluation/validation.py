"""What a run knows while it trains, on studies it never sees: the same ones every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from optformer.model.checkpoint import Checkpoint
from optformer.planning.planner import Planner
from optformer.planning.search_method import ModelSearch
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import PriorConfig
from optformer.training.evaluation.evaluate import draw_prediction_task
from optformer.training.evaluation.gp_benchmark import ContextKind
from optformer.training.evaluation.synthetic_tasks import draw_task, regrets, search
from optformer.training.losses import study_losses
from optformer.training.mixtures.batch import IGNORED
from optformer.training.mixtures.prior import SyntheticPrior

SEED = 2**61 - 1
"""Seed of everything that is held out; no run trains with it."""

CONTEXT = 36
"""Trials in a context of the Gaussian-process samples."""

KINDS: Sequence[ContextKind] = ("uniform", "gp-ei")


class Validation:
    """Studies, samples and functions that are held out, drawn once.

    Nothing here touches a global random state, so a run with validations equals one without.

    Args:
        prior: Distribution of the studies; emulated tables and mined queries are left out.
        vocabulary: Encodes their metadata.
        batches: Batches of studies.
        studies: Gaussian-process samples of each kind and dimension.
        dimensions: Numbers of parameters of the samples.
        tasks: Functions that are searched.
        trials: Trials of each search.
    """

    def __init__(
        self,
        prior: PriorConfig,
        vocabulary: Vocabulary,
        *,
        batches: int = 4,
        studies: int = 32,
        dimensions: Sequence[int] = (2, 4),
        tasks: int = 4,
        trials: int = 20,
    ):
        held_out = SyntheticPrior(replace(prior, emulated=0.0, mining=0.0), vocabulary, SEED)
        self.batches = [held_out.batch(step) for step in range(batches)]
        self.samples = [
            draw_prediction_task(kind, count, [CONTEXT], studies, SEED)
            for kind in KINDS
            for count in dimensions
        ]
        self.tasks = [draw_task(SEED, number, trials) for number in range(tasks)]
        self.trials = trials

    def scores(self, checkpoint: Checkpoint) -> dict[str, float]:
        """Measure a checkpoint on the CPU.

        Returns:
            `metric` and `value`: mean negative log-likelihood of metrics and of the next trials'
            values, in nats. `share_uniform` and `share_gp-ei`: share of what can be known about
            Gaussian-process samples (`optformer.training.evaluation.evaluate`). `regret`: mean
            normalised regret of the planner after all trials (see
            `optformer.training.evaluation.synthetic_tasks`).
        """
        return {
            **self._likelihoods(checkpoint),
            **self._shares(checkpoint),
            "regret": self._regret(checkpoint),
        }

    @torch.no_grad()
    def _likelihoods(self, checkpoint: Checkpoint) -> dict[str, float]:
        metric = value = 0.0
        metrics = values = 0
        for batch in self.batches:
            losses = study_losses(checkpoint.model, batch, 1.0)
            counted = int((batch.values.target != IGNORED).sum())
            metric += float(losses.metric) * batch.metrics.target.numel()
            value += float(losses.value) * counted
            metrics += batch.metrics.target.numel()
            values += counted
        return {"metric": metric / metrics, "value": value / max(values, 1)}

    def _shares(self, checkpoint: Checkpoint) -> dict[str, float]:
        scores = [samples.score(checkpoint) for samples in self.samples]
        return {
            f"share_{kind}": float(np.mean([s.share for s in scores if s.contexts == kind]))
            for kind in KINDS
        }

    def _regret(self, checkpoint: Checkpoint) -> float:
        planner = Planner(checkpoint)
        found = []
        for number, task in enumerate(self.tasks):
            history = search(task, ModelSearch(task.config, planner), self.trials, [SEED, number])
            found.append(float(regrets(task, history)[-1]))
        return float(np.mean(found))
