"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from optformer.data.studies.errors import CheckpointError, ConfigError, DivergedError
from optformer.model.checkpoint import (
    FORMAT_VERSION,
    RUN_CHECKPOINT_DIR,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.vocabulary import Vocabulary, default_vocabulary
from optformer.training.batch_loader import load_batches
from optformer.training.config import PriorConfig, TrainingConfig, find_config
from optformer.training.data_parallel import DataParallel, Parallel
from optformer.training.mixtures.batch import StudyBatch
from optformer.training.mixtures.mixture import Mixture
from optformer.training.mixtures.tables import load_tables
from optformer.training.run_log import RunLog
from optformer.training.run_record import checkpoint_name, past_runs, record_run
from optformer.training.run_state import STATE, read_state, write_state
from optformer.training.schedule import make_optimizers, rate_at
from optformer.training.speed import SpeedMeter, fast_precision, measure_peak, work_of
from optformer.training.stability import DivergenceWatch

logger = logging.getLogger(__name__)


class Validator(Protocol):
    """Measures what a model knows while it trains."""

    def scores(self, checkpoint: Checkpoint) -> Mapping[str, float]:
        """Names of measures to their values."""


MakeValidator = Callable[[PriorConfig, Vocabulary], Validator]
"""Makes a validator of a run's distribution of studies and its vocabulary."""


class Trainer:
    """A training run in a directory: weights, averages, optimizers and the step reached.

    A batch is a function of the seed and its number, and a step takes the next batches, so the step
    is the data position: N + N resumed steps equal 2 N straight ones. Several processes (started by
    `torchrun` or `accelerate launch`) share a step's batches and average the gradients, so their
    number changes a run by no more than rounding does; the first of them writes what is kept.

    Args:
        config: The run.
        directory: Where checkpoints and logs go.
        vocabulary: Vocabulary of the metadata; the default one when absent.
        cpu: Train on the CPU even where there is an accelerator.
        tables: Folder of the tables of real evaluations.
        micro_batches: Cut the model into a stage for each process, and each batch into so many
            parts that flow through them; when absent, every process holds the model.
        validation: Makes what measures the averaged weights every `validate_every` steps, when that
            is first due; None measures nothing.

    Raises:
        ConfigError: The processes cannot share a step's work.
    """

    def __init__(
        self,
        config: TrainingConfig,
        directory: Path,
        vocabulary: Vocabulary | None = None,
        cpu: bool = False,
        tables: Path = Path(),
        micro_batches: int | None = None,
        validation: MakeValidator | None = None,
    ):
        self.config, self.directory = config, directory
        self.vocabulary = vocabulary or default_vocabulary()
        there = None if cpu else torch.accelerator.current_accelerator(check_available=True)
        device = there or torch.device("cpu")
        half = fast_precision(device) == torch.bfloat16
        self.accelerator = Accelerator(mixed_precision="bf16" if half else "no", cpu=there is None)
        device = self.accelerator.device
        self.architecture = ModelConfig.named(config.model, self.vocabulary.size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            core = OptFormerModel(self.architecture)
        self.parameters = sum(weight.numel() for weight in core.parameters())
        self.parallel: Parallel
        if micro_batches is None:
            self.parallel = DataParallel(self.accelerator, core, config)
        else:
            from optformer.training.pipeline import Pipeline  # takes torch.distributed

            self.parallel = Pipeline(self.accelerator, core, config, micro_batches)
        self.core = self.parallel.core
        self.optimizers = make_optimizers(self.core, config)
        self.average = {name: w.detach().clone() for name, w in self.core.state_dict().items()}
        drawn_on = device if config.workers == 0 else torch.device("cpu")
        with self.accelerator.main_process_first():  # which fits the emulators
            logged = load_tables(config.tables, tables, directory, drawn_on)
        self.mixture = Mixture(config, self.vocabulary, drawn_on, logged, tables)
        self._make_validator = validation
        self._validator: Validator | None = None
        self.earlier: list[dict[str, Any]] = []  # runs behind the weights this one started from
        self.start: str | None = None  # name of those weights
        self.step = 0
        self.seconds = 0.0
        self.trials = 0

    def train(self, until: int | None = None, max_seconds: float = math.inf) -> None:
        """Train to a step, the schedule's end when absent, or for so many seconds.

        Raises:
            DivergedError: The loss or its gradient is not finite; the last checkpoint stays whole.
            CheckpointError: The directory cannot be written.
        """
        config, main = self.config, self.accelerator.is_main_process
        until = min(until or config.steps, config.steps)
        if 0 < config.seconds <= self.seconds:
            until = self.step  # it has had its time
        started = time.monotonic()
        before = self.seconds
        self.core.train()
        log = RunLog(self.directory, self.step, main)
        watch = DivergenceWatch()
        speed = SpeedMeter(self._peak())
        progress = tqdm(
            total=until, initial=self.step, unit="step", smoothing=0.05, disable=not main
        )
        sums, summed = dict.fromkeys(("metric", "value", "norm"), 0.0), 0
        for batches in self._batches(until):
            losses, work = self._update(batches)
            self.step += 1
            self.trials += int(work[0])
            self.seconds = before + self._mean(time.monotonic() - started)
            speed.add(work)
            warning = watch.see(losses["loss"], losses["norm"])
            if warning is not None and main:
                logger.warning("step %d: %s", self.step, warning)
                log.write("warning", self.step, self.seconds, {"text": warning})
            summed += 1  # fewer than `log_every` after a resume
            for name in sums:
                sums[name] += losses[name]
            progress.update()
            if self.step % config.log_every == 0:
                means = {name: total / summed for name, total in sums.items()}
                progress.set_postfix({name: f"{value:.3f}" for name, value in means.items()})
                log.write("train", self.step, self.seconds, {**means, **speed.rates()})
                sums, summed = dict.fromkeys(sums, 0.0), 0
            over = 0 < config.seconds <= self.seconds
            out_of_time = over or self._any(time.monotonic() - started > max_seconds)
            if self.step % config.checkpoint_every == 0 or self.step == until or out_of_time:
                self.save()
            due = config.validate_every and self.step % config.validate_every == 0
            if due and self._make_validator is not None:
                scores = self._validate(self._make_validator)
                log.write("validation", self.step, self.seconds, scores)
                speed.restart()
            if out_of_time:
                break
        progress.close()
        log.close()

    def save(self) -> None:
        """Write the published checkpoint (averaged weights) and the state to resume from."""
        average = self.parallel.gather(self.average)
        weights = self.parallel.gather(self.core.state_dict())
        optimizers = self.parallel.gather_optimizers(self.optimizers)
        if not self.accelerator.is_main_process:
            return
        save_checkpoint(
            self.directory / RUN_CHECKPOINT_DIR,
            self._published(average),
            self.vocabulary,
            self.record(),
            torch.float16,
        )
        state = {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "vocabulary_hash": self.vocabulary.hash,
            "weights": weights,
            "average": average,
            "optimizers": optimizers,
            "step": self.step,
            "seconds": self.seconds,
            "trials": self.trials,
            "earlier": self.earlier,
            "start": self.start,
        }
        write_state(self.directory, state)

    def resume(self) -> None:
        """Go on from the state in the directory.

        Raises:
            CheckpointError: There is no state, or it belongs to another configuration or
                vocabulary.
        """
        state = read_state(self.directory, self.config, self.vocabulary)
        self._load(state["weights"], state["average"])
        saved = self.parallel.shard_optimizers(state["optimizers"])
        for optimizer, own in zip(self.optimizers, saved, strict=True):
            optimizer.load_state_dict(own)
        self.step, self.seconds = state["step"], state["seconds"]
        self.trials, self.earlier = state["trials"], state["earlier"]
        self.start = state.get("start")  # absent from states of earlier releases

    def start_from(self, checkpoint: str | Path) -> None:
        """Take the weights of a checkpoint; the schedule's warm-up protects them.

        Raises:
            CheckpointError: They are of another size or vocabulary.
        """
        given = load_checkpoint(checkpoint)
        if given.vocabulary.hash != self.vocabulary.hash:
            raise CheckpointError(
                f"vocabulary_hash of {checkpoint} is {given.vocabulary.hash!r}, this run's "
                f"vocabulary has {self.vocabulary.hash!r}; start from weights of this vocabulary"
            )
        own, its = self.architecture.to_dict(), given.model.config.to_dict()
        differing = [f"{name}={its[name]}" for name in own if its[name] != own[name]]
        if differing:
            raise CheckpointError(
                f"{checkpoint} holds another model than {self.config.model!r} needs: "
                f"{', '.join(differing)}"
            )
        self._load(given.model.state_dict(), given.model.state_dict())
        self.earlier, self.start = past_runs(given.run), checkpoint_name(checkpoint)

    def record(self) -> dict[str, Any]:
        """What a reader of the weights needs to know about the run."""
        return record_run(
            self.config,
            methods=self.mixture.methods,
            device=self.accelerator.device,
            vocabulary_hash=self.vocabulary.hash,
            parameters=self.parameters,
            progress={"steps": self.step, "trials": self.trials, "seconds": round(self.seconds)},
            earlier=self.earlier,
            start=self.start,
        )

    def _load(self, weights: Mapping[str, Tensor], average: Mapping[str, Tensor]) -> None:
        self.core.load_state_dict(self.parallel.shard(weights))
        with torch.no_grad():
            for name, weight in self.parallel.shard(average).items():
                self.average[name].copy_(weight)

    def _batches(self, until: int) -> Iterator[Sequence[StudyBatch]]:
        """This process's batches of each step."""
        shared, (rank, processes) = self.config.batches_per_step, self.parallel.share
        own = range(rank * shared // processes, (rank + 1) * shared // processes)
        steps = [[step * shared + i for i in own] for step in range(self.step, until)]
        return load_batches(self.mixture, steps, self.config.workers)

    def _update(self, batches: Sequence[StudyBatch]) -> tuple[dict[str, float], Tensor]:
        """One step: losses and gradient norm, and the work it took (see `work_of`)."""
        rate = rate_at(self.step, self.seconds, self.config)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.setdefault("peak", group["lr"])
        losses = self.parallel.gradients(batches)
        self._check_finite("loss", losses[0])
        norm = self.parallel.clip()
        self._check_finite("gradient's norm", norm)  # clipping would spread it to all weights
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._average()
        work = torch.stack([work_of(self.architecture, batch) for batch in batches]).sum(0)
        total, metric, value = losses.tolist()
        return {"loss": total, "metric": metric, "value": value, "norm": float(norm)}, (
            self.parallel.total(work)
        )

    def _check_finite(self, what: str, number: Tensor) -> None:
        if not math.isfinite(float(number)):
            raise DivergedError(
                f"the {what} became {float(number)} at step {self.step}; "
                "start again with a lower learning rate; the last checkpoint is whole"
            )

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        current = self.core.state_dict()
        torch._foreach_lerp_(
            list(self.average.values()), [current[name] for name in self.average], 1 - decay
        )

    def _published(self, average: Mapping[str, Tensor]) -> OptFormerModel:
        """The whole model with averaged weights, on the CPU."""
        with torch.random.fork_rng(devices=[]):
            model = OptFormerModel(self.architecture)
        model.load_state_dict(average)
        return model.eval().requires_grad_(False)

    def _validate(self, make: MakeValidator) -> dict[str, float]:
        """Measure the averaged weights on the first process; the others go on, and wait."""
        average = self.parallel.gather(self.average)
        if not self.accelerator.is_main_process:
            return {}
        if self._validator is None:
            self._validator = make(self.config.prior, self.vocabulary)
        checkpoint = Checkpoint(self._published(average), self.vocabulary, {})
        return dict(self._validator.scores(checkpoint))

    def _peak(self) -> float:
        """Operations a second of all devices."""
        device = self.accelerator.device
        own = 1e12 * self.config.peak_teraflops or measure_peak(device)
        return float(self.accelerator.reduce(torch.tensor(own, device=device), "sum"))

    def _any(self, flag: bool) -> bool:
        """Whether it holds in any process."""
        return self._mean(float(flag)) > 0

    def _mean(self, number: float) -> float:
        """The mean over all processes, so that they agree."""
        own = torch.tensor(number, device=self.accelerator.device)
        return float(self.accelerator.reduce(own, "mean"))


def train(
    config_path: str | Path,
    directory: str | Path,
    *,
    resume: bool = False,
    max_seconds: float = math.inf,
    threads: int | None = None,
    cpu: bool = False,
    tables: str | Path = ".",
    weights: str | Path | None = None,
    micro_batches: int | None = None,
    validation: MakeValidator | None = None,
) -> Path:
    """Run, or go on with, a training run.

    Args:
        config_path: YAML configuration, or the name of a packaged one (`small.yaml`).
        directory: Where it goes; must not hold a run unless `resume`.
        resume: Go on from the state in the directory.
        max_seconds: Stop, with a checkpoint, after so many seconds.
        threads: Threads of the training process.
        cpu: Train on the CPU even where there is an accelerator.
        tables: Folder of the configuration's tables of real evaluations.
        weights: Checkpoint to start from, with a fresh optimizer and the schedule's warm-up.
        micro_batches: Train a pipeline: see `Trainer`.
        validation: What measures the run while it trains: see `Trainer`.

    Returns:
        The directory of the checkpoint.

    Raises:
        ConfigError: The configuration is not legal, or the directory holds a run already.
        CheckpointError: The state to resume from is missing or belongs to another configuration.
        DatasetError: A table is missing or does not fit its space.
    """
    if threads:
        torch.set_num_threads(threads)
    config = TrainingConfig.load(find_config(config_path))
    out = Path(directory)
    if resume and weights is not None:
        raise ConfigError("resume goes on from the run's own weights; leave weights out")
    if (out / STATE).exists() and not resume:
        raise ConfigError(f"{out} holds a run already; resume it, or choose another directory")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the directory {out}: {error}") from error
    trainer = Trainer(
        config,
        out,
        cpu=cpu,
        tables=Path(tables),
        micro_batches=micro_batches,
        validation=validation,
    )
    if resume:
        trainer.resume()
    elif weights is not None:
        trainer.start_from(weights)
    trainer.train(max_seconds=max_seconds)
    trainer.accelerator.end_training()
    return out / RUN_CHECKPOINT_DIR
