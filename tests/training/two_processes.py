"""Training in two processes on this machine's CPU, for `test_processes.py`.

    python two_processes.py PORT DIRECTORY

Runs as its own program, because a process that has computed anything should not be forked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.multiprocessing
from accelerate import Accelerator

import optformer.training.train as train
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.vocabulary import default_vocabulary
from optformer.training.config import TrainingConfig
from optformer.training.data_parallel import DataParallel, Parallel
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.pipeline import Pipeline

PROCESSES = 2
MICRO_BATCHES = 2


def gradients(directory: Path, config: TrainingConfig) -> None:
    """Losses and gradients of the first step, in float32, both ways."""
    accelerator = Accelerator(cpu=True)
    vocabulary = default_vocabulary()
    prior = SyntheticPrior(config.prior, vocabulary, config.seed)
    ways: dict[str, Callable[[OptFormerModel], Parallel]] = {
        "shared": lambda core: DataParallel(accelerator, core, config),
        "pipeline": lambda core: Pipeline(accelerator, core, config, MICRO_BATCHES),
    }
    for name, way in ways.items():
        torch.manual_seed(config.seed)
        parallel = way(OptFormerModel(ModelConfig.named(config.model, vocabulary.size)))
        share, shares = parallel.share
        own = config.batches_per_step // shares
        numbers = range(share * own, (share + 1) * own)
        losses = parallel.gradients([prior.batch(number) for number in numbers])
        named = parallel.core.named_parameters()
        whole = parallel.gather({n: w.grad.clone() for n, w in named if w.grad is not None})
        held = sum(weight.numel() for weight in parallel.core.parameters())
        norm = parallel.clip()
        if accelerator.is_main_process:
            found = {"losses": losses, "gradients": whole, "norm": norm, "held": held}
            torch.save(found, directory / f"{name}.pt")


def runs(directory: Path, config: TrainingConfig) -> None:
    """Four steps at once and two by two, both ways; the second process must write nothing."""
    for name, parts in (("shared", None), ("pipeline", MICRO_BATCHES)):
        for folder, ends in (("straight", [4]), ("halves", [2, 4])):
            for end in ends:
                trainer = train.Trainer(
                    config, directory / name / folder, cpu=True, micro_batches=parts
                )
                trainer.accelerator.wait_for_everyone()
                if end == 4 and len(ends) > 1:
                    trainer.resume()
                trainer.train(until=end)


def out_of_time(directory: Path, config: TrainingConfig) -> None:
    """One process is out of time: both stop at the same step."""
    trainer = train.Trainer(config, directory / "late", cpu=True)
    late = 0.0 if trainer.accelerator.is_main_process else 1e9
    trainer.train(max_seconds=late)
    assert trainer.step == 1


def _rank(rank: int, what: Callable[[Path, TrainingConfig], None], port: str, out: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(PROCESSES),
        "LOCAL_WORLD_SIZE": str(PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1",
    }
    if rank:  # only the first process writes
        train.write_state = train.save_checkpoint = _refused  # type: ignore[assignment]
    what(Path(out), TrainingConfig.load(Path(out) / "run.yaml"))
    torch.distributed.destroy_process_group()


def _refused(*args: object) -> None:
    raise AssertionError("a process other than the first has written")


if __name__ == "__main__":
    for what in (gradients, runs, out_of_time):
        torch.multiprocessing.start_processes(
            _rank, (what, *sys.argv[1:]), nprocs=PROCESSES, start_method="fork"
        )
