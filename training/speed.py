"""How fast a run is: trials and tokens a second, and model FLOP utilisation.

Utilisation is the share of what the devices can do that goes into the matrix products of the
model's forward and backward pass (Chowdhery et al. 2022, "PaLM", appendix B). The products are
counted from a batch's shapes; what else a step does (drawing studies, picking queries, the
optimizers) takes time and counts for nothing.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from optformer.model.config import ModelConfig
from optformer.training.mixtures.batch import StudyBatch

_SIDES = {"cpu": 1024, "cuda": 8192}  # of the matrices whose product is timed
_REPEATS = 8


class SpeedMeter:
    """Adds up the work of steps between two readings of the clock.

    Args:
        peak: Floating-point operations a second that all devices together can do.
    """

    def __init__(self, peak: float):
        self.peak = peak
        self.restart()

    def restart(self) -> None:
        """Forget the work so far and start the clock: what came before does not count."""
        self.work = torch.zeros(3)
        self.started = time.monotonic()

    def add(self, work: Tensor) -> None:
        """Count what all processes did in a step, see `work_of`."""
        self.work += work.cpu()

    def rates(self) -> dict[str, float]:
        """Rates since the last call, which starts the clock again."""
        trials, tokens, operations = (self.work / (time.monotonic() - self.started)).tolist()
        self.restart()
        return {
            "trials_per_second": trials,
            "tokens_per_second": tokens,
            "model_flop_utilisation": operations / self.peak,
        }


def work_of(config: ModelConfig, batch: StudyBatch) -> Tensor:
    """Trials and metric queries; these and the value queries; operations; float32, (3,)."""
    tokens = batch.trials + batch.values.target.numel()
    return torch.tensor([batch.trials, tokens, training_flops(config, batch)]).float()


def fast_precision(device: torch.device) -> torch.dtype:
    """Type of numbers that matrix products are fastest in: bf16, but on a CPU without AVX-512.

    There a product in bf16 is emulated, and takes eighty times as long as one in float32.
    """
    slow = device.type == "cpu" and "AVX512" not in torch.backends.cpu.get_cpu_capability()
    return torch.float32 if slow else torch.bfloat16


def measure_peak(device: torch.device) -> float:
    """Operations a second of a large matrix product, the best of a few (under a second)."""
    side = _SIDES.get(device.type, 4096)
    matrix = torch.zeros(side, side, dtype=fast_precision(device), device=device)
    fastest = float("inf")
    for _ in range(_REPEATS):
        started = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # waits for the device
        fastest = min(fastest, time.perf_counter() - started)
    return float(2 * side**3 / fastest)


def training_flops(config: ModelConfig, batch: StudyBatch) -> int:
    """Floating-point operations in the matrix products of a training step, forward and backward.

    A product of (n, k) and (k, m) counts 2 n k m, and as much again for the gradient of each factor
    that has one. What the Gaussian process takes is not counted. Letters as in
    `optformer.model.tensors`.
    """
    spaces, length = batch.metadata.ids.shape
    studies, trials = batch.history.metric.shape
    parameters = batch.history.points.values.shape[-1]
    choices, most = batch.metadata.choice_parameter.shape[1], batch.metadata.max_choices
    width, pool, heads = config.width, config.pool_width, config.heads
    narrow, numbers, bins = config.encoder_width, config.number_features, config.num_bins
    features = numbers + 2 + most
    memory = parameters + choices + config.study_vectors
    metrics, values = batch.metrics.target.shape[1], len(batch.value_slots)

    encoder = config.encoder_layers * (
        4 * narrow * narrow + 3 * narrow * config.encoder_feedforward + 2 * length * narrow
    )
    described_by = (
        narrow * ((2 * parameters + config.study_vectors + choices) * pool + memory * width)
        + parameters * pool * (width + heads)
        + parameters * features * pool * width
    )
    metadata = spaces * (length * (encoder + 2 * config.study_vectors * narrow) + described_by)
    layer = 4 * width * width + 2 * (memory + trials) * width + 3 * width * config.feedforward
    layer += trials * heads * heads
    token = config.layers * layer + width * width
    # Of a trial, the last layer needs its key and value alone.
    trial = token - layer + 2 * width * width
    remembered = config.layers * memory * 2 * width * width
    metric = token + width * numbers + width * (bins + 2)
    value = token + 2 * pool * width + pool * numbers + width * (bins + config.max_choices)
    learned = metadata + studies * (trials * trial + remembered + metrics * metric + values * value)
    # One factor is data: its features, its distances, the bins' centres.
    given = parameters * features * width + trials * parameters * heads
    given_y = numbers * width * (3 * batch.prefix + 2 * metrics)
    data = spaces * length * (parameters + choices) * narrow + studies * (
        trials * (given + numbers * width) + (metrics + values) * (given + numbers * bins) + given_y
    )
    return 2 * (3 * learned + 2 * data)
