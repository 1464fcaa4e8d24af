"""How much of what can be known about a function the model has learned to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.model.checkpoint import Checkpoint
from optformer.model.tensors import HistoryTensors, MetadataTensors, PointTensors, metadata_batch
from optformer.planning.distribution import BinnedDistribution
from optformer.tokenization.history import MetricKind, ValueKind
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.objective_scale import ObjectiveScale, fit_scale
from optformer.tokenization.symbols import NUM_BINS
from optformer.training.config import PriorConfig
from optformer.training.evaluation.gp_benchmark import (
    CONTEXTS,
    ContextKind,
    GPSamples,
    draw_samples,
)
from optformer.training.losses import negative_log_likelihood
from optformer.training.mixtures.batch import IGNORED
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.mixtures.queries import gain_bins

DIMENSIONS = (1, 2, 3, 4, 6, 8)
_MARGINAL_STUDIES = 300  # studies whose target bins make the marginal histogram
_TARGETS = 32


@dataclass(frozen=True)
class GPSampleScore:
    """Mean negative log-likelihood of the targets' bins, in nats.

    Attributes:
        contexts: "uniform" or "gp-ei".
        dimensions: Number of parameters.
        marginal: Loss of the distribution of bins over all studies, which knows nothing of inputs.
        ours: Loss of the checkpoint.
        gp: Loss of the exact Gaussian process with the true hyperparameters.
        share: (marginal - ours) / (marginal - gp), the share of the information captured.
        share_error: Standard error of the share over studies, with the same targets for all three.
    """

    contexts: str
    dimensions: int
    marginal: float
    ours: float
    gp: float
    share: float
    share_error: float


@dataclass(frozen=True)
class PolicyScore:
    """Mean negative log-likelihood of the next trial's values, in nats a parameter.

    Attributes:
        method: Whose histories are imitated.
        ours: Loss of the checkpoint, given the method's name.
        uniform: Loss of a uniform choice among the legal bins and choices.
    """

    method: str
    ours: float
    uniform: float


def prediction_scores(
    checkpoint: Checkpoint,
    *,
    contexts: Sequence[ContextKind] = ("uniform", "gp-ei"),
    dimensions: Sequence[int] = DIMENSIONS,
    studies: int = 96,
    seed: int = 2024,
) -> list[GPSampleScore]:
    """Score predictions on fixed Gaussian-process samples, contexts of 24, 36 and 48 trials.

    Args:
        checkpoint: What is scored.
        contexts: Kinds of contexts.
        dimensions: Numbers of parameters.
        studies: Studies of each kind, dimension and context length.
        seed: Seed of the samples.
    """
    return [
        draw_prediction_task(kind, count, CONTEXTS, studies, seed).score(checkpoint)
        for kind in contexts
        for count in dimensions
    ]


@torch.no_grad()
def policy_scores(
    checkpoint: Checkpoint,
    prior: PriorConfig,
    *,
    methods: Sequence[str] = ("random", "local search", "gp ei"),
    batches: int = 8,
    seed: int = 2024,
) -> list[PolicyScore]:
    """Score the imitation of methods on fresh synthetic studies.

    Args:
        checkpoint: What is scored.
        prior: Distribution of studies; its methods are replaced by one at a time.
        methods: Whose next trials are predicted.
        batches: Batches drawn for each method.
        seed: Seed of the studies, apart from the training's.
    """
    scores = []
    for method in methods:
        settings = PriorConfig(
            **{**asdict(prior), "methods": {method: 1.0}, "named_algorithm": 1.0}
        )
        drawn = SyntheticPrior(settings, checkpoint.vocabulary, seed)
        ours, uniform, answered = 0.0, 0.0, 0
        for step in range(batches):
            batch = drawn.batch(step)
            model = checkpoint.model
            metadata = model.encode_metadata(batch.metadata).expand(batch.history.studies)
            past = model.encode_history(metadata, batch.history, batch.prefix)
            logits = model.value_logits(
                metadata, past, batch.values.points, batch.value_slots, batch.values.position
            )
            target = batch.values.target
            counted = int((target != IGNORED).sum())
            flat = torch.where(logits.isfinite(), 0.0, -torch.inf)
            ours += float(negative_log_likelihood(logits, target)) * counted
            uniform += float(negative_log_likelihood(flat, target)) * counted
            answered += counted
        scores.append(PolicyScore(method, ours / answered, uniform / answered))
    return scores


@dataclass(frozen=True)
class PredictionTask:
    """Fixed samples of one kind and dimension, and what is known without the model.

    Attributes:
        kind: "uniform" or "gp-ei".
        dimensions: Number of parameters.
        samples: Studies, one batch a context length.
        marginal: Each study's negative log-likelihood under the histogram of all, in nats.
        gp: Negative log-likelihood of each study under the exact process.
    """

    kind: ContextKind
    dimensions: int
    samples: Sequence[GPSamples]
    marginal: Tensor
    gp: Tensor

    def score(self, checkpoint: Checkpoint) -> GPSampleScore:
        """Score a checkpoint's predictions."""
        ours = torch.cat([_model(checkpoint, samples) for samples in self.samples])
        known = float((self.marginal - self.gp).mean())
        share = float((self.marginal - ours).mean()) / known
        # Of a ratio of means, by linearisation.
        spread = (self.marginal - ours) - share * (self.marginal - self.gp)
        return GPSampleScore(
            contexts=self.kind,
            dimensions=self.dimensions,
            marginal=float(self.marginal.mean()),
            ours=float(ours.mean()),
            gp=float(self.gp.mean()),
            share=share,
            share_error=float(spread.std()) / (known * len(spread) ** 0.5),
        )


