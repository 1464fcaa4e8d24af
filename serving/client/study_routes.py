"""The routes of one study, and what of it has not reached the server."""

from __future__ import annotations

import re
import sys
import threading
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optformer.data.studies.errors import OptFormerError, OptFormerWarning, StorageError
from optformer.serving.client.connection import Connection, NoStudyError, ServerAwayError
from optformer.serving.client.unsent import Observation, Unsent

_PACKAGE = "optformer."


class StudyRoutes:
    """Makes requests about one study.

    Args:
        connection: The way to the server.
        name: The study's name.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection, self.name = connection, name
        self._path = study_path(name)
        self._longer = re.compile(rf"study '[^'/]+/{re.escape(name)}'")

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        params: Mapping[str, Any] | None = None,
        patience: float | None = None,
    ) -> Any:
        """Make a request below the study; see `Connection.call`."""
        try:
            return self.connection.call(
                method, f"{self._path}{path}", body, key=key, params=params, patience=patience
            )
        except NoStudyError:
            raise NoStudyError(
                f"there is no study {self.name!r} on {self.connection.url}"
            ) from None
        except OptFormerError as error:  # the server knows it as OWNER/NAME
            error.args = (self._longer.sub(f"study {self.name!r}", str(error)),)
            raise


class Outbox:
    """Sends the observations of a study, and keeps them while the server is away.

    Args:
        routes: The routes of the study.
        folder: Where the observations of all servers are kept.
    """

    def __init__(self, routes: StudyRoutes, folder: Path) -> None:
        self.folder, self._routes = folder, routes
        self._unsent = Unsent(folder, routes.connection.url, routes.name)
        self._sending: set[Path] = set()  # of this process; others repeat them at worst
        self._flushing = threading.Lock()

    def send(self, path: str, body: Mapping[str, Any], about: str) -> Any:
        """Send an observation; None when it is kept for later, with a warning.

        Args:
            path: The route below the study.
            body: What is sent there.
            about: What it is an observation of.

        Raises:
            StorageError: The server is away, and the observation cannot be kept either.
            OptFormerError: What the server raises.
        """
        self.flush()
        observation = Observation(self._routes.name, path, body, key=new_key())
        try:
            file = self._unsent.keep(observation)
        except OSError as error:
            return self._send_unkept(observation, error)
        self._sending.add(file)
        try:
            answer = self._routes.call("POST", path, body, key=observation.key)
        except ServerAwayError as error:
            _warn(
                f"the observation of {about} of study {self._routes.name!r} could not be sent: "
                f"{error}; it is kept in {file} and sent with the next call"
            )
            return None
        except OptFormerError:  # whoever observes is told
            self._unsent.drop(file)
            raise
        finally:
            self._sending.discard(file)
        self._unsent.drop(file)
        return answer

    def _send_unkept(self, observation: Observation, fault: OSError) -> Any:
        try:
            return self._routes.call(
                "POST", observation.path, observation.body, key=observation.key
            )
        except ServerAwayError as error:
            raise StorageError(
                f"{error}; the observation cannot be kept in {self._unsent.folder} either: {fault}"
            ) from error

    def flush(self) -> int:
        """Send the observations that wait; the number of those that were sent.

        One that the server refuses is set aside, with a warning. While the server is away the
        others are left for later.
        """
        files = [file for file in self._unsent.waiting() if file not in self._sending]
        if not files or not self._flushing.acquire(blocking=False):
            return 0
        try:
            return self._send_again(files)
        finally:
            self._flushing.release()

    def _send_again(self, files: list[Path]) -> int:
        sent = 0
        for file in files:
            try:
                kept = self._unsent.read(file)
                if kept is None:
                    continue
                self._routes.call("POST", kept.path, kept.body, key=kept.key, patience=0.0)
            except ServerAwayError:
                break
            except (OptFormerError, ValueError) as error:
                aside = self._unsent.set_aside(file)
                _warn(
                    f"a kept observation of study {self._routes.name!r} is refused: {error}; "
                    f"it is in {aside}"
                )
                continue
            self._unsent.drop(file)
            sent += 1
        return sent


def study_path(name: str) -> str:
    """The route of a study."""
    return f"/v1/studies/{quote(name, safe='')}"


def new_key() -> str:
    """A name for a request, which no other one has."""
    return uuid.uuid4().hex


def _warn(message: str) -> None:
    """Warn whoever has called this package, from however deep in it."""
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(_PACKAGE):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, OptFormerWarning, stacklevel=depth)
