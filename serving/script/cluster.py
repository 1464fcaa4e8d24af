"""Scripts on a Ray cluster: each runs under a supervisor on the node that has room for it.

The folder of a trial is on the machine of the search. Where a node sees it, on one machine or in a
shared file system, the script writes there. Elsewhere the node has a folder of the same path for as
long as the script runs: what it prints is fetched while it runs, its files when it has ended.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from optformer.data.runtime.bounded_files import read_piece
from optformer.data.runtime.text import visible
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.extras import importing
from optformer.serving.script.process import ScriptProcess, start_script
from optformer.serving.script.trial_folder import STDERR, STDOUT, TrialFolder

_ATTEMPTS = 3  # to run a script whose node or worker is lost
_FETCH_SECONDS = 0.5  # between looks at what a script on another machine prints
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class _Job:
    """A script to run, as a node is told of it."""

    command: Sequence[str]
    out: Path
    number: int
    record: Mapping[str, Any]
    variables: Mapping[str, str]
    timeout: float | None
    directory: str

    @property
    def folder(self) -> TrialFolder:
        return TrialFolder(self.out, self.number)


class ScriptWorker:
    """Runs one script on a node."""

    def __init__(self) -> None:
        self._job: _Job | None = None
        self._process: ScriptProcess | None = None
        self._shared = True
        self._asked: list[str] = []  # to end, from another thread

    def run(self, job: _Job) -> tuple[str | None, bytes | None]:
        """Run a script to its end.

        Returns:
            Why it has no outcome, if it has none; and its files as an archive, where the search
            does not see them.

        Raises:
            OSError: It cannot be started.
        """
        if self._asked:
            return None, None
        folder = job.folder
        self._shared = folder.load().get("started") == job.record["started"]
        if not self._shared:
            shutil.rmtree(folder.path, ignore_errors=True)  # of an attempt that was lost
            folder.create(job.record)
        for name in (STDOUT, STDERR):
            (folder.path / name).unlink(missing_ok=True)
        # Without the search's directory, that of the worker: it may be a copy, Ray's working_dir.
        with suppress(OSError):
            os.chdir(job.directory)
        self._job = job
        self._process = start_script(
            job.command,
            folder,
            record=job.record,
            environment={**os.environ, **job.variables},
            timeout=job.timeout,
            outlives=False,
        )
        for how in tuple(self._asked):  # in the meantime
            self._pass_on(how)
        complaint = self._process.complaint  # waits for the end
        if self._shared:
            return complaint, None
        files = _packed(folder.path)
        shutil.rmtree(folder.path, ignore_errors=True)
        folder.release()
        return complaint, files

    def end(self, how: str) -> None:
        """Ask the script to end: "prune", "end" or "kill"."""
        self._asked.append(how)
        self._pass_on(how)

    def _pass_on(self, how: str) -> None:
        if self._process is None:
            return
        if how == "prune":
            self._process.prune()
        else:
            self._process.end(kill=how == "kill")

    def printed(self, places: Mapping[str, int]) -> dict[str, tuple[int, bytes]] | None:
        """What the script has printed since.

        Args:
            places: How much of each output is known, in bytes.

        Returns:
            The next piece of each output and its place; None where the search sees them itself.
        """
        if self._job is None:
            return {}
        if self._shared:
            return None
        pieces = {}
        for name, place in places.items():
            with suppress(OSError):
                piece, size = read_piece(self._job.folder.path / name, place, limit=_PIECE_BYTES)
                # A middle that was left out is read again.
                pieces[name] = (place, piece) if size >= place else (0, b"")
        return pieces


class RayCluster:
    """Starts scripts on the cluster that Ray is connected to; stands in for `start_script`.

    Args:
        resources: What a script takes, by Ray's names: CPU, GPU, and those of the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: A resource's amount is not a number of at least 0.
    """

    def __init__(self, resources: Mapping[str, str]) -> None:
        with importing("scripts on a cluster", "ray", extra="ray"):
            import ray
        amounts = {"CPU": 1.0, **{name: _amount(name, text) for name, text in resources.items()}}
        self.has_room = any(
            all(node["Resources"].get(name, 0.0) >= amount for name, amount in amounts.items())
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        )
        """Whether a node, when it has nothing else to do, has room for a script."""
        self._worker = ray.remote(ScriptWorker).options(
            num_cpus=amounts.pop("CPU"),
            num_gpus=amounts.pop("GPU", 0.0),
            resources=amounts,
            max_concurrency=3,  # it runs, is asked to end, and tells what was printed
            max_restarts=_ATTEMPTS - 1,
            max_task_retries=_ATTEMPTS - 1,
        )

    def __call__(
        self,
        command: Sequence[str],
        folder: TrialFolder,
        *,
        record: Mapping[str, Any],
        environment: Mapping[str, str],
        timeout: float | None,
    ) -> RemoteScript:
        """Have a script run as soon as there is room for it; see `start_script`."""
        job = _Job(
            command=list(command),
            out=folder.path.parent,
            number=record["trial"],
            record=dict(record),
            variables={k: v for k, v in environment.items() if os.environ.get(k) != v},
            timeout=timeout,
            directory=os.getcwd(),
        )
        return self._send(job, folder)

    def _send(self, job: _Job, folder: TrialFolder) -> RemoteScript:
        return RemoteScript(self._worker.remote(), job, folder)


class RemoteScript:
    """A script that a worker on a cluster runs.

    Args:
        worker: The worker, as Ray's actor.
        job: The script.
        folder: The trial's folder on the machine of the search.
    """

    supervisor: int | None = None  # nobody goes on with it when the search ends

    def __init__(self, worker: Any, job: _Job, folder: TrialFolder) -> None:
        self._worker = worker
        self._folder = folder
        self._result = worker.run.remote(job)
        self._asked: dict[str, Any] = {}  # how it was asked to end, and the answers to come
        self._printed: Any = None  # what was asked for and has not come yet
        self._places: dict[str, int] | None = {STDOUT: 0, STDERR: 0}
        self._fetch_at = 0.0

    @property
    def ended(self) -> bool:
        """Whether the script has ended; fetches what it has printed."""
        if not _is_there(self._result):
            self._fetch()
            return False
        return True

    @cached_property
    def complaint(self) -> str | None:
        """Why an ended script has no outcome that nobody asked it to forget."""
        import ray

        try:
            complaint, files = ray.get(self._result)
            if files is not None:
                _unpack(files, self._folder.path)
        except ray.exceptions.RayTaskError as error:
            return f"cannot start: {visible(str(error.cause))}"
        except ray.exceptions.RayError as error:
            if self._asked:
                return None
            told = visible(str(error).strip().partition("\n")[0])
            return f"its worker was lost {_ATTEMPTS} times: {told}"
        except (OSError, tarfile.TarError) as error:
            return f"its files could not be fetched: {visible(str(error))}"
        return str(complaint) if complaint is not None else None

    def end(self, *, kill: bool = False) -> None:
        """Ask the script to end, or take it off the list of those that wait for room."""
        import ray

        waits = "end" in self._asked and not _is_there(self._asked["end"])
        if kill and waits:
            ray.kill(self._worker)
        self._ask("kill" if kill else "end")

    def prune(self) -> None:
        """Ask the script to end because other trials do better."""
        self._ask("prune")

    def _ask(self, how: str) -> None:
        if how not in self._asked:
            self._asked[how] = self._worker.end.remote(how)

    def _fetch(self) -> None:
        """Follow what a script on another machine prints."""
        import ray

        if self._places is None or time.monotonic() < self._fetch_at:
            return
        if self._printed is None:
            self._printed = self._worker.printed.remote(self._places)
        elif _is_there(self._printed):
            with suppress(ray.exceptions.RayError, OSError):
                pieces = ray.get(self._printed)
                self._places = None if pieces is None else self._places | self._keep(pieces)
            self._printed = None
            self._fetch_at = time.monotonic() + _FETCH_SECONDS

    def _keep(self, pieces: Mapping[str, tuple[int, bytes]]) -> dict[str, int]:
        places = {}
        for name, (place, piece) in pieces.items():
            with open(self._folder.path / name, "ab") as file:
                file.truncate(place)
                file.write(piece)
            places[name] = place + len(piece)
        return places


def _is_there(result: Any) -> bool:
    import ray

    return bool(ray.wait([result], timeout=0)[0])


def _packed(folder: Path) -> bytes:
    """The files of a folder as an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


def _unpack(files: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(folder, filter="tar")


def _amount(name: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise ConfigError(f"resource {name!r} must be a number of at least 0, got {text!r}")
    return amount
