"""A server of studies, as this process sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from optformer.data.studies.errors import StudyError
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, MetricRange, Weighted
from optformer.serving.client.connection import Connection, NoStudyError, Token
from optformer.serving.client.remote_study import RemoteStudy, described_study, open_study
from optformer.serving.client.study_routes import Outbox, StudyRoutes, new_key, study_path
from optformer.serving.client.unsent import default_folder, studies_waiting
from optformer.serving.study.study import new_config, new_record

TOKEN_VARIABLE = "OPTFORMER_TOKEN"
"""Environment variable with the token of whoever gives none."""

_TIMEOUT = 330.0  # of an answer: a turn to suggest may take 300


class Client:
    """The studies of a server, made by `connect`. It may be used by threads, pickled and forked.

    Args:
        connection: The way to the server.
        unsent: Folder of observations that have not reached their servers.
    """

    def __init__(self, connection: Connection, unsent: Path) -> None:
        self._connection, self._unsent = connection, unsent

    def __repr__(self) -> str:
        return f"Client({self._connection.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The server's address."""
        return self._connection.url

    def create_study(
        self,
        space: SearchSpace,
        *,
        metric: str | Weighted | None = None,
        goal: Goal | None = None,
        metrics: Mapping[str, Goal] | None = None,
        limits: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        fixed: Mapping[str, Value] | None = None,
        metric_range: MetricRange | Mapping[str, MetricRange] | None = None,
        name: str | None = None,
        strategy: str = "ei",
        pruner: str | None = None,
        seed: int | None = None,
    ) -> RemoteStudy:
        """Start a study on the server; arguments as `optformer.create_study` takes them.

        Raises:
            StudyError: A setting is not understood, or there is a study of this name.
            MetricError: The metric has no name, or two goals, or a limit is none.
            SearchSpaceError: A fixed value is not legal.
            TokenizationError: The space has more parameters or choices than the model can read.
            StorageError: The server is away, or does not take the token.
        """
        if pruner is not None and not isinstance(pruner, str):
            raise StudyError(
                f"the pruner of a study on a server is given by its name, got {pruner!r}"
            )
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise StudyError(f"name must be text, got {name!r}")
        config = new_config(
            space,
            metric=metric,
            goal=goal,
            metrics=metrics,
            limits=limits,
            metadata=metadata,
            fixed=fixed,
            metric_range=metric_range,
        )
        record = new_record(config, seed=seed, strategy=strategy, pruner=pruner)
        body = {
            "name": name,
            "config": config.to_dict(),
            "seed": record.seed,
            "strategy": strategy,
            "pruner": pruner,
        }
        try:
            answer = self._connection.call("POST", "/v1/studies", body, key=new_key())
        except StudyError as error:
            if name is None or name not in self.list_studies():
                raise
            raise StudyError(
                f"study {name!r} is already on this server; open it with load_study, or choose "
                "another name"
            ) from error
        return described_study(answer, self._connection, self._unsent)

    def load_study(self, name: str | None = None) -> RemoteStudy:
        """Open a study of the server, where it was left.

        Args:
            name: Its name; may be left out when there is one study.

        Raises:
            StudyError: There is no such study.
            StorageError: The server is away, or does not take the token.
        """
        if name is None:
            names = self.list_studies()
            if len(names) != 1:
                raise StudyError(f"load_study needs name=; this server has {names}")
            (name,) = names
        try:
            return open_study(self._connection, name, self._unsent)
        except NoStudyError:
            raise self._unknown(name) from None

    def list_studies(self) -> list[str]:
        """Names of the studies that this client may see, sorted.

        Raises:
            StorageError: The server is away, or does not take the token.
        """
        names: list[str] = self._connection.call("GET", "/v1/studies")["names"]
        return names

    def delete_study(self, name: str) -> None:
        """Delete a study and all its trials, for good.

        Raises:
            StudyError: There is no such study.
            StorageError: The server is away, or does not take the token.
        """
        if name not in self.list_studies():
            raise self._unknown(name)
        try:
            self._connection.call("DELETE", study_path(name))
        except NoStudyError:  # a request before this one has done it
            return

    def flush(self) -> int:
        """Send the observations that are kept because the server was away, of all its studies.

        One that the server refuses is kept aside, with a warning.

        Returns:
            How many were sent.
        """
        waiting = studies_waiting(self._unsent, self.url)
        routes = [StudyRoutes(self._connection, name) for name in waiting]
        return sum(Outbox(each, self._unsent).flush() for each in routes)

    def close(self) -> None:
        """Close the connections; another call opens them again."""
        self._connection.close()

    def _unknown(self, name: str) -> StudyError:
        return StudyError(f"there is no study {name!r}; this server has {self.list_studies()}")


def connect(
    url: str,
    *,
    token: str | None = None,
    timeout: float = _TIMEOUT,
    unsent: str | Path | None = None,
) -> Client:
    """The studies of a server that `optformer serve` has started.

    Args:
        url: Where it is, such as `http://host:8000`.
        token: Who asks; the environment variable OPTFORMER_TOKEN when absent. A server without
            tokens needs none.
        timeout: Seconds to wait for an answer. A request is repeated for thirty seconds while the
            server cannot be reached.
        unsent: Folder for observations that could not be sent, until they are;
            `~/.local/state/optformer/unsent` when absent.

    Raises:
        ConfigError: The address or token cannot be one.
        MissingExtraError: httpx is not installed.
    """
    secret = os.environ.get(TOKEN_VARIABLE) if token is None else token
    shown = Token(secret) if secret else None
    folder = default_folder() if unsent is None else Path(unsent).expanduser()
    return Client(Connection(url, shown, timeout=timeout), folder.absolute())
