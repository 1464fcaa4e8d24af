"""The studies of one storage, open while the server runs."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress

from optuna.trial import TrialState

from optformer.data.studies.errors import StudyError
from optformer.serving.service.client_store import (
    Asked,
    ClientStore,
    Lease,
    key_of_another,
    read_lease,
)
from optformer.serving.service.leases import Leases
from optformer.serving.service.problems import Problem
from optformer.serving.service.served_study import ServedStudy
from optformer.serving.study import optuna_store
from optformer.serving.study.optuna_access import (
    has_study,
    open_storage,
    retry_while_locked,
    study_names,
)
from optformer.serving.study.storage import StorageLike
from optformer.serving.study.suggesting import StudyPlanner
from optformer.serving.study.trial_store import StudyRecord

MakePlanner = Callable[[StudyRecord], StudyPlanner]
"""Makes the planner of a study."""

_OPEN = 256  # studies that are kept open
_REQUEST = "request"  # beside a study's record: the request that has created it


class Studies:
    """Opens, creates and deletes the studies of a storage, each for its owner.

    The study of an owner is `OWNER/NAME` in the storage. Without an owner all studies are there, by
    the names that they have in the storage.

    Args:
        storage: Where they are kept.
        make_planner: Who suggests in a study; the record's model when absent.
        most: Studies that an owner may have.
    """

    def __init__(
        self, storage: StorageLike, make_planner: MakePlanner | None = None, *, most: int = 1000
    ) -> None:
        self._storage = open_storage(storage)
        self._make_planner = make_planner
        self._most = most
        self._open: OrderedDict[str, ServedStudy] = OrderedDict()
        self._lock = threading.Lock()
        self._leases = Leases()

    def names(self, owner: str | None) -> list[str]:
        """Names of an owner's studies, sorted."""
        begin = _stored_name(owner, "")
        return [name.removeprefix(begin) for name in self._names() if name.startswith(begin)]

    def create(
        self, owner: str | None, name: str, record: StudyRecord, asked: Asked
    ) -> ServedStudy:
        """Create a study, or find it when the request is repeated.

        Raises:
            Problem: There is one of this name, or the owner has too many.
        """
        stored = _stored_name(owner, name)
        taken = self.names(owner)
        if name in taken:
            return self._created_before(owner, name, asked)
        if len(taken) >= self._most:
            raise Problem(
                422,
                "StudyError",
                field="name",
                expected=f"at most {self._most} studies of one owner; delete one first",
                got=f"{len(taken)} studies",
            )
        try:
            store = optuna_store.create(
                self._storage, stored, record, kind=ClientStore, note=_note(asked)
            )
        except StudyError as error:
            if name in self.names(owner):  # another process was quicker
                return self._created_before(owner, name, asked)
            raise _taken(name, str(error)) from error
        return self._keep(stored, self._study(stored, store, record))

    def _created_before(self, owner: str | None, name: str, asked: Asked) -> ServedStudy:
        study = self.get(owner, name)
        note = study.store.described.get(_REQUEST)
        if asked.key is None or not isinstance(note, dict) or note.get("key") != asked.key:
            raise _taken(name, "a name that no other study has")
        if note != _note(asked)[_REQUEST]:
            raise key_of_another(asked.key)
        return study

    def get(self, owner: str | None, name: str) -> ServedStudy:
        """Open a study, or find it open.

        Raises:
            Problem: The owner has none of this name.
        """
        stored = _stored_name(owner, name)
        with self._lock:
            study = self._open.get(stored)
            if study is not None:
                self._open.move_to_end(stored)
        if study is not None:
            # Another process may have deleted it, and another study may have its place.
            if study.store.exists(f"read study {name!r}"):
                return study
            self._forget(stored)
        if not has_study(self._storage, stored):
            raise no_study(name)
        return self._keep(stored, self._load(stored))

    def delete(self, owner: str | None, name: str) -> None:
        """Delete a study and all its trials.

        Raises:
            Problem: The owner has none of this name.
        """
        stored = _stored_name(owner, name)
        self._forget(stored)
        if not has_study(self._storage, stored):
            raise no_study(name)
        try:
            optuna_store.delete(self._storage, stored)
        except StudyError:  # somebody else has deleted it; the error lists other people's studies
            raise no_study(name) from None

    def check(self) -> None:
        """Raise `StorageError` when the storage does not answer."""
        with suppress(KeyError):
            retry_while_locked(
                "reach the storage", lambda: self._storage.get_study_id_from_name("")
            )

    def expire_leases(self) -> tuple[int, int]:
        """Give up the pending trials whose leases have ended.

        Returns:
            How many trials have a lease now, and how many were given up.

        Raises:
            StorageError: The storage cannot be read or written.
        """
        leases = {
            lease: name for name, study_id in self._ids() for lease in self._leases_of(study_id)
        }
        ended = self._leases.ended(leases)
        expired = 0
        for name in {leases[lease] for lease in ended.values()}:
            with suppress(Problem):  # deleted meanwhile
                expired += len(self.get(None, name).store.expire(ended))
        return len(leases) - expired, expired

    def _ids(self) -> list[tuple[str, int]]:
        found = retry_while_locked("list studies", self._storage.get_all_studies)
        return [(study.study_name, study._study_id) for study in found]

    def _leases_of(self, study_id: int) -> Iterator[Lease]:
        with suppress(KeyError):  # deleted meanwhile
            running = retry_while_locked(
                "read pending trials",
                lambda: self._storage.get_all_trials(
                    study_id, deepcopy=False, states=(TrialState.RUNNING,)
                ),
            )
            yield from filter(None, map(read_lease, running))

    def _names(self) -> list[str]:
        return study_names(self._storage)

    def _load(self, stored: str) -> ServedStudy:
        try:
            store, _, record = optuna_store.load(self._storage, stored, kind=ClientStore)
        except StudyError:
            if has_study(self._storage, stored):
                raise
            raise no_study(stored) from None  # deleted meanwhile
        return self._study(stored, store, record)

    def _study(self, stored: str, store: ClientStore, record: StudyRecord) -> ServedStudy:
        planner = None if self._make_planner is None else self._make_planner(record)
        return ServedStudy(record, store, name=stored, planner=planner)

    def _keep(self, stored: str, study: ServedStudy) -> ServedStudy:
        with self._lock:
            study = self._open.setdefault(stored, study)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return study

    def _forget(self, stored: str) -> None:
        with self._lock:
            self._open.pop(stored, None)


def drawn_name(asked: Asked) -> str:
    """A name for a study without one; the same when the request is repeated."""
    drawn = uuid.uuid4().bytes if asked.key is None else asked.key.encode()
    return f"study-{hashlib.sha256(drawn).hexdigest()[:8]}"


def no_study(name: str) -> Problem:
    """The answer about a study that is not there, or is somebody else's."""
    return Problem(404, "StudyError", field="name", expected="the name of a study", got=name)


def _taken(name: str, expected: str) -> Problem:
    return Problem(409, "StudyError", field="name", expected=expected, got=name)


def _stored_name(owner: str | None, name: str) -> str:
    return name if owner is None else f"{owner}/{name}"


def _note(asked: Asked) -> dict[str, dict[str, str]]:
    return {} if asked.key is None else {_REQUEST: {"key": asked.key, "digest": asked.digest}}
