"""Where an agent's studies are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from optformer.data.runtime.text import hide_passwords
from optformer.data.studies.spaces import SearchSpace
from optformer.serving.study.stored import study_names
from optformer.serving.study.study import Study, create_study, load_study


class StudyHome(Protocol):
    """Makes, finds and opens studies."""

    @property
    def place(self) -> str:
        """Where it is, without passwords."""

    def names(self) -> list[str]:
        """Names of all studies, sorted."""

    def create(self, space: SearchSpace, **settings: Any) -> Study:
        """A new study; the settings are those of `create_study`."""

    def load(self, name: str) -> Study:
        """The study of a name."""


class StorageHome:
    """Studies in a storage.

    Args:
        storage: Its address, as in `create_study`.
        model: Directory of a checkpoint; the shipped one when absent.
    """

    def __init__(self, storage: str, model: str | Path | None = None) -> None:
        self._storage, self._model = storage, model
        self.names()  # an address that is wrong is told at the start

    @property
    def place(self) -> str:
        """The address, without its password."""
        return hide_passwords(self._storage)

    def names(self) -> list[str]:
        """Names of all studies, sorted; none before there is a storage."""
        return study_names(self._storage, must_exist=False)

    def create(self, space: SearchSpace, **settings: Any) -> Study:
        """A new study."""
        return create_study(space, storage=self._storage, model=self._model, **settings)

    def load(self, name: str) -> Study:
        """The study of a name."""
        return load_study(storage=self._storage, name=name, model=self._model)
