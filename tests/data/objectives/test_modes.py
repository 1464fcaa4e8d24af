from __future__ import annotations

import numpy as np
import pytest

from optformer.data.objectives.modes import LOWER, modes_objective
from optformer.data.studies.errors import ConfigError


@pytest.mark.parametrize("name", ["modes-d4-i1", "modes-d6-i2", "modes-d12-i3"])
def test_objective__uniform_points__see_the_broad_peak_and_not_the_narrow_one(name):
    objective = modes_objective(name)
    rng = np.random.default_rng(0)
    values = [objective(objective.config.space.sample(rng)) for _ in range(200)]
    assert objective.optimum == 1.0
    assert 0.4 < max(values) < LOWER + 0.15
    assert objective.reserved


def test_objective__narrow_peak__is_the_optimum():
    objective = modes_objective("modes-d4-i1")
    broad, narrow = objective.function.args
    names = objective.config.space.names
    at = [objective(dict(zip(names, peak.tolist(), strict=True))) for peak in (broad, narrow)]
    assert at == [pytest.approx(LOWER), pytest.approx(1.0)]
    assert (abs(broad - narrow) >= 0.4).all()


def test_objective__unknown_name__lists_the_known():
    with pytest.raises(ConfigError, match="modes-d2-i1"):
        modes_objective("modes-d5-i1")
