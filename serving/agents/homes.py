"""Where an agent's studies are kept: in a storage, or on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from optformer.data.runtime.text import hide_passwords
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.spaces import SearchSpace
from optformer.serving.client.client import connect
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


class ServerHome:
    """Studies on a server, whose own model suggests.

    The token is that of the environment variable OPTFORMER_TOKEN.

    Args:
        url: The server's address.
    """

    def __init__(self, url: str) -> None:
        self._client = connect(url)
        self.names()

    @property
    def place(self) -> str:
        """The server's address."""
        return self._client.url

    def names(self) -> list[str]:
        """Names of all studies that the token may see, sorted."""
        return self._client.list_studies()

    def create(self, space: SearchSpace, **settings: Any) -> Study:
        """A new study."""
        return self._client.create_study(space, **settings)

    def load(self, name: str) -> Study:
        """The study of a name."""
        return self._client.load_study(name)


def home_at(storage: str, model: str | None = None) -> StudyHome:
    """The home of an address.

    Args:
        storage: That of a storage, as in `create_study`, or of a server, `http://host:8000`.
        model: Directory of a checkpoint, for studies in a storage.

    Raises:
        ConfigError: A model is given for a server.
        StorageError: There is nothing at the address.
    """
    if not storage.startswith(("http://", "https://")):
        return StorageHome(storage, model)
    if model is not None:
        raise ConfigError(f"the server {storage} suggests with its own model; leave out --model")
    return ServerHome(storage)
