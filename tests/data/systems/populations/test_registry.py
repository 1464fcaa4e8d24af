"""Population methods by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.populations import POPULATIONS
from optformer.data.systems.populations.base import seed_of


def test_names__registry__lists_every_method_with_a_line_and_a_source() -> None:
    assert POPULATIONS.names() == [
        "asynchronous-sessions",
        "fixed-values",
        "partitioned-populations",
        "population-based-training",
        "progressive-learning",
    ]
    for name in POPULATIONS.names():
        assert POPULATIONS.describe(name).endswith(".")
        assert "Source: " in (type(POPULATIONS[name]()).__doc__ or "")


def test_registry__unknown_name__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown population method 'pbt'.*fixed-values"):
        POPULATIONS["pbt"]


def test_import__registry__does_not_load_torch_or_scipy() -> None:
    code = (
        "import sys, optformer.data.systems.populations as p\n"
        "p.POPULATIONS.names(); print('torch' in sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "False"


def test_seed_of__parts__tell_all_orders_apart() -> None:
    parts = [(0,), (0, 0), (1,), (0, 1), (1, 0), (2, 0, 1)]
    assert len({seed_of(*part) for part in parts}) == len(parts)
    assert seed_of(3, 4) == seed_of(3, 4)
