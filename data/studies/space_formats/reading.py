"""Tell whose space something is by its content, and read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.inferred_conditions import infer_conditions
from optformer.data.studies.optuna_distributions import (
    from_distributions,
    union_of_distributions,
)
from optformer.data.studies.space_formats import (
    alternatives,
    configspace,
    hydra,
    nni,
    optuna_json,
    python_objects,
    ray_tune,
    wandb,
)
from optformer.data.studies.space_formats.translated import TranslatedSpace
from optformer.data.studies.spaces import SearchSpace

OWN = "OptFormer"
"""The tool of spaces in our own words."""

_Matches = Callable[[Mapping[Any, Any]], bool]
_Read = Callable[[Mapping[str, Any]], TranslatedSpace]

# No content is of two of these: each has a word of its own. Python objects hold anything else.
_READERS: tuple[tuple[_Matches, _Read], ...] = (
    (configspace.matches, configspace.read),
    (wandb.matches, wandb.read),
    (nni.matches, nni.read),
    (hydra.matches, hydra.read),
    (optuna_json.matches, optuna_json.read),
    (ray_tune.matches, ray_tune.read),
    (python_objects.matches, python_objects.read),
)


def read_space(described: Any) -> TranslatedSpace:
    """Read the space of any tool.

    Args:
        described: The content of a file; a mapping of names to parameters or distributions of
            Optuna, SciPy or Ray, or lists; a list of such mappings, of which one holds; a space of
            ConfigSpace; a study of Optuna, whose space is the union of its trials' distributions
            with the conditions that they follow; a `SearchSpace`.

    Raises:
        SearchSpaceError: It cannot be read; the message has the path of what cannot.
    """
    if isinstance(described, SearchSpace):
        return TranslatedSpace(OWN, described)
    home = type(described).__module__.partition(".")[0]
    if home == "optuna" and hasattr(described, "get_trials"):
        return _of_study(described)
    if home == "ConfigSpace" and hasattr(described, "to_serialized_dict"):
        described = described.to_serialized_dict()
    if isinstance(described, Mapping):
        for matches, read in _READERS:
            if matches(described):
                return read(described)
    if isinstance(described, list) and described and isinstance(described[0], Mapping):
        return alternatives.read(described)
    return TranslatedSpace(OWN, SearchSpace.from_dict(described))


def _of_study(study: Any) -> TranslatedSpace:
    """The space of a study of Optuna, with the conditions that its trials follow."""
    trials = study.get_trials(deepcopy=False)
    union = union_of_distributions(trial.distributions for trial in trials)
    if not union:
        raise SearchSpaceError("a study of Optuna has a space once it has trials")
    complete = [trial.params for trial in trials if trial.state.name == "COMPLETE"]
    others = [trial.params for trial in trials if trial.state.name != "COMPLETE"]
    space = infer_conditions(from_distributions(union), complete, others)
    notes = [
        f"{name}: active where {dict(parameter.when)}, as in all trials so far"
        for name, parameter in space.items()
        if parameter.when
    ]
    return TranslatedSpace(optuna_json.TOOL, space, notes=tuple(notes))
