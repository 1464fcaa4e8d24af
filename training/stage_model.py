"""The part of the model that one stage of a pipeline holds; see `optformer.training.pipeline`.

Letters as in `optformer.model.tensors`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from optformer.model.config import ModelConfig
from optformer.model.gp_mixture import GPMixture, GPMixturePrediction, fit_gp_mixture
from optformer.model.network import EncodedMetadata, OptFormerModel
from optformer.model.tensors import PointTensors
from optformer.training.mixtures.batch import StudyBatch

COPIED = ("trial_bias", "kind_bias")
"""What every stage has a copy of."""

_OUTPUTS = (
    "output_norm",
    "metric_head",
    "metric_smooth",
    "process_gate",
    "value_head",
    "value_binding",
    "value_smooth",
)

ROWS = "distance_mix"
"""The weight with a row for each layer, which the layer's stage holds."""


class StageModel(OptFormerModel):
    """The part of the model that one stage holds.

    Args:
        config: The whole model.
        stage: Which stage, from 0.
        stages: How many there are, at most one a layer.
    """

    def __init__(self, config: ModelConfig, stage: int, stages: int):
        super().__init__(config)
        self.first, self.last = stage == 0, stage == stages - 1
        self.own = range(stage * config.layers // stages, (stage + 1) * config.layers // stages)
        for name, _ in [*self.named_children(), *self.named_parameters(recurse=False)]:
            needed = self.last if name in _OUTPUTS else self.first
            if not needed and name not in (*COPIED, ROWS, "layers", "numbers"):
                delattr(self, name)
        for layer in set(range(config.layers)) - set(self.own):
            self.layers[layer] = nn.Identity()
        self.distance_mix = nn.Parameter(self.cut(ROWS, self.distance_mix).detach().clone())

    def cut(self, name: str, whole: Tensor) -> Tensor:
        """The part of a weight of the whole model, or of its optimizer's state, that is held."""
        return whole[self.own.start : self.own.stop] if name == ROWS and whole.ndim else whole

    def shapes(self, batch: StudyBatch) -> list[tuple[int, ...]]:
        """Shapes of what goes from stage to stage: see `enter`."""
        config, metadata = self.config, batch.metadata
        spaces, parameters = metadata.slots.shape
        studies = batch.history.metric.shape[0]
        memory = parameters + metadata.choice_parameter.shape[1] + config.study_vectors
        return [
            (studies, batch.history.length, config.width),
            (studies, batch.metrics.target.shape[1], config.width),
            (studies, batch.values.target.shape[1], config.width),
            (spaces, memory, config.width),
            (spaces, parameters, config.pool_width),
            (spaces, parameters, config.heads),
            (spaces, parameters, _most_choices(batch), config.pool_width),
        ]

    def enter(self, batch: StudyBatch) -> list[Tensor]:
        """Tokens of trials, metric and value questions; then the memory's parts, by space."""
        memory = self.encode_metadata(batch.metadata)
        processes, expected = _consult(batch)
        return [
            self._trials(memory, batch.history, processes),
            self._metric_queries(memory, batch.metrics.points, expected),
            self._value_queries(memory, batch.values.points, batch.value_slots),
            memory.tokens,
            memory.slots,
            memory.metric_weights,
            memory.choices,
        ]

    def through(self, carried: Sequence[Tensor], batch: StudyBatch) -> list[Tensor]:
        """Run this stage's layers."""
        trials, metrics, values, *told = carried
        memory = self._memory(told, batch)
        past = batch.history.points
        place = torch.arange(batch.history.length, device=trials.device)

        def biases(
            kind: int, points: PointTensors, position: Tensor, visible: Tensor
        ) -> list[Tensor]:
            logs = self._log_distances(memory, points, past)
            return self._bias(memory, kind, position, visible, logs)

        asked, proposed = batch.metrics, batch.values
        seen = [place[None, :] < questions.position[:, None] for questions in (asked, proposed)]
        for i, layer, remembered, tried, valued in zip(
            self.own,
            self._decoder[self.own.start : self.own.stop],
            biases(0, past, place, self._visible(batch.history, batch.prefix)),
            biases(1, asked.points, asked.position, seen[0]),
            biases(2, proposed.points, proposed.position, seen[1]),
            strict=True,
        ):
            context = zip(layer.keys_values(memory.tokens), layer.keys_values(trials), strict=True)
            keys, kept = (torch.cat(pair, 2) for pair in context)
            metrics = layer(metrics, keys, kept, tried, see_self=True)
            values = layer(values, keys, kept, valued, see_self=True)
            if i + 1 < self.config.layers:  # nothing reads what the last layer makes of a trial
                trials = layer(trials, keys, kept, remembered, see_self=False)
        return [trials, metrics, values, *told]

    def answers(self, carried: Sequence[Tensor], batch: StudyBatch) -> tuple[Tensor, Tensor]:
        """Metric and value logits, as of the whole model."""
        _, metrics, values, *told = carried
        memory = self._memory(told, batch)
        _, expected = _consult(batch)  # anew: it is not carried
        return (
            self._metric_answers(self.output_norm(metrics), expected),
            self._value_answers(memory, self.output_norm(values), batch.value_slots),
        )

    def _memory(self, told: Sequence[Tensor], batch: StudyBatch) -> EncodedMetadata:
        """The memory, but for the pool, which only the first stage needs."""
        tokens, slots, metric_weights, choices = told
        metadata = batch.metadata
        described = torch.ones_like(metadata.slots, dtype=torch.bool)
        study = described.new_ones(len(described), self.config.study_vectors)
        memory = EncodedMetadata(
            tokens=tokens,
            mask=torch.cat([described, metadata.choice_parameter >= 0, study], 1),
            slots=slots,
            pool=tokens.new_zeros(0),
            metric_weights=metric_weights,
            choices=choices,
            legal=metadata.legal[..., : self.config.num_bins + choices.shape[2]],
        )
        return memory.repeat(batch.history.metric.shape[0] // memory.spaces)


def _consult(batch: StudyBatch) -> tuple[GPMixture, GPMixturePrediction]:
    """The Gaussian processes of each study, and what they expect of the metric questions."""
    processes = fit_gp_mixture(batch.history.first(batch.prefix))
    return processes, processes.predict(batch.metrics.points, batch.metrics.position)


def joined(name: str, parts: Sequence[Tensor]) -> Tensor:
    """One weight, or optimizer's state of it, from those of the stages that hold it."""
    return torch.cat(list(parts)) if name == ROWS and parts[0].ndim else parts[0]


def _most_choices(batch: StudyBatch) -> int:
    """Largest number of choices K of a parameter, as in `EncodedMetadata`."""
    metadata = batch.metadata
    real = bool((metadata.choice_parameter >= 0).any())
    return int(metadata.choice_index.max()) + 1 if real else 0
