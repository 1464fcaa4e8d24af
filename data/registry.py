"""Things by name: one way to register, find and describe them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.extras import missing_extra

Thing = TypeVar("Thing")


class _Entry(NamedTuple, Generic[Thing]):
    thing: Thing | str
    line: str
    needs: Sequence[str]


class Registry(Generic[Thing]):
    """Things of one kind by name.

    Args:
        kind: What a thing is, for messages: `search method`.
        renamed: Names of earlier versions to those of today; things are found by both.
    """

    def __init__(self, kind: str, renamed: Mapping[str, str] = MappingProxyType({})) -> None:
        self._kind = kind
        self._renamed = renamed
        self._entries: dict[str, _Entry[Thing]] = {}

    def register(
        self, name: str, thing: Thing | str, line: str = "", needs: Sequence[str] = ()
    ) -> None:
        """Make a thing known.

        Args:
            name: Lower-case words joined by hyphens.
            thing: The thing, or `package.module:name` of one that is imported when it is used.
            line: What it is; by default the first line of its documentation.
            needs: Packages of the extra `benchmark` without which it cannot be used.

        Raises:
            ConfigError: The name is taken.
        """
        if name in self._entries or name in self._renamed:
            raise ConfigError(f"{self._kind} {name!r} is registered already; pick another name")
        self._entries[name] = _Entry(thing, line, needs)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._entries)

    def __contains__(self, name: str) -> bool:
        return self._renamed.get(name, name) in self._entries

    def __getitem__(self, name: str) -> Thing:
        """The thing of that name.

        Raises:
            ConfigError: There is none; the message lists the known names.
            MissingExtraError: It needs a package that is not installed.
        """
        thing = self._installed(name).thing
        if not isinstance(thing, str):
            return thing
        module, _, attribute = thing.partition(":")
        imported: Thing = getattr(import_module(module), attribute)
        return imported

    def describe(self, name: str) -> str:
        """What a thing is, in a line; raises as `registry[name]` does."""
        line = self._installed(name).line
        return line or (self[name].__doc__ or "").partition("\n")[0]

    def needs(self, name: str) -> Sequence[str]:
        """The packages a thing was registered to need.

        Raises:
            ConfigError: There is no such thing; the message lists the known names.
        """
        return self._entries[self.current(name)].needs

    def current(self, name: str) -> str:
        """Today's name of a thing.

        Raises:
            ConfigError: There is no such thing; the message lists the known names.
        """
        if name not in self:
            raise ConfigError(f"unknown {self._kind} {name!r}; known are {self.names()}")
        return self._renamed.get(name, name)

    def check(self, names: Sequence[str]) -> None:
        """Refuse a choice of names that makes no sense.

        Raises:
            ConfigError: A name is unknown or given twice, or there is none.
        """
        if not names:
            raise ConfigError(f"name at least one {self._kind} of {self.names()}, got none")
        for name, count in Counter(map(self.current, names)).items():
            if count > 1:
                raise ConfigError(f"{self._kind} {name!r} is given twice")

    def _installed(self, name: str) -> _Entry[Thing]:
        entry = self._entries[self.current(name)]
        for package in entry.needs:
            if find_spec(package) is None:
                raise missing_extra(f"{self._kind} {name!r}", package)
        return entry
