"""OptFormer: a pretrained language model of hyperparameter tuning.

    import optformer as of

    study = of.create_study(of.SearchSpace(x=of.Float(0.0, 1.0)), metric="loss", goal="minimize")
    trial = study.suggest()
    study.observe(trial, (trial.params["x"] - 0.3) ** 2)

Everything here is loaded when it is first used: importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from optformer._version import __version__

if TYPE_CHECKING:
    from optformer.data.studies.errors import OptFormerError, OptFormerWarning, SpaceExhaustedError
    from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
    from optformer.data.studies.space_files import load_space, save_space
    from optformer.data.studies.spaces import SearchSpace
    from optformer.data.studies.study_config import StudyConfig, Weighted
    from optformer.data.studies.trials import Trial, TrialStatus
    from optformer.serving.study.plots import plot_comparison, plot_history, plot_response
    from optformer.serving.study.study import Study, create_study, load_study

__all__ = [
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

_HOMES = {
    "Categorical": "optformer.data.studies.parameters:Categorical",
    "Float": "optformer.data.studies.parameters:Float",
    "Int": "optformer.data.studies.parameters:Int",
    "OptFormerError": "optformer.data.studies.errors:OptFormerError",
    "OptFormerWarning": "optformer.data.studies.errors:OptFormerWarning",
    "Ordinal": "optformer.data.studies.parameters:Ordinal",
    "SearchSpace": "optformer.data.studies.spaces:SearchSpace",
    "SpaceExhaustedError": "optformer.data.studies.errors:SpaceExhaustedError",
    "Study": "optformer.serving.study.study:Study",
    "StudyConfig": "optformer.data.studies.study_config:StudyConfig",
    "Trial": "optformer.data.studies.trials:Trial",
    "TrialStatus": "optformer.data.studies.trials:TrialStatus",
    "Weighted": "optformer.data.studies.study_config:Weighted",
    "create_study": "optformer.serving.study.study:create_study",
    "load_space": "optformer.data.studies.space_files:load_space",
    "load_study": "optformer.serving.study.study:load_study",
    "plot_comparison": "optformer.serving.study.plots:plot_comparison",
    "plot_history": "optformer.serving.study.plots:plot_history",
    "plot_response": "optformer.serving.study.plots:plot_response",
    "save_space": "optformer.data.studies.space_files:save_space",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
