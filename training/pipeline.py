"""Pipeline parallelism: the decoder's layers in stages, a process each.

A batch is cut into micro-batches that flow through the stages one behind the other, forward and
then backward, so that all stages work at the same time (Huang et al. 2019, "GPipe",
US20220121945A1). A stage holds the weights, gradients, averages and optimizer states of its own
layers alone. The first has the embeddings and the metadata encoder as well, the last the outputs.

A stage sends the next one the tokens of trials and queries and the encoded metadata, in one tensor.
It never sends studies: a batch is a function of the run's seed and its number, so every stage draws
it. The small tables of attention biases serve all layers: each stage has a copy, and the gradients
of the copies are summed.

Letters as in `optformer.model.tensors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from math import prod
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from optformer.data.studies.errors import ConfigError
from optformer.model.network import OptFormerModel
from optformer.model.tensors import to_device
from optformer.training.config import TrainingConfig
from optformer.training.losses import study_losses
from optformer.training.mixtures.batch import IGNORED, StudyBatch
from optformer.training.schedule import make_optimizers, parameter_names
from optformer.training.stage_model import COPIED, StageModel

_Batch = TypeVar("_Batch")


class Pipeline:
    """A stage of the model on every process; see `optformer.training.data_parallel.Parallel`.

    Args:
        accelerator: Knows the processes.
        core: The whole network, whose weights the stages take.
        config: The run.
        micro_batches: Parts of a batch; each has as many functions of every space.

    Raises:
        ConfigError: There are too few processes or too many, the studies of a space cannot be
            shared by the micro-batches, or queries would have to be mined.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        core: OptFormerModel,
        config: TrainingConfig,
        micro_batches: int,
    ):
        stages = accelerator.num_processes
        if not 2 <= stages <= core.config.layers:
            raise ConfigError(
                f"a pipeline of {config.model!r} takes 2 to {core.config.layers} processes, at "
                f"most one a layer, got {stages}; start them with torchrun or accelerate launch"
            )
        _check_divisible(config.prior.studies_per_space, micro_batches)
        if config.histories and micro_batches > 1:
            raise ConfigError(
                "histories must be empty in a pipeline of several parts: each recorded study has a "
                f"space of its own, which cannot be shared by {micro_batches} parts"
            )
        if config.prior.mining:
            raise ConfigError(
                f"prior.mining must be 0 in a pipeline, got {config.prior.mining}: picking "
                "queries takes a pass through the whole model before the step"
            )
        self.accelerator, self.config, self.micro_batches = accelerator, config, micro_batches
        self.share = 0, 1  # all stages see all batches
        self.names = parameter_names(core, make_optimizers(core, config))
        with torch.random.fork_rng(devices=[]):
            stage = StageModel(core.config, accelerator.process_index, stages)
        self.core = stage
        stage.load_state_dict(self.shard(core.state_dict()))
        stage.to(accelerator.device)

    def gradients(self, batches: Sequence[StudyBatch]) -> Tensor:
        """See `Parallel`."""
        device = self.accelerator.device
        sums = torch.zeros(3, device=device)
        for batch in batches:
            sums += self._flow(to_device(batch, device)) / len(batches)
        for name, weight in self.core.named_parameters():
            if weight.grad is None:  # a step needs them all, as in one process
                weight.grad = torch.zeros_like(weight)
            weight.grad /= len(batches)
            if name.startswith(COPIED):
                weight.grad = self.accelerator.reduce(weight.grad, "sum")
        summed: Tensor = self.accelerator.reduce(sums, "sum")  # zero but on the last stage
        return summed

    def _flow(self, batch: StudyBatch) -> Tensor:
        """Send a batch through the stages and back; returns its losses on the last stage."""
        parts = micro_batches(batch, self.micro_batches)
        run = _Run(self.core, batch, parts, self.config.metric_share, self.accelerator.autocast)
        stage = PipelineStage(
            run,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            self.accelerator.device,
            input_args=run.received(),
            output_args=run.sent(),
        )
        numbers = torch.arange(len(parts), device=self.accelerator.device)
        schedule = ScheduleGPipe(stage, len(parts), loss_fn=_is_loss, scale_grads=False)
        inputs = (torch.zeros(len(parts)),) if self.core.first else ()
        target = numbers if self.core.last else None
        schedule.step(*inputs, number=numbers, target=target, return_outputs=False)
        return run.losses

    def clip(self) -> Tensor:
        """See `Parallel`."""
        weights = dict(self.core.named_parameters())
        counted = [
            weight.grad.square().sum()
            for name, weight in weights.items()
            if weight.grad is not None and (self.core.first or not name.startswith(COPIED))
        ]
        squared: Tensor = self.accelerator.reduce(torch.stack(counted).sum(), "sum")
        norm: Tensor = squared.sqrt()
        torch.nn.utils.clip_grads_with_norm_(weights.values(), self.config.clip, norm)
        return norm

    def total(self, work: Tensor) -> Tensor:
        """See `Parallel`."""
        return work  # of batches that all stages see

    def gather(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Parallel`."""
        parts = gather_object([{name: weight.cpu() for name, weight in weights.items()}])
        return {name: weight for part in reversed(parts) for name, weight in part.items()}

    def shard(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Parallel`."""
        return {name: weights[name] for name in self.core.state_dict()}

    def gather_optimizers(
        self, optimizers: Sequence[torch.optim.Optimizer]
    ) -> list[dict[str, Any]]:
        """See `Parallel`."""
        named = [
            {name: optimizer.state_dict()["state"].get(i, {}) for i, name in enumerate(names)}
            for names, optimizer in zip(
                parameter_names(self.core, optimizers), optimizers, strict=True
            )
        ]
        parts = gather_object([named])
        states = []
        for number, (names, optimizer) in enumerate(zip(self.names, optimizers, strict=True)):
            state = {}
            for i, name in enumerate(names):
                state[i] = next(part[number][name] for part in parts if name in part[number])
            (group,) = optimizer.state_dict()["param_groups"]
            groups = [{**group, "params": list(range(len(names)))}]
            states.append({"state": {i: s for i, s in state.items() if s}, "param_groups": groups})
        return states

    def shard_optimizers(self, states: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `Parallel`."""
        held, shards = set(dict(self.core.named_parameters())), []
        for names, whole in zip(self.names, states, strict=True):
            kept = [number for number, name in enumerate(names) if name in held]
            state = {
                own: whole["state"][number]
                for own, number in enumerate(kept)
                if number in whole["state"]
            }
            (group,) = whole["param_groups"]
            groups = [{**group, "params": list(range(len(kept)))}]
            shards.append({"state": state, "param_groups": groups})
        return shards


class _Run(nn.Module):
    """One batch on its way through a stage, as `PipelineStage` wants it."""

    def __init__(
        self,
        model: StageModel,
        batch: StudyBatch,
        parts: Sequence[StudyBatch],
        metric_share: float,
        autocast: Callable[[], Any],
    ):
        super().__init__()
        self.model, self.parts, self.metric_share = model, parts, metric_share
        self.autocast = autocast
        self.weight = _query_weight(batch)
        self.shapes = model.shapes(parts[0])
        self.losses = torch.zeros(3, device=batch.history.metric.device)

    def received(self) -> Tensor:
        """What comes in, without its content; the first stage gets a place-holder."""
        return torch.empty(1, device="meta") if self.model.first else self._flat()

    def sent(self) -> Tensor:
        """What goes out, without its content: the loss, from the last stage."""
        if self.model.last:
            return torch.empty((), device="meta", requires_grad=True)
        return self._flat()

    def _flat(self) -> Tensor:
        return torch.empty(sum(map(prod, self.shapes)), device="meta", requires_grad=True)

    def forward(self, flat: Tensor, number: Tensor) -> Tensor:
        """The stage's part of a micro-batch's pass: `received` to `sent`."""
        part = self.parts[int(number)]
        with self.autocast():
            if self.model.first:
                carried = self.model.enter(part)
            else:
                pieces = torch.split(flat, [prod(shape) for shape in self.shapes])
                carried = [p.view(shape) for p, shape in zip(pieces, self.shapes, strict=True)]
            carried = self.model.through(carried, part)
            if self.model.last:
                return self._loss(carried, part)
        return torch.cat([tensor.float().flatten() for tensor in carried])

    def _loss(self, carried: Sequence[Tensor], part: StudyBatch) -> Tensor:
        """The micro-batch's share of the batch's loss."""
        logits = self.model.logits(carried, part)
        losses = study_losses(lambda *queries: logits, part, self.metric_share)
        means = torch.stack([losses.metric, losses.value])
        metric, value = _query_weight(part) / self.weight * means
        total: Tensor = self.metric_share * metric + (1 - self.metric_share) * value
        self.losses += torch.stack([total, metric, value]).detach()
        return total


def micro_batches(batch: StudyBatch, count: int) -> list[StudyBatch]:
    """Cut a batch into parts with as many functions of every space.

    Raises:
        ConfigError: The functions of a space cannot be shared evenly.
    """
    spaces, studies = len(batch.metadata.ids), len(batch.history.metric)
    _check_divisible(studies // spaces, count)
    numbers = torch.arange(studies, device=batch.history.metric.device)
    rows = numbers.reshape(spaces, count, -1).transpose(0, 1).reshape(count, -1)
    return [replace(_of_studies(batch, own, studies), metadata=batch.metadata) for own in rows]


def _of_studies(batch: _Batch, rows: Tensor, studies: int) -> _Batch:
    """The rows of every tensor that has one for each study."""
    changed: dict[str, Any] = {}
    for field in fields(batch):  # type: ignore[arg-type]
        value = getattr(batch, field.name)
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == studies:
            changed[field.name] = value[rows]
        elif is_dataclass(value):
            changed[field.name] = _of_studies(value, rows, studies)
    return replace(batch, **changed)  # type: ignore[type-var]


def _check_divisible(studies: int, micro_batches: int) -> None:
    if micro_batches < 1 or studies % micro_batches:
        raise ConfigError(
            f"the {studies} studies of a space (prior.studies_per_space) must be shared evenly by "
            f"the micro-batches, got {micro_batches}"
        )


def _query_weight(batch: StudyBatch) -> Tensor:
    """Total weight of the metric and of the value queries in the batch's mean losses, (2,)."""
    metrics = (batch.metrics.target != IGNORED).sum().clamp(min=1)
    known = batch.values.target != IGNORED
    values = known.sum().clamp(min=1)
    if batch.value_weights is not None:
        values = (known * batch.value_weights).sum().clamp(min=1e-6)
    return torch.stack([metrics.float(), values.float()])


def _is_loss(output: Tensor, target: Tensor) -> Tensor:
    """The last stage's output is the loss already."""
    del target
    return output
