"""Where studies are kept: in a storage, or by a server, which is told by its http address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from optformer.data.runtime.text import hide_passwords
from optformer.data.studies.errors import ConfigError

if TYPE_CHECKING:
    from optformer.data.studies.spaces import SearchSpace
    from optformer.serving.study.study import Study


class Place(Protocol):
    """A place of studies."""

    @property
    def address(self) -> str:
        """Where it is, without passwords."""

    def names(self, *, must_exist: bool = True) -> list[str]:
        """Names of its studies, sorted; raises as `list_studies`."""

    def create(self, space: SearchSpace, **settings: Any) -> Study:
        """Start a study; settings and errors as `create_study`."""

    def load(self, name: str | None, **others: Any) -> Study:
        """Open a study; others, None where not given, and errors as `load_study`."""


class StoragePlace:
    """A storage.

    Args:
        address: As `create_study` takes it.
    """

    def __init__(self, address: str) -> None:
        self._storage = address
        self.address = hide_passwords(address)

    def names(self, *, must_exist: bool = True) -> list[str]:
        """Names of its studies; see `Place`."""
        from optformer.serving.study.stored import study_names

        return study_names(self._storage, must_exist=must_exist)

    def create(self, space: SearchSpace, **settings: Any) -> Study:
        """Start a study; see `Place`."""
        from optformer.serving.study.study import create_study

        return create_study(space, storage=self._storage, **settings)

    def load(self, name: str | None, **others: Any) -> Study:
        """Open a study; see `Place`."""
        from optformer.serving.study.study import load_study

        return load_study(storage=self._storage, name=name, **others)


class ServerPlace:
    """A server, which knows who asks by the token in OPTFORMER_TOKEN.

    Args:
        address: Its http address.
    """

    def __init__(self, address: str) -> None:
        from optformer.serving.client.client import connect

        self._client = connect(address)
        self.address = self._client.url

    def names(self, *, must_exist: bool = True) -> list[str]:
        """Names of its studies; see `Place`."""
        return self._client.list_studies()

    def create(self, space: SearchSpace, **settings: Any) -> Study:
        """Start a study; see `Place`."""
        return self._client.create_study(space, **_without(settings, "model"))

    def load(self, name: str | None, **others: Any) -> Study:
        """Open a study; see `Place`."""
        _without(others, *others)
        return self._client.load_study(name)


def place_of(address: str | os.PathLike[str]) -> Place:
    """The place at an address."""
    address = os.fspath(address)
    return ServerPlace(address) if is_server(address) else StoragePlace(address)


def is_server(address: str) -> bool:
    """Whether an address is that of a server."""
    return address.startswith(("http://", "https://"))


def _without(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    given = [name for name in names if settings.get(name) is not None]
    if given:
        raise ConfigError(
            f"a server decides about {' and '.join(given)} itself; leave out "
            f"{', '.join(f'--{name}' for name in given)}"
        )
    return {name: value for name, value in settings.items() if name not in names}
