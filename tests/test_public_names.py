from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import optformer

PUBLIC = [
    "Categorical",
    "Float",
    "Int",
    "OptFormerError",
    "OptFormerWarning",
    "Ordinal",
    "SearchSpace",
    "SpaceExhaustedError",
    "Study",
    "StudyConfig",
    "Trial",
    "TrialStatus",
    "Weighted",
    "__version__",
    "create_study",
    "load_space",
    "load_study",
    "plot_comparison",
    "plot_history",
    "plot_response",
    "save_space",
]
HEAVY = ["torch", "optuna", "sklearn", "pandas", "matplotlib", "numpy", "scipy", "transformers"]


def test_optformer__public_names__are_the_known_ones_in_order() -> None:
    assert optformer.__all__ == PUBLIC == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(optformer))


@pytest.mark.parametrize("name", PUBLIC)
def test_optformer__public_name__is_there_and_documented(name: str) -> None:
    value = getattr(optformer, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__doc__


def test_optformer__type_checkers__see_the_same_homes() -> None:
    tree = ast.parse(Path(str(optformer.__file__)).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: f"{node.module}:{alias.name}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == optformer._HOMES
    assert sorted([*seen, "__version__"]) == PUBLIC


def test_optformer__unknown_name__is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = optformer.nothing


@pytest.mark.parametrize("code", ["", "optformer.OptFormerError", "optformer.__dir__()"])
def test_import_optformer__fresh_process__loads_nothing_heavy(code: str) -> None:
    script = f"import sys, optformer; {code}\nprint([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert out.strip() == "[]"


def test_create_study__fresh_process__loads_no_torch_or_optuna() -> None:
    script = (
        "import sys, optformer as of\n"
        "study = of.create_study(of.SearchSpace(x=of.Float(0, 1)), metric='m', goal='minimize')\n"
        "study.observe({'x': 0.5}, 1.0)\n"
        "print([m for m in ('torch', 'optuna', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert out.strip() == "[]"
