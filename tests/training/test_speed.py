"""Counting work."""

from __future__ import annotations

import time

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from optformer.model.config import ModelConfig
from optformer.model.gp_mixture import fit_gp_mixture
from optformer.model.network import OptFormerModel
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import TrainingConfig
from optformer.training.losses import study_losses
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.speed import (
    SpeedMeter,
    fast_precision,
    measure_peak,
    training_flops,
    work_of,
)


@pytest.mark.parametrize("number", range(4))
def test_training_flops__batches_of_any_shape__are_what_torch_counts(
    training_config: TrainingConfig, vocabulary: Vocabulary, number: int
) -> None:
    config = ModelConfig.named("tiny", vocabulary.size)
    batch = SyntheticPrior(training_config.prior, vocabulary, 0).batch(number)
    model = OptFormerModel(config)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        study_losses(model, batch, 0.8).total.backward()  # type: ignore[no-untyped-call]
    with FlopCounterMode(display=False) as consulted:
        fit_gp_mixture(batch.history.first(batch.prefix)).predict(batch.metrics.points)
    counted = counter.get_total_flops() - consulted.get_total_flops()
    assert training_flops(config, batch) == pytest.approx(counted, rel=1e-3)


def test_rates__known_work__are_divided_by_the_time_since_the_last_call(
    training_config: TrainingConfig, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    config = ModelConfig.named("tiny", vocabulary.size)
    batch = SyntheticPrior(training_config.prior, vocabulary, 0).batch(0)
    work = work_of(config, batch)
    asked = batch.metrics.target.numel() + batch.values.target.numel()
    assert work[1] == batch.history.metric.numel() + asked

    meter = SpeedMeter(peak=1e9)
    meter.add(work)
    meter.add(work)
    now = 104.0
    rates = meter.rates()
    assert rates["trials_per_second"] == batch.trials / 2
    assert rates["tokens_per_second"] == float(work[1]) / 2
    assert rates["model_flop_utilisation"] == pytest.approx(training_flops(config, batch) / 2 / 1e9)
    now = 105.0
    assert meter.rates()["trials_per_second"] == 0


def test_measure_peak__this_machine__is_between_an_abacus_and_a_cluster() -> None:
    assert 1e8 < measure_peak(torch.device("cpu")) < 1e16


@pytest.mark.parametrize(
    ("capability", "expected"),
    [("AVX2", torch.float32), ("AVX512", torch.bfloat16), ("DEFAULT", torch.float32)],
)
def test_fast_precision__cpu__is_bf16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capability: str, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert fast_precision(torch.device("cpu")) == expected
    assert fast_precision(torch.device("cuda")) == torch.bfloat16
