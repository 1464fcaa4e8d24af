"""Short training runs on the same batches, judged on the same held-out studies.

What `ablations.py` and `scaling.py` share: a prior that a small model learns something of within
minutes, a plain loop in float32 on one core, and a judge.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from optformer.data.corpora.emulation.emulator import fit_emulator, load_emulator, save_emulator
from optformer.data.corpora.emulation.functions import EmulatedTable, SpaceVariation
from optformer.model.checkpoint import Checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.vocabulary import default_vocabulary
from optformer.training.config import PriorConfig, TableConfig, TrainingConfig
from optformer.training.evaluation.evaluate import draw_prediction_task
from optformer.training.evaluation.transfer import held_out_data
from optformer.training.evaluation.validation import CONTEXT, SEED
from optformer.training.losses import study_losses
from optformer.training.mining import mine
from optformer.training.mixtures.batch import IGNORED, StudyBatch
from optformer.training.mixtures.prior import EmulatedSource, SyntheticPrior
from optformer.training.schedule import make_optimizers
from optformer.training.speed import training_flops

VOCABULARY = default_vocabulary()
DIMENSIONS = (1, 2, 4, 8)
SAMPLES = 48  # Gaussian-process samples of each dimension
HELD_OUT = 16  # batches of studies that judge

PRIOR = PriorConfig(
    parameters=dict.fromkeys(DIMENSIONS, 0.25),
    max_trials=40,
    studies_per_space=8,
    tokens=2048,
    probes=24,
    spare=24,
    tail=4,
    methods={"random": 0.4, "clustered": 0.35, "gp ei": 0.25},
)
JUDGING = replace(PRIOR, mining=0.0)
"""The prior of held-out studies."""

Telling = Mapping[str, Any]
"""What a source tells of its spaces: fields of `EmulatedSource`."""

EVERYTHING_TOLD: Telling = {
    "variation": SpaceVariation(unnamed=0.0, renamed=0.0, undescribed=0.0),
    "metadata_share": 1.0,
}
WHOLE_RANGES: Telling = {"variation": SpaceVariation(reranged=0.0, listed=0.0)}
NOTHING_TOLD: Telling = {"variation": SpaceVariation(unnamed=1.0), "metadata_share": 0.0}


def telling(sources: Sequence[EmulatedSource], told: Telling) -> list[EmulatedSource]:
    """The same sources, telling more or less."""
    return [replace(source, **told) for source in sources]


def configure(steps: int, prior: PriorConfig, seed: int, width: int = 32) -> TrainingConfig:
    """A short run; the rates fall with the width, from twice the shipped ones at 32."""
    rate = 2e-3 * (128 / width) ** 0.5
    return TrainingConfig(
        model="tiny",
        prior=prior,
        seed=seed,
        steps=steps,
        warmup=max(1, steps // 20),
        learning_rate=rate,
        matrix_learning_rate=2 * rate,
    )


def draw(prior: PriorConfig, seed: int, count: int) -> list[StudyBatch]:
    """The first synthetic batches of a seed."""
    drawn = SyntheticPrior(prior, VOCABULARY, seed)
    return [drawn.batch(number) for number in range(count)]


def make_model(
    config: ModelConfig, seed: int, kind: type[OptFormerModel] = OptFormerModel
) -> OptFormerModel:
    """A model with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config)


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        seconds: Of a core, without drawing the batch.
        flops: Operations of its matrix products, forward and backward.
    """

    seconds: float
    flops: int


def train(
    model: OptFormerModel,
    batches: Iterable[StudyBatch],
    config: TrainingConfig,
    rates: Sequence[float],
) -> Iterator[Step]:
    """Train a step a batch; `rates` are the steps' learning rates relative to the peak."""
    optimizers = make_optimizers(model, config)
    model.train()
    for batch, rate in zip(batches, rates, strict=True):
        started = time.process_time()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.setdefault("peak", group["lr"])
        asked = mine(model, batch, config.prior.mined)
        study_losses(model, asked, config.metric_share).total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield Step(time.process_time() - started, training_flops(model.config, asked))


class Judge:
    """Held-out studies and Gaussian-process samples, the same for every run.

    Args:
        batches: Number of held-out batches.
        samples: Gaussian-process samples of each dimension.
        tables: Emulated tables of data sets that training never sees.
    """

    def __init__(self, batches: int, samples: int, tables: Sequence[EmulatedSource] = ()):
        self.batches = {"": draw(JUDGING, SEED, batches)}
        self.tasks = [
            draw_prediction_task("uniform", count, [CONTEXT], samples, SEED) for count in DIMENSIONS
        ]
        for name, told in (("told", EVERYTHING_TOLD), ("untold", NOTHING_TOLD)):
            if tables:
                prior = SyntheticPrior(JUDGING, VOCABULARY, SEED, tables=telling(tables, told))
                self.batches[f"emulated_{name}_"] = [prior.batch(n, 1.0) for n in range(batches)]

    def scores(self, model: OptFormerModel) -> dict[str, float]:
        """Negative log-likelihoods of metrics and values in nats, and shares captured."""
        model.eval()
        found = {}
        for name, batches in self.batches.items():
            found[f"{name}metric"], found[f"{name}value"] = likelihoods(model, batches)
        checkpoint = Checkpoint(model, VOCABULARY, {})
        for task in self.tasks:
            found[f"share_{task.dimensions}"] = task.score(checkpoint).share
        return found


@torch.no_grad()
def likelihoods(model: OptFormerModel, batches: Sequence[StudyBatch]) -> tuple[float, float]:
    """Negative log-likelihoods of metrics and values, means over the questions."""
    sums = np.zeros((2, 2))
    for batch in batches:
        losses = study_losses(model, batch, 1.0)
        asked = (batch.metrics.target != IGNORED).sum(), (batch.values.target != IGNORED).sum()
        for row, loss, count in zip(sums, (losses.metric, losses.value), asked, strict=True):
            row += float(loss) * int(count), int(count)
    metric, value = sums[:, 0] / sums[:, 1].clip(min=1)
    return float(metric), float(value)


def held_out_tables(
    configs: Sequence[TableConfig], folder: Path, directory: Path
) -> list[EmulatedSource]:
    """What the tables hold out, with emulators that are fitted once and kept in `directory`."""
    found = []
    for data in held_out_data(configs, folder):
        fitted = directory / f"held-out-{data.name}.safetensors"
        if not fitted.exists():
            save_emulator(fit_emulator(data.table), data.table, fitted)
        functions = EmulatedTable(data.table, load_emulator(data.table, fitted))
        ways: dict[str, Any] = {f"{key}s": [text] for key, text in data.metadata.items()}
        found.append(EmulatedSource(functions, **ways))
    return found
