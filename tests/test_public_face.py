"""`import optformer`: cheap, complete and stable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import optformer

HEAVY = ["torch", "optuna", "pandas", "matplotlib", "sklearn", "scipy", "transformers", "datasets"]


def fresh(code: str) -> str:
    """Output of a fresh interpreter that does not see the working folder."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_import__fresh_process__loads_nothing_heavy() -> None:
    loaded = fresh(f"import sys, optformer; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"


def test_import__spaces_and_trials__load_nothing_heavy_but_numpy() -> None:
    code = (
        "import sys, optformer as of\n"
        "space = of.SearchSpace(lr=of.Float(1e-5, 1, log=True), kind=of.Categorical(['a']))\n"
        "of.StudyConfig(space, 'loss', 'minimize'); of.Trial(0, {}); of.load_space\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert fresh(code) == "[]"


def test_all__every_name__is_there_sorted_and_documented() -> None:
    assert optformer.__all__ == sorted(optformer.__all__)
    assert set(optformer.__all__) <= set(dir(optformer))
    for name in optformer.__all__:
        value = getattr(optformer, name)
        assert name.startswith("__") or value.__doc__


def test_getattr__unknown_name__is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Flaot'"):
        optformer.Flaot  # noqa: B018


def test_version__command_line__agrees_with_the_package() -> None:
    command = Path(sys.executable).with_name("optformer")
    shown = subprocess.run([command, "--version"], check=True, capture_output=True, text=True)
    assert optformer.__version__ in shown.stdout.split()
