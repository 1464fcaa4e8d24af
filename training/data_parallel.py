"""Every process holds the whole model and computes its share of a step's batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from optformer.data.studies.errors import ConfigError
from optformer.model.network import OptFormerModel
from optformer.model.state_keys import in_order
from optformer.model.tensors import to_device
from optformer.training.config import TrainingConfig
from optformer.training.losses import study_losses
from optformer.training.mining import mine
from optformer.training.mixtures.batch import StudyBatch


class Parallel(Protocol):
    """How processes share the work of a step and what each of them holds.

    Attributes:
        share: The number of this process's share of a step's batches, and the number of shares.
    """

    share: tuple[int, int]

    @property
    def core(self) -> nn.Module:
        """The network, or the part of it, that this process trains."""

    def gradients(self, batches: Sequence[StudyBatch]) -> Tensor:
        """Compute this process's part of a step.

        Args:
            batches: This process's share of the step's batches.

        Returns:
            The step's total, metric and value loss over all processes, (3,).
        """

    def clip(self) -> Tensor:
        """Clip the gradient; returns its norm over the whole model before that."""

    def total(self, work: Tensor) -> Tensor:
        """The sum over the shares of something counted of each process's batches."""

    def gather(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather the whole model's weights on the first process."""

    def shard(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take the weights that this process holds from the whole model's."""

    def gather_optimizers(
        self, optimizers: Sequence[torch.optim.Optimizer]
    ) -> list[dict[str, Any]]:
        """Gather the states of the whole model's optimizers on the first process."""

    def shard_optimizers(self, states: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Take the states of this process's optimizers from the whole model's."""


class DataParallel:
    """The model on every process, gradients averaged over the batches of a step.

    Args:
        accelerator: Knows the processes.
        core: The network.
        config: The run.

    Raises:
        ConfigError: The processes cannot share a step's batches evenly.
    """

    def __init__(self, accelerator: Accelerator, core: OptFormerModel, config: TrainingConfig):
        processes = accelerator.num_processes
        if config.batches_per_step % processes:
            raise ConfigError(
                f"batches_per_step must be a multiple of the {processes} processes that share a "
                f"step, got {config.batches_per_step}; change it in the configuration, or the "
                "number of processes"
            )
        self.accelerator, self.config = accelerator, config
        self.core = core.to(accelerator.device)
        self.model = accelerator.prepare_model(self.core)
        self.share = accelerator.process_index, processes

    def gradients(self, batches: Sequence[StudyBatch]) -> Tensor:
        """See `Parallel`."""
        accelerator, config = self.accelerator, self.config
        sums = torch.zeros(3, device=accelerator.device)
        for number, batch in enumerate(batches, start=1):
            batch = to_device(batch, accelerator.device)
            last = number == len(batches)  # only then processes talk to each other
            with nullcontext() if last else accelerator.no_sync(self.model):
                with accelerator.autocast():
                    batch = mine(self.core, batch, config.prior.mined)
                    losses = study_losses(self.model, batch, config.metric_share)
                accelerator.backward(losses.total / len(batches))
            parts = torch.stack([losses.total, losses.metric, losses.value])
            sums += parts.detach() / len(batches)
        mean: Tensor = accelerator.reduce(sums, "mean")
        return mean

    def clip(self) -> Tensor:
        """See `Parallel`."""
        weights = [weight for _, weight in in_order(self.core.named_parameters())]
        return torch.nn.utils.clip_grad_norm_(weights, self.config.clip)

    def total(self, work: Tensor) -> Tensor:
        """See `Parallel`."""
        summed: Tensor = self.accelerator.reduce(work.to(self.accelerator.device), "sum")
        return summed

    def gather(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Parallel`."""
        return dict(weights)

    def shard(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Parallel`."""
        return dict(weights)

    def gather_optimizers(
        self, optimizers: Sequence[torch.optim.Optimizer]
    ) -> list[dict[str, Any]]:
        """See `Parallel`."""
        return [optimizer.state_dict() for optimizer in optimizers]

    def shard_optimizers(self, states: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `Parallel`."""
        return list(states)
