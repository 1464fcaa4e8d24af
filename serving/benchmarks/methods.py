"""The search methods of a benchmark: all that are registered, the pretrained model among them."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from optformer._version import __version__
from optformer.data.methods import METHODS, SearchMethod
from optformer.data.studies.errors import CheckpointError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.planning.search_method import MODEL_METHODS  # registers the model

__all__ = ["METHODS", "check_available", "create_method", "method_version", "sequential_twin"]


def create_method(
    name: str, config: StudyConfig, seed: int, *, model: Path | None = None
) -> SearchMethod:
    """Make a method for a study.

    Args:
        name: One of `METHODS.names()`.
        config: The study.
        seed: Seed of the model's suggestions, as a study has one; other methods ignore it.
        model: Checkpoint of OptFormer; None is the shipped one. Other methods ignore it.

    Raises:
        ConfigError: The name is unknown.
        MissingExtraError: The method needs a package that is not installed.
        CheckpointError: The model is missing or unreadable.
    """
    if name in MODEL_METHODS:
        return MODEL_METHODS[name](config, model, seed=seed)
    return METHODS[name](config)


def check_available(name: str, *, model: Path | None = None) -> None:
    """Refuse a method that cannot run here; raises as `create_method` does."""
    config = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), metric="value", goal="maximize")
    create_method(name, config, 0, model=model)


def method_version(name: str, *, model: Path | None = None) -> str:
    """What produced a result: the package's version, and the checkpoint's first digits.

    Raises:
        ConfigError: The name is unknown.
        CheckpointError: The checkpoint holds no weights.
    """
    needs = METHODS.needs(name)
    if needs:  # the library it comes from is the first
        return f"{needs[0]} {version(needs[0])}"
    if name not in MODEL_METHODS:
        return f"optformer {__version__}"
    from optformer.model.checkpoint import SHIPPED

    return f"optformer {__version__} {_digest(model or SHIPPED)}"


def sequential_twin(name: str) -> str:
    """The method that suggests the same as this one where no trial is ever pending."""

    def strategy(variant: str) -> str:
        return str(MODEL_METHODS[variant].keywords.get("strategy", "ei"))

    if name not in MODEL_METHODS:
        return name
    return next(twin for twin in MODEL_METHODS if strategy(twin) == strategy(name))


@lru_cache(maxsize=4)
def _digest(model: Path) -> str:
    """First digits of the hash of a checkpoint's weights."""
    import hashlib

    files = sorted(model.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"no *.safetensors in {model}; give the folder of a checkpoint")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
