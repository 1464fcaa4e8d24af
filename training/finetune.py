"""Fine-tune a checkpoint on a team's own studies, and say what it brought.

A share of the studies is held out. Before and after, the model predicts their trials from those
before them. Half of the batches stay synthetic, so that the model forgets nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from optformer.data.studies.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    OptFormerError,
)
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.study_files import SUFFIX, read_studies, write_studies
from optformer.data.studies.trials import TrialStatus
from optformer.data.studies.yaml_json import to_yaml
from optformer.model.checkpoint import SHIPPED, Checkpoint, load_checkpoint
from optformer.model.config import SIZES, ModelConfig
from optformer.planning.planner import ALGORITHM
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.study_encoder import StudyEncoder
from optformer.tokenization.history import encode_points
from optformer.tokenization.metadata import check_limits, encode_metadata
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.bootstrap import Array, Estimate, mean
from optformer.training.config import HistoriesConfig, MixtureConfig, PriorConfig, TrainingConfig
from optformer.training.losses import negative_log_likelihood
from optformer.training.mixtures.queries import metric_targets
from optformer.training.mixtures.recorded import objective_key
from optformer.training.run_state import STATE
from optformer.training.train import train

CONTEXTS = (1, 5, 10, 20)
"""Trials that are given before the next ones are predicted."""

AHEAD = 8  # trials predicted after each context
MIN_TRIALS = 6  # trials of a study that teaches, or tests, anything
MIN_GROUPS = 4  # of which some may be held out

CONFIG = "finetune.yaml"
LEARNED, HELD_OUT, BEFORE = f"learned{SUFFIX}", f"held-out{SUFFIX}", "before.json"


@dataclass(frozen=True)
class Finetuning:
    """What came of it.

    Attributes:
        checkpoint: Where the model lies.
        learned: Studies learned from.
        held_out: Studies held out.
        before: Mean negative log-likelihood of the held-out studies' trials before, in nats; None
            when none is held out.
        after: Mean negative log-likelihood of the same trials with the new weights.
        improvement: Loss before less loss after, study by study.
    """

    checkpoint: Path
    learned: int
    held_out: int
    before: Estimate | None
    after: Estimate | None
    improvement: Estimate | None


def prepare(
    studies: Sequence[RecordedStudy],
    directory: Path,
    *,
    model: str | Path | None = None,
    steps: int = 150,
    held_out: float = 0.15,
    seed: int = 0,
) -> dict[str, str]:
    """Write what is learned, what is held out and the run's configuration into a directory.

    Studies of one data set, if their metadata tell it, are held out together. Of fewer than four
    data sets none is. The configuration is written last: with it, all is there.

    Args:
        studies: Recorded studies.
        directory: Directory of the run; must not hold one.
        model: Checkpoint that it starts from; the shipped one when absent.
        steps: Steps of training, each of 4,096 trials and queries.
        held_out: Share of the data sets, or of the studies that tell none, that is held out.
        seed: Seed of that choice and of the run.

    Returns:
        The studies that are left out, as `'name' of source`, to the reasons: too few trials to
        teach anything, or something that cannot be written in the language.

    Raises:
        ConfigError: A number is out of range, or the directory holds a run.
        DatasetError: No study is left, or the directory cannot be written.
        CheckpointError: The checkpoint is of no size that can be trained.
    """
    if not 0 <= held_out < 1:
        raise ConfigError(f"held_out must be in [0, 1), got {held_out}")
    if (directory / STATE).exists():
        raise ConfigError(
            f"{directory} holds a run already; resume it, or choose another directory"
        )
    checkpoint = load_checkpoint(model)
    config = _config(checkpoint, steps, seed)
    kept: list[RecordedStudy] = []
    left_out: dict[str, str] = {}
    for study in studies:
        reason = _unfit(study, checkpoint.vocabulary)
        if reason is None:
            kept.append(study)
        else:
            left_out[f"{study.name!r} of {study.source}"] = reason
    if not kept:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in [*left_out.items()][:3])
        raise DatasetError(
            f"none of {len(studies)} studies can be learned from; give others ({reasons})"
        )
    groups: dict[tuple[object, ...], list[RecordedStudy]] = {}
    for number, study in enumerate(kept):
        groups.setdefault(objective_key(study.config, number), []).append(study)
    order = np.random.default_rng(seed).permutation(len(groups))
    count = math.ceil(held_out * len(groups)) if len(groups) >= MIN_GROUPS else 0
    chosen = set(order[:count].tolist())
    parts: tuple[list[RecordedStudy], list[RecordedStudy]] = [], []
    for number, members in enumerate(groups.values()):
        parts[number in chosen].extend(members)
    write_studies(directory / LEARNED, parts[0])
    write_studies(directory / HELD_OUT, parts[1])
    before = prediction_losses(checkpoint, parts[1])
    (directory / BEFORE).write_text(json.dumps(before.tolist()), encoding="utf-8")
    (directory / CONFIG).write_text(to_yaml(config.to_dict()), encoding="utf-8")
    return left_out


def finetune(
    directory: Path,
    *,
    model: str | Path | None = None,
    resume: bool = False,
    max_seconds: float = math.inf,
    threads: int | None = None,
    cpu: bool = False,
) -> Finetuning:
    """Run, or go on with, what `prepare` has prepared.

    Args:
        directory: Directory of the run.
        model: Checkpoint that it starts from; the shipped one when absent. None to resume.
        resume: Go on from the state in the directory.
        max_seconds: Stop, with a checkpoint, after so many seconds.
        threads: Threads of the training process.
        cpu: Train on the CPU even where there is an accelerator.

    Raises:
        ConfigError: Nothing is prepared, or the run has begun and is not to be resumed.
        CheckpointError: A checkpoint or state is missing, or does not fit.
    """
    checkpoint = train(
        directory / CONFIG,
        directory,
        resume=resume,
        max_seconds=max_seconds,
        threads=threads,
        cpu=cpu,
        tables=directory,
        weights=model if resume else model or SHIPPED,
    )
    learned = sum(1 for _ in read_studies(directory / LEARNED))
    held_out = list(read_studies(directory / HELD_OUT))
    if not held_out:
        return Finetuning(checkpoint, learned, 0, None, None, None)
    before = np.array(json.loads((directory / BEFORE).read_text(encoding="utf-8")))
    after = prediction_losses(load_checkpoint(checkpoint), held_out)
    return Finetuning(
        checkpoint, learned, len(held_out), mean(before), mean(after), mean(before - after)
    )


def prediction_losses(checkpoint: Checkpoint, studies: Sequence[RecordedStudy]) -> Array:
    """Mean negative log-likelihood of each study's trials after those before them, in nats, (K,).

    After 1, 5, 10 and 20 trials the next eight are predicted, each on its own.

    Args:
        checkpoint: The model.
        studies: Studies of at least six settled trials each.
    """
    return np.array([_loss(checkpoint, _settled(study)) for study in studies])


@torch.no_grad()
def _loss(checkpoint: Checkpoint, study: RecordedStudy) -> float:
    encoder = StudyEncoder(checkpoint, study.config, ALGORITHM)
    space = SpaceTransform(study.config.space, {})
    points = space.encode([trial.params for trial in study.trials])
    gain = torch.tensor(
        [math.nan if t.value is None else study.config.sign * t.value for t in study.trials],
        dtype=torch.float64,
    )
    losses = []
    for given in CONTEXTS:
        if given >= len(study.trials):
            break
        read = encoder.encode(study.trials[:given])
        ahead = slice(given, given + AHEAD)
        logits = read.predict(space.points(points[ahead])).logits
        target = metric_targets(read.scale, gain[None, ahead])
        losses.append(float(negative_log_likelihood(logits[None], target)))
    return sum(losses) / len(losses)


def _unfit(study: RecordedStudy, vocabulary: Vocabulary) -> str | None:
    """Why a study cannot be learned from, None when it can."""
    settled = _settled(study).trials
    if len(settled) < MIN_TRIALS:
        return f"too few trials have ended: {len(settled)}, and {MIN_TRIALS} are needed"
    try:
        check_limits(study.config.space)
        encode_metadata(study.config, vocabulary)
        encode_points(study.config.space, [trial.params for trial in settled])
    except OptFormerError as error:
        return str(error)
    return None


def _settled(study: RecordedStudy) -> RecordedStudy:
    """The study without trials that say nothing yet, or ever."""
    trials = [
        trial
        for trial in study.trials
        if trial.status is not TrialStatus.PENDING and not trial.interrupted
    ]
    return replace(study, trials=tuple(trials))


def _config(checkpoint: Checkpoint, steps: int, seed: int) -> TrainingConfig:
    size = checkpoint.vocabulary.size
    names = [name for name in SIZES if ModelConfig.named(name, size) == checkpoint.model.config]
    if not names:
        raise CheckpointError(
            f"the checkpoint's architecture is none of {sorted(SIZES)}, which can be trained; "
            "start from another one"
        )
    return TrainingConfig(
        model=names[0],
        seed=seed,
        steps=steps,
        warmup=20,
        learning_rate=3e-4,
        matrix_learning_rate=5e-4,
        ema=0.98,
        checkpoint_every=50,
        validate_every=0,
        prior=PriorConfig(
            parameters={1: 0.1, 2: 0.14, 3: 0.14, 4: 0.14, 5: 0.12, 6: 0.12, 8: 0.16, 12: 0.08},
            short=0.4,
        ),
        histories=[HistoriesConfig(path=LEARNED, held_out=0.0, unnamed=0.1)],
        mixture=MixtureConfig(start={"synthetic": 0.5, "histories": 0.5}),
    )
