"""A study on a server: the methods of a local one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optformer.data.studies.errors import StudyError, TrialError
from optformer.data.studies.parameters import Value, is_whole
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.serving.client.connection import Connection
from optformer.serving.client.remote_store import RemoteStore
from optformer.serving.client.study_routes import Outbox, StudyRoutes, study_path
from optformer.serving.service.wire import number_to_wire
from optformer.serving.study.reporting import Reporter
from optformer.serving.study.study import Study
from optformer.serving.study.suggesting import Suggester
from optformer.serving.study.trial_store import StudyRecord

if TYPE_CHECKING:
    from optformer.planning.prediction import Prediction
    from optformer.serving.study.planning_ahead import PlanRequest
    from optformer.serving.study.suggesting import StudyPlanner


class RemoteStudy(Study):
    """One search, kept by a server that suggests; see `Study` for its methods.

    Such studies are made by `Client.create_study` and `Client.load_study`. They may be pickled and
    forked. The server's own model suggests.

    Args:
        record: What is known about the study besides its trials.
        store: The way to its trials.
        name: The study's name.
    """

    def __init__(self, record: StudyRecord, store: RemoteStore, *, name: str) -> None:
        super().__init__(record, store, name=name)
        self._remote = store
        self._suggester: Suggester = _RemoteSuggester(record, store, name)
        self._reporter: Reporter = _RemoteReporter(
            record.config, store, name, record.pruner, self._lock, self._remote
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return open_study, (self._remote.connection, self.name, self._remote.outbox.folder)

    def suggest_within(self, budget: int) -> Trial | None:
        """See `Study.suggest_within`; the server counts."""
        trial = self._remote.suggest_within(budget)
        return None if trial is None else self._given([trial])[0]

    def flush(self) -> int:
        """Send the observations of this study that are kept; see `Client.flush`."""
        return self._remote.flush()

    @contextmanager
    def _suggesting(self) -> Iterator[None]:
        """The server takes turns, and gives up the trials of those who are gone."""
        yield

    def _suggest(self, count: int, held: Mapping[str, Value]) -> list[Trial]:
        return self._given(self._remote.suggest(count, held))

    def _given(self, trials: Sequence[Trial]) -> list[Trial]:
        with self._lock:
            for trial in trials:
                self._pending[trial.number] = trial
                self._explanations[trial.number] = trial.explanation
            return [self._bound(trial) for trial in trials]

    def _bound(self, trial: Trial) -> Trial:
        known = self._explanations.get(trial.number) or trial.explanation
        return replace(super()._bound(trial), explanation=known)


class _RemoteSuggester(Suggester):
    """Checks values here and asks the server for the rest."""

    def __init__(self, record: StudyRecord, store: RemoteStore, name: str) -> None:
        super().__init__(record, store, name, None)
        self._remote = store

    def planner(self) -> StudyPlanner:
        """None here: it is the server's."""
        raise StudyError(f"study {self._name!r} is planned by its server")

    def request(self) -> PlanRequest | None:
        """None: the server plans."""
        return None

    def preview(self) -> Trial:
        """What the server would suggest now."""
        return self._remote.preview()

    def predict(self, points: Sequence[Mapping[str, Value]]) -> list[Prediction]:
        """What the server's model expects of points."""
        return self._remote.predict(points)


class _RemoteReporter(Reporter):
    """The way of trials to their study on a server, from other processes too."""

    def __init__(self, *args: Any) -> None:
        *local, self._remote = args
        super().__init__(*local)

    def __reduce__(self) -> tuple[Any, ...]:
        remote: RemoteStore = self._remote
        return _reporter, (remote.connection, self._name, remote.outbox.folder)

    def keep(self, trial: Trial, value: float | Mapping[str, float], step: int) -> str | None:
        """Store what was measured at a step; returns what to warn of."""
        if not is_whole(step) or step < 0:
            raise TrialError(f"step must be a whole number of at least 0, got {step!r}")
        measured, metrics = self._config.measure(value)
        wired: Any = number_to_wire(measured)
        if metrics:
            wired = {name: number_to_wire(number) for name, number in metrics.items()}
        warned = self._remote.tell(trial, int(step), wired)
        self._told.discard(trial.number)
        return warned[0] if warned else None


def open_study(connection: Connection, name: str, unsent: Path) -> RemoteStudy:
    """A study of a server.

    Args:
        connection: The way to the server.
        name: The study's name.
        unsent: Folder of observations that have not reached their servers.

    Raises:
        StudyError: There is none of this name.
        StorageError: The server is away.
    """
    return described_study(connection.call("GET", study_path(name)), connection, unsent)


def described_study(
    described: Mapping[str, Any], connection: Connection, unsent: Path
) -> RemoteStudy:
    """The study that a server has described; other arguments as `open_study`."""
    name = described["name"]
    record = StudyRecord(
        config=StudyConfig.from_dict(described["config"]),
        seed=described["seed"],
        strategy=described["strategy"],
        pruner=described["pruner"],
    )
    routes = StudyRoutes(connection, name)
    outbox = Outbox(routes, unsent)
    store = RemoteStore(routes, outbox, record.config, described["lease"])
    return RemoteStudy(record, store, name=name)


def _reporter(connection: Connection, name: str, unsent: Path) -> Reporter:
    return open_study(connection, name, unsent)._reporter
