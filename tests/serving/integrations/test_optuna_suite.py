"""Optuna's public tests of samplers, run on ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from optformer.serving.integrations.optuna_sampler import OptFormerSampler


class Suite(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """All cases but those of samplers that refuse several objectives."""


class TestBlankModel(Suite):
    @pytest.fixture
    def sampler(self, blank_model: Path) -> Callable[[], BaseSampler]:
        return lambda: OptFormerSampler(seed=0, model=blank_model)


@pytest.mark.slow
class TestShippedModel(Suite):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: OptFormerSampler(seed=0)
