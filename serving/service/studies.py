"""The studies of one storage, open while the server runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from optformer.data.studies.errors import StorageError, StudyError
from optformer.serving.service.problems import Problem
from optformer.serving.service.served_study import ServedStudy
from optformer.serving.study.storage import (
    StorageLike,
    create_store,
    delete_study,
    list_studies,
    open_store,
)
from optformer.serving.study.suggesting import StudyPlanner
from optformer.serving.study.trial_store import StudyRecord

MakePlanner = Callable[[StudyRecord], StudyPlanner]
"""Makes the planner of a study."""

_OPEN = 256  # studies that are kept open


class Studies:
    """Opens, creates and deletes the studies of a storage.

    Args:
        storage: Where they are kept.
        make_planner: Who suggests in a study; the record's model when absent.
    """

    def __init__(self, storage: StorageLike, make_planner: MakePlanner | None = None) -> None:
        from optformer.serving.study.optuna_access import open_storage

        self._storage = open_storage(storage)
        self._make_planner = make_planner
        self._open: OrderedDict[str, ServedStudy] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Names of all studies, sorted."""
        return list_studies(self._storage)

    def create(self, name: str, record: StudyRecord) -> ServedStudy:
        """Create a study.

        Raises:
            Problem: There is one of this name.
        """
        try:
            store = create_store(self._storage, name, record)
        except StudyError as error:
            raise Problem(409, "StudyError", field="name", expected=str(error), got=name) from error
        return self._keep(
            name, ServedStudy(record, store, name=name, planner=self._planner(record))
        )

    def get(self, name: str) -> ServedStudy:
        """Open a study, or find it open.

        Raises:
            Problem: There is none of this name.
        """
        with self._lock:
            if name in self._open:
                self._open.move_to_end(name)
                return self._open[name]
        if name not in self.names():
            raise no_study(name)
        store, _, record = open_store(self._storage, name)
        return self._keep(
            name, ServedStudy(record, store, name=name, planner=self._planner(record))
        )

    def delete(self, name: str) -> None:
        """Delete a study and all its trials.

        Raises:
            Problem: There is none of this name.
        """
        self.forget(name)
        if name not in self.names():
            raise no_study(name)
        delete_study(name, self._storage)

    def forget(self, name: str) -> None:
        """Close a study, which may have been deleted elsewhere."""
        with self._lock:
            self._open.pop(name, None)

    def check(self) -> None:
        """Raise `StorageError` when the storage does not answer."""
        try:
            self.names()
        except StudyError as error:
            raise StorageError(str(error)) from error

    def _planner(self, record: StudyRecord) -> StudyPlanner | None:
        return None if self._make_planner is None else self._make_planner(record)

    def _keep(self, name: str, study: ServedStudy) -> ServedStudy:
        with self._lock:
            study = self._open.setdefault(name, study)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return study


def no_study(name: str) -> Problem:
    """The answer about a study that is not there, or is somebody else's."""
    return Problem(404, "StudyError", field="name", expected="the name of a study", got=name)
