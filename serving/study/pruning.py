"""Which trials stop early: Optuna's pruners, by name."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, TypeAlias

from optuna import TrialPruned as TrialPruned
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)

from optformer.data.runtime.optuna_logging import quiet_optuna
from optformer.data.studies.errors import StudyError

PrunerLike: TypeAlias = str | BasePruner
"""A pruner of Optuna, or one written as in `make_pruner`."""

# With settings that Optuna has no default for: the best quarter goes on, and five steps may pass
# without a better one.
_PRUNERS: dict[str, tuple[type[BasePruner], Mapping[str, Any]]] = {
    "median": (MedianPruner, {}),
    "percentile": (PercentilePruner, {"percentile": 25.0}),
    "successive_halving": (SuccessiveHalvingPruner, {}),
    "hyperband": (HyperbandPruner, {}),
    "wilcoxon": (WilcoxonPruner, {}),
    "patient": (PatientPruner, {"wrapped_pruner": None, "patience": 5}),
    "threshold": (ThresholdPruner, {}),
}

PRUNERS = tuple(_PRUNERS)
"""Names of the pruners."""


def make_pruner(pruner: PrunerLike) -> BasePruner:
    """A pruner from what was written.

    Args:
        pruner: A name of `PRUNERS`, with settings of Optuna's class in parentheses where they are
            to differ from its defaults, as in `median(n_warmup_steps=3)` or `threshold(upper=5.0)`;
            or a pruner of Optuna.

    Raises:
        StudyError: There is no such pruner, or it does not take these settings.
    """
    if isinstance(pruner, BasePruner):
        return pruner
    name, settings = _read(pruner)
    kind, defaults = _PRUNERS[name]
    wrapped = settings.get("wrapped_pruner")
    if isinstance(wrapped, str):
        settings["wrapped_pruner"] = make_pruner(wrapped)
    try:
        with quiet_optuna():  # some are experimental in Optuna
            return kind(**{**defaults, **settings})
    except (TypeError, ValueError, AssertionError) as error:
        raise StudyError(f"pruner {pruner!r}: {error}; {kind.__name__} of Optuna says more") from (
            error
        )


def _read(pruner: object) -> tuple[str, dict[str, Any]]:
    """Name and settings of a pruner."""
    known = f"a pruner is one of {list(PRUNERS)}, or an object of optuna.pruners"
    if not isinstance(pruner, str):
        raise StudyError(f"{known}; got {pruner!r}")
    name, parenthesis, rest = pruner.strip().partition("(")
    name = name.strip().replace("-", "_")
    if name not in _PRUNERS:
        raise StudyError(f"unknown pruner {pruner!r}; {known}")
    try:
        call = ast.parse(f"{name}{parenthesis}{rest}", mode="eval").body
        if isinstance(call, ast.Name):
            return name, {}
        if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
            raise ValueError("not a call with named settings")
        return name, {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise StudyError(
            f"pruner {pruner!r} cannot be read ({error}); "
            "write settings as in 'median(n_warmup_steps=3)'"
        ) from None
