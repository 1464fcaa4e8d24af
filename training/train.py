"""The training loop."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from optformer._version import __version__
from optformer.batch import to_device
from optformer.checkpoint import load_checkpoint, save_checkpoint
from optformer.config import ModelConfig
from optformer.data.emulation.emulator import fit_emulator, load_emulator
from optformer.data.emulation.functions import EmulatedTable
from optformer.data.emulation.tables import load_table
from optformer.data.errors import CheckpointError, ConfigError, DivergedError
from optformer.model import OptFormerModel
from optformer.tokenization.vocabulary import Vocabulary, default_vocabulary
from optformer.training.batch import StudyBatch
from optformer.training.config import TableConfig, TrainingConfig
from optformer.training.losses import study_losses
from optformer.training.mining import mine
from optformer.training.prior import LoggedTable, SyntheticPrior
from optformer.training.schedule import make_optimizers, rate_at

logger = logging.getLogger(__name__)

STATE = "state.pt"
CHECKPOINT = "checkpoint"


class Trainer:
    """A training run in a directory: weights, averages, optimizers and the step reached.

    A batch is a function of the seed and the step, so the step is the data position, and N + N
    resumed steps equal 2 N straight ones.

    Args:
        config: The run.
        directory: Where checkpoints and logs go.
        vocabulary: Vocabulary of the metadata; the default one when absent.
        cpu: Train on the CPU even where there is an accelerator.
        tables: Folder of the tables of real evaluations.
    """

    def __init__(
        self,
        config: TrainingConfig,
        directory: Path,
        vocabulary: Vocabulary | None = None,
        cpu: bool = False,
        tables: Path = Path(),
    ):
        self.config, self.directory = config, directory
        self.vocabulary = vocabulary or default_vocabulary()
        self.accelerator = Accelerator(mixed_precision="bf16", cpu=cpu)
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            core = OptFormerModel(ModelConfig.named(config.model, self.vocabulary.size))
        self.core = core.to(device)
        self.model = self.accelerator.prepare_model(self.core)
        self.optimizers = make_optimizers(self.core, config)
        self.average = {name: w.detach().clone() for name, w in self.core.state_dict().items()}
        drawn_on = device if config.workers == 0 else torch.device("cpu")
        self.prior = SyntheticPrior(
            config.prior,
            self.vocabulary,
            config.seed,
            drawn_on,
            [_logged_table(table, tables, directory, drawn_on) for table in config.tables],
        )
        self.earlier: list[dict[str, Any]] = []  # runs whose weights this one started from
        self.step = 0
        self.seconds = 0.0
        self.trials = 0

    def train(self, until: int | None = None, max_seconds: float = math.inf) -> None:
        """Train to a step, the schedule's end when absent, or for so many seconds.

        Raises:
            DivergedError: The loss or its gradient is not finite; the last checkpoint stays whole.
            CheckpointError: The directory cannot be written.
        """
        until = min(until or self.config.steps, self.config.steps)
        started = time.monotonic()
        before = self.seconds
        self.model.train()
        writer = SummaryWriter(str(self.directory / "logs"))
        progress = tqdm(total=until, initial=self.step, unit="step", smoothing=0.05)
        sums = {"metric": 0.0, "value": 0.0, "norm": 0.0}
        for batch in self._batches(until):
            losses = self._update(batch)
            self.step += 1
            self.trials += batch.trials
            self.seconds = before + time.monotonic() - started
            for name, value in losses.items():
                sums[name] += value / self.config.log_every
            progress.update()
            if self.step % self.config.log_every == 0:
                for name, value in sums.items():
                    writer.add_scalar(f"train/{name}", value, self.step)
                writer.add_scalar("speed/trials_per_second", self.trials / self.seconds, self.step)
                progress.set_postfix({name: f"{value:.3f}" for name, value in sums.items()})
                self._record({"step": self.step, "seconds": round(self.seconds, 1), **sums})
                sums = dict.fromkeys(sums, 0.0)
            out_of_time = time.monotonic() - started > max_seconds
            if self.step % self.config.checkpoint_every == 0 or self.step == until or out_of_time:
                self.save()
            if out_of_time:
                break
        progress.close()
        writer.close()

    def save(self) -> None:
        """Write the published checkpoint (averaged weights) and the state to resume from."""
        published = OptFormerModel(self.core.config)
        published.load_state_dict(self.average)
        save_checkpoint(
            self.directory / CHECKPOINT, published, self.vocabulary, self.record(), torch.float16
        )
        state = {
            "config": self.config.to_dict(),
            "weights": self.core.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "trials": self.trials,
            "earlier": self.earlier,
        }
        fresh = self.directory / (STATE + ".new")
        try:
            torch.save(state, fresh)
            os.replace(fresh, self.directory / STATE)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"cannot write {fresh}: {error}; the previous state is whole"
            ) from error

    def resume(self) -> None:
        """Go on from the state in the directory.

        Raises:
            CheckpointError: There is no state, or it belongs to another configuration.
        """
        path = self.directory / STATE
        try:
            state = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise CheckpointError(f"cannot resume from {path}: {error}") from error
        if state["config"] != self.config.to_dict():
            changed = sorted(
                name
                for name, value in self.config.to_dict().items()
                if state["config"].get(name) != value
            )
            raise CheckpointError(f"{path} belongs to another configuration: {changed} differ")
        self.core.load_state_dict(state["weights"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        self.trials, self.earlier = state["trials"], state["earlier"]

    def start_from(self, checkpoint: str | Path) -> None:
        """Take the weights of a checkpoint; the schedule's warm-up protects them.

        Raises:
            CheckpointError: They are of another size or vocabulary.
        """
        found = load_checkpoint(checkpoint)
        if found.model.config != self.core.config or found.vocabulary.hash != self.vocabulary.hash:
            raise CheckpointError(
                f"{checkpoint} holds another model or vocabulary than {self.config.model!r} needs"
            )
        self.core.load_state_dict(found.model.state_dict())
        self.average = {name: w.detach().clone() for name, w in self.core.state_dict().items()}
        described = {key: found.run.get(key) for key in ("config", "steps", "trials", "seconds")}
        self.earlier = [*found.run.get("earlier", []), described]

    def record(self) -> dict[str, Any]:
        """What a reader of the weights needs to know about the run."""
        return {
            "optformer_version": __version__,
            "torch_version": torch.__version__,
            "python_version": platform.python_version(),
            "device": str(self.accelerator.device),
            "date": datetime.now(UTC).date().isoformat(),
            "vocabulary_hash": self.vocabulary.hash,
            "parameters": sum(weight.numel() for weight in self.core.parameters()),
            "data": {
                "synthetic prior": "drawn on the fly, see optformer.data.synthetic",
                "tables": [_describe_table(table) for table in self.config.tables],
                "tasks": [f"logs/{Path(table.path).stem}*" for table in self.config.tables],
            },
            **({"earlier": self.earlier} if self.earlier else {}),
            "config": self.config.to_dict(),
            "steps": self.step,
            "trials": self.trials,
            "seconds": round(self.seconds),
        }

    def _batches(self, until: int) -> Iterator[StudyBatch]:
        loader: DataLoader[StudyBatch] = DataLoader(
            _Steps(self.prior),
            batch_size=None,
            sampler=range(self.step, until),
            num_workers=self.config.workers,
            prefetch_factor=4 if self.config.workers else None,
            multiprocessing_context="spawn" if self.config.workers else None,
            worker_init_fn=_one_thread,
        )
        return iter(loader)

    def _update(self, batch: StudyBatch) -> dict[str, float]:
        rate = rate_at(self.step, self.config)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.setdefault("peak", group["lr"])
        batch = to_device(batch, self.accelerator.device)
        with self.accelerator.autocast():
            batch = mine(self.core, batch, self.config.prior.mined)
            losses = study_losses(self.model, batch, self.config.metric_share)
        self._check_finite("loss", losses.total.detach())
        self.accelerator.backward(losses.total)
        norm = self.accelerator.clip_grad_norm_(self.core.parameters(), self.config.clip)
        self._check_finite("gradient's norm", norm)  # clipping would spread it to all weights
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._average()
        return {
            "metric": float(losses.metric.detach()),
            "value": float(losses.value.detach()),
            "norm": float(norm),
        }

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

    def _record(self, entry: dict[str, float]) -> None:
        with (self.directory / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")


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

    Returns:
        The directory of the checkpoint.

    Raises:
        ConfigError: The configuration is not legal, or the directory holds a run already.
        CheckpointError: The state to resume from is missing or belongs to another configuration.
        DatasetError: A table is missing or does not fit its space.
    """
    if threads:
        torch.set_num_threads(threads)
    packaged = Path(__file__).parent / "configs" / Path(config_path).name
    path = Path(config_path) if Path(config_path).exists() else packaged
    out = Path(directory)
    if resume and weights is not None:
        raise ConfigError("resume goes on from the run's own weights; leave weights out")
    if (out / STATE).exists() and not resume:
        raise ConfigError(f"{out} holds a run already; resume it, or choose another directory")
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(TrainingConfig.load(path), out, cpu=cpu, tables=Path(tables))
    if resume:
        trainer.resume()
    elif weights is not None:
        trainer.start_from(weights)
    trainer.train(max_seconds=max_seconds)
    return out / CHECKPOINT


def _logged_table(
    config: TableConfig, folder: Path, directory: Path, device: torch.device
) -> LoggedTable:
    """A table with its emulator, which is fitted once a run."""
    table, _ = load_table(folder / config.path, config.goals).split(config.held_out)
    fitted = directory / f"emulator-{Path(config.path).stem}.safetensors"
    if fitted.exists():
        emulator = load_emulator(table, fitted)
    else:
        emulator = fit_emulator(table, progress=True)
        save_file(emulator.state_dict(), fitted)
    return LoggedTable(EmulatedTable(table, emulator, device), config.tasks, config.models)


def _describe_table(config: TableConfig) -> str:
    return (
        f"{Path(config.path).stem}: emulated, {100 * config.held_out:.0f} % of its data sets "
        "held out by a hash of their names"
    )


class _Steps(Dataset[StudyBatch]):
    """Batches by step."""

    def __init__(self, prior: SyntheticPrior):
        self.prior = prior

    def __getitem__(self, step: int) -> StudyBatch:
        return self.prior.batch(step)


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)