def draw_prediction_task(
    kind: ContextKind, dimensions: int, contexts: Sequence[int], studies: int, seed: int
) -> PredictionTask:
    """Draw samples and work out what the histogram and the exact process say about them.

    Args:
        kind: Kind of contexts.
        dimensions: Number of parameters.
        contexts: Numbers of trials in a context.
        studies: Studies of each length.
        seed: Seed of the samples.
    """
    drawn, gp, marginal = [], [], []
    for context in contexts:
        samples = draw_samples(kind, dimensions, context, studies, _TARGETS, seed + context)
        scale = _fit(samples)
        target = gain_bins(scale, samples.target_values)
        _, exact = binned_normal(scale, samples.mean, samples.deviation, target)
        drawn.append(samples)
        gp.append(-exact.log().mean(-1))
        marginal.append(_marginal(kind, dimensions, context, target, seed))
    return PredictionTask(kind, dimensions, drawn, torch.cat(marginal), torch.cat(gp))


def _fit(samples: GPSamples) -> ObjectiveScale:
    return fit_scale(samples.values, torch.ones_like(samples.values, dtype=torch.bool))


def binned_normal(
    scale: ObjectiveScale, mean: Tensor, deviation: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """What normal distributions of values give to bins of the scaled values.

    Args:
        scale: The objective scale.
        mean: Means of the values, which are to be maximized, (..., N).
        deviation: Standard deviations, above 0, (..., N).
        target: Bins, int64, (..., N).

    Returns:
        The probability of all bins below the target and of the target itself, at least 1e-12;
        the end bins hold the tails.
    """

    def below(edge: Tensor) -> Tensor:
        value = scale.from_unit(edge.double() / NUM_BINS)
        chance = torch.special.ndtr((value - mean) / deviation)
        chance = torch.where(edge >= NUM_BINS, 1.0, chance)
        return torch.where(edge / NUM_BINS <= scale.floor, 0.0, chance)

    lower = below(target)
    return lower, (below(target + 1) - lower).clamp(min=1e-12)


def _marginal(kind: ContextKind, count: int, context: int, target: Tensor, seed: int) -> Tensor:
    others = draw_samples(kind, count, context, _MARGINAL_STUDIES, 32, seed + 7919)
    seen = torch.bincount(
        gain_bins(_fit(others), others.target_values).flatten(), minlength=NUM_BINS
    )
    # Averaged over neighbouring bins: the histogram is smooth, its counts are few.
    padded = torch.nn.functional.pad(seen.double()[None, None], (10, 10), mode="replicate")
    smooth = torch.nn.functional.avg_pool1d(padded, 21, stride=1)[0, 0] + 0.1
    return -(smooth / smooth.sum()).log()[target].mean(-1)


@torch.no_grad()
def _model(checkpoint: Checkpoint, samples: GPSamples) -> Tensor:
    """Mean negative log-likelihood of each study's targets, (B,)."""
    model, scale = checkpoint.model, _fit(samples)
    target = gain_bins(scale, samples.target_values)
    studies, context, count = samples.points.shape
    metadata = model.encode_metadata(_metadata(checkpoint, count)).expand(studies)
    history = HistoryTensors(
        _points(samples.points),
        scale.to_unit(samples.values).float(),
        torch.full((studies, context), int(MetricKind.VALUE)),
    )
    past = model.encode_history(metadata, history)
    logits = model.metric_logits(metadata, past, _points(samples.target_points))
    return -BinnedDistribution(logits).double().log_prob(target).mean(-1)


def _metadata(checkpoint: Checkpoint, count: int) -> MetadataTensors:
    space = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(count)})
    config = StudyConfig(space=space, metric="objective", goal="maximize")
    return metadata_batch([encode_metadata(config, checkpoint.vocabulary)], [legal_values(space)])


def _points(values: Tensor) -> PointTensors:
    return PointTensors(
        values.float(), torch.full(values.shape, int(ValueKind.NUMBER), dtype=torch.int64)
    )
