"""What weights are called in checkpoints, and their order.

Formats 1 to 3 named weights by one flat model. Whatever depends on an order still follows these
names: in it weights are drawn from a seed, numbered in the states of optimizers, and summed up in
the norm of a gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

RENAMED = {
    "study_queries": "encoder.study_queries",
    "star": "tokens.star",
    "metric": "tokens.metric",
    "parameter": "tokens.parameter",
    "kind_bias": "decoder.bias.kinds",
    "distance_scale": "decoder.bias.distance_scale",
    "distance_mix": "decoder.bias.distance_mix",
    "words": "encoder.embed_tokens",
    "encoder_bias": "encoder.relative_bias",
    "encoder": "encoder.layers",
    "encoder_norm": "encoder.norm",
    "memory_projection": "encoder.projection",
    "memory_kinds": "encoder.kinds",
    "memory_slots": "encoder.slot_projection",
    "slot_table": "binding.slot_embedding",
    "slot_metadata": "binding.slot_metadata",
    "slot_meaning": "binding.slot_meaning",
    "slot_study": "binding.slot_study",
    "value_embedding": "binding.number_projection",
    "choice_embedding": "binding.choice_embedding",
    "choice_metadata": "binding.choice_metadata",
    "absent_embedding": "binding.absent_embedding",
    "pool_projection": "binding.projection",
    "pool_norm": "binding.norm",
    "star_pool": "tokens.star_pool",
    "metric_pool": "tokens.metric_pool",
    "metric_value": "tokens.metric_value",
    "metric_status": "tokens.metric_status",
    "parameter_pool": "tokens.parameter_pool",
    "parameter_slot": "tokens.parameter_slot",
    "process_trial": "tokens.gp_trial",
    "process_query": "tokens.gp_query",
    "process_gate": "metric_head.gp_gate",
    "layers": "decoder.layers",
    "trial_bias": "decoder.bias.position",
    "distance_weights": "decoder.bias.distance_weights",
    "output_norm": "decoder.norm",
    "metric_head": "metric_head.linear",
    "metric_smooth": "metric_head.smooth",
    "value_head": "value_head.linear",
    "value_binding": "value_head.binding",
    "value_smooth": "value_head.smooth",
    "choice_output": "binding.choice_output",
}
"""Names of formats 1 to 3 and today's, of weights or of the modules that hold them; in order."""

_RANKS = {name: rank for rank, name in enumerate(RENAMED.values())}


def rename(weights: Mapping[str, T]) -> dict[str, T]:
    """Weights of format 1 to 3 by today's names; unknown names stay."""
    renamed = {}
    for name, weight in weights.items():
        head, dot, rest = name.partition(".")
        renamed[RENAMED.get(head, head) + dot + rest] = weight
    return renamed


def in_order(named: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    """Weights or modules by today's names, in the order of `RENAMED`; unknown ones come last."""
    return sorted(named, key=lambda item: _rank(item[0]))


def _rank(name: str) -> int:
    """The place of the longest entry that names the weight, or a module around it."""
    while name:
        if name in _RANKS:
            return _RANKS[name]
        name = name.rpartition(".")[0]
    return len(_RANKS)
