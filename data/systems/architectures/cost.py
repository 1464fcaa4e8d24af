"""What a network costs, counted and measured, and rewards that weigh it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import nn

LATENCY_EXPONENT = -0.07
"""Doubling the latency must buy about 5 % accuracy (Tan et al., 2019)."""


def count_flops(network: nn.Module, size: int) -> int:
    """Floating point operations for one image of `size` x `size` pixels (a product and sum are 2).

    The network is left in evaluation mode.
    """
    from torch.utils.flop_counter import FlopCounterMode

    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, size, size))
    return int(counter.get_total_flops())


def measure_latencies(networks: Sequence[nn.Module], size: int, repeats: int = 15) -> list[float]:
    """Milliseconds for one image on this machine, in this process: the median of some runs each.

    The networks take turns, so that other work on the machine slows them all alike and their ratios
    stay. They are left in evaluation mode.
    """
    image = torch.zeros(1, 1, size, size)
    seconds: list[list[float]] = [[] for _ in networks]
    with torch.no_grad():
        for network in networks:
            network.eval()
            network(image)  # the first run also allocates
        for _ in range(repeats):
            for network, times in zip(networks, seconds, strict=True):
                start = time.perf_counter()
                network(image)
                times.append(time.perf_counter() - start)
    return [1000.0 * median(times) for times in seconds]


def cost_aware_reward(
    accuracy: float, cost: float, target: float, exponent: float = LATENCY_EXPONENT
) -> float:
    """Accuracy x (cost / target)^exponent, the soft constraint of Tan et al., 2019.

    Args:
        accuracy: In [0, 1].
        cost: Latency or operations, above 0.
        target: What it should be, in the same unit.
        exponent: At most 0; 0 ignores the cost.
    """
    return float(accuracy * (cost / target) ** exponent)
