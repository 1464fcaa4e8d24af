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

from optformer._version import __version__ as __version__

if TYPE_CHECKING:  # the same names as in _NAMES, for whoever reads types
    from optformer.data.studies.errors import OptFormerError as OptFormerError
    from optformer.data.studies.errors import OptFormerWarning as OptFormerWarning
    from optformer.data.studies.errors import SpaceExhaustedError as SpaceExhaustedError
    from optformer.data.studies.parameters import Categorical as Categorical
    from optformer.data.studies.parameters import Float as Float
    from optformer.data.studies.parameters import Int as Int
    from optformer.data.studies.parameters import Ordinal as Ordinal
    from optformer.data.studies.space_files import load_space as load_space
    from optformer.data.studies.space_files import save_space as save_space
    from optformer.data.studies.spaces import SearchSpace as SearchSpace
    from optformer.data.studies.study_config import StudyConfig as StudyConfig
    from optformer.data.studies.study_config import Weighted as Weighted
    from optformer.data.studies.trials import Trial as Trial
    from optformer.data.studies.trials import TrialStatus as TrialStatus
    from optformer.serving.client.client import Client as Client
    from optformer.serving.client.client import connect as connect
    from optformer.serving.integrations.lightning_callback import (
        LightningPruningCallback as LightningPruningCallback,
    )
    from optformer.serving.integrations.optuna_sampler import OptFormerSampler as OptFormerSampler
    from optformer.serving.integrations.ray_tune import OptFormerSearcher as OptFormerSearcher
    from optformer.serving.integrations.sklearn_search import OptFormerSearchCV as OptFormerSearchCV
    from optformer.serving.study.front_plots import plot_front as plot_front
    from optformer.serving.study.parameter_plots import plot_contour as plot_contour
    from optformer.serving.study.parameter_plots import (
        plot_parallel_coordinates as plot_parallel_coordinates,
    )
    from optformer.serving.study.plots import plot_comparison as plot_comparison
    from optformer.serving.study.plots import plot_history as plot_history
    from optformer.serving.study.plots import plot_response as plot_response
    from optformer.serving.study.pruning import TrialPruned as TrialPruned
    from optformer.serving.study.storage import delete_study as delete_study
    from optformer.serving.study.storage import list_studies as list_studies
    from optformer.serving.study.study import Study as Study
    from optformer.serving.study.study import create_study as create_study
    from optformer.serving.study.study import load_study as load_study
    from optformer.serving.study.study import suggest_many as suggest_many

_NAMES = {
    "optformer.data.studies.errors": ["OptFormerError", "OptFormerWarning", "SpaceExhaustedError"],
    "optformer.data.studies.parameters": ["Categorical", "Float", "Int", "Ordinal"],
    "optformer.data.studies.space_files": ["load_space", "save_space"],
    "optformer.data.studies.spaces": ["SearchSpace"],
    "optformer.data.studies.study_config": ["StudyConfig", "Weighted"],
    "optformer.data.studies.trials": ["Trial", "TrialStatus"],
    "optformer.serving.client.client": ["Client", "connect"],
    "optformer.serving.integrations.lightning_callback": ["LightningPruningCallback"],
    "optformer.serving.integrations.optuna_sampler": ["OptFormerSampler"],
    "optformer.serving.integrations.ray_tune": ["OptFormerSearcher"],
    "optformer.serving.integrations.sklearn_search": ["OptFormerSearchCV"],
    "optformer.serving.study.front_plots": ["plot_front"],
    "optformer.serving.study.parameter_plots": ["plot_contour", "plot_parallel_coordinates"],
    "optformer.serving.study.plots": ["plot_comparison", "plot_history", "plot_response"],
    "optformer.serving.study.pruning": ["TrialPruned"],
    "optformer.serving.study.storage": ["delete_study", "list_studies"],
    "optformer.serving.study.study": ["Study", "create_study", "load_study", "suggest_many"],
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
