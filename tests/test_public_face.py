"""`import optformer`: cheap, complete and stable."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import optformer

HEAVY = ["torch", "optuna", "pandas", "matplotlib", "sklearn", "scipy", "transformers", "datasets"]


def loaded(code: str, packages: list[str]) -> str:
    """Which of some packages are there after a fresh interpreter has run some code."""
    script = f"import sys, optformer as of\n{code}\n"
    script += f"print([package for package in {packages} if package in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_all__type_checkers__see_the_same_names() -> None:
    tree = ast.parse(Path(str(optformer.__file__)).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: (node.module, alias.name)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: (module, name) for name, module in optformer._HOMES.items()}


def test_all__every_name__is_there_sorted_and_documented() -> None:
    assert optformer.__all__ == sorted({*optformer._HOMES, "__version__"})
    assert set(optformer.__all__) <= set(dir(optformer))
    for name in optformer._HOMES:
        value = getattr(optformer, name)
        assert value.__name__ == name
        assert value.__doc__


def test_getattr__unknown_name__is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Flaot'"):
        optformer.Flaot  # noqa: B018


@pytest.mark.parametrize("code", ["", "of.OptFormerError", "of.__dir__()"])
def test_import__fresh_process__loads_nothing_heavy(code: str) -> None:
    assert loaded(code, [*HEAVY, "numpy"]) == "[]"


@pytest.mark.parametrize(
    "code",
    [
        "of.StudyConfig(space, 'loss', 'minimize'); of.Trial(0, {}); of.load_space",
        "of.create_study(space, metric='loss', goal='minimize').observe({'x': 0.5}, 1.0)",
    ],
)
def test_import__spaces_trials_and_a_study__load_nothing_heavy_but_numpy(code: str) -> None:
    space = "space = of.SearchSpace(x=of.Float(0, 1))\n"
    assert loaded(space + code, HEAVY) == "[]"


def test_version__command_line__agrees_with_the_package() -> None:
    command = Path(sys.executable).with_name("optformer")
    shown = subprocess.run([command, "--version"], check=True, capture_output=True, text=True)
    assert optformer.__version__ in shown.stdout.split()
