"""Observations that have not reached their server: kept in files, so that none is lost.

A file is written before the observation is sent and removed when the server has it. So what a
process was about to send when it was killed is sent by the next one. A repeated observation does
nothing: it has a key of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER, _FILE = 0o700, 0o600  # what people measure is nobody else's business


def default_folder() -> Path:
    """Where observations are kept: `optformer/unsent` in the user's folder for state."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "optformer" / "unsent"


@dataclass(frozen=True)
class Observation:
    """One observation as it is sent.

    Attributes:
        study: Name of the study.
        path: The route below the study.
        body: What is sent there.
        key: The name of the request.
    """

    study: str
    path: str
    body: Mapping[str, Any]
    key: str


class Unsent:
    """The observations of one study that its server does not have yet.

    Args:
        folder: Where the observations of all servers are kept.
        server: Address of the server.
        study: Name of the study.
    """

    def __init__(self, folder: Path, server: str, study: str) -> None:
        self.folder = folder / _as_folder(server) / _as_folder(study)

    def keep(self, observation: Observation) -> Path:
        """Write an observation.

        Raises:
            OSError: It cannot be written.
        """
        for folder in (*reversed(self.folder.parents), self.folder):
            if not folder.exists():
                folder.mkdir(mode=_FOLDER, exist_ok=True)
        file = self.folder / f"{time.time_ns():020d}-{observation.key}.json"
        beside = file.with_suffix(".part")
        described = {
            "study": observation.study,
            "path": observation.path,
            "body": dict(observation.body),
            "key": observation.key,
        }
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE)
        with open(descriptor, "w", encoding="utf-8") as opened:
            json.dump(described, opened)
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(file)
        return file

    def waiting(self) -> list[Path]:
        """The files of all that is to be sent, oldest first."""
        return sorted(self.folder.glob("*.json"))

    @staticmethod
    def read(file: Path) -> Observation | None:
        """What a file holds; None where another process has sent it meanwhile.

        Raises:
            ValueError: The file is damaged.
        """
        try:
            described = json.loads(file.read_text(encoding="utf-8"))
            names = ("study", "path", "body", "key")
            return Observation(*(described[name] for name in names))
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the file is damaged: {error}") from error

    @staticmethod
    def drop(file: Path) -> None:
        """Forget an observation that the server has, or that its user has been told of."""
        file.unlink(missing_ok=True)

    def set_aside(self, file: Path) -> Path:
        """Keep an observation that the server refuses, out of the way."""
        aside = self.folder / "refused" / file.name
        aside.parent.mkdir(mode=_FOLDER, exist_ok=True)
        file.replace(aside)
        return aside


def studies_waiting(folder: Path, server: str) -> list[str]:
    """Names of the studies of a server that have something to be sent."""
    names = set()
    for file in sorted((folder / _as_folder(server)).glob("*/*.json")):
        with suppress(ValueError):  # whoever sends it is told
            kept = Unsent.read(file)
            names.update([] if kept is None else [kept.study])
    return sorted(names)


def _as_folder(name: str) -> str:
    """A name that any file system takes, another one for every name."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:40]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
