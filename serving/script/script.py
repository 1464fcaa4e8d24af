"""A script to tune: how one trial of it is started, and what came of it."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optformer.data.runtime.bounded_files import read_file
from optformer.data.runtime.text import visible
from optformer.data.studies.errors import MetricError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import INTERRUPTED, Trial
from optformer.serving.script.command import CommandTemplate
from optformer.serving.script.curve import CurveReader
from optformer.serving.script.metric import MetricReader
from optformer.serving.script.output import lines_of
from optformer.serving.script.process import RunningScript, StartScript, start_script
from optformer.serving.script.trial_folder import STDERR, TrialFolder

_LAST_LINE_BYTES = 64 << 20
_UNBUFFERED = {"PYTHONUNBUFFERED": "1"}  # Python keeps what it prints to a pipe until it is 8 kB


@dataclass(frozen=True)
class ScriptOutcome:
    """What one run of the script gave.

    Attributes:
        metrics: Metrics by name, None when it failed.
        reason: Why it failed, None when it did not.
        seconds: Wall-clock time it took.
        sources: Where each metric was read, in words.
        stopped: Whether it was stopped early because other trials do better.
    """

    metrics: Mapping[str, float] | None
    reason: str | None
    seconds: float
    sources: Mapping[str, str]
    stopped: bool = False


@dataclass(frozen=True)
class Script:
    """A script to tune.

    A trial runs with the caller's working directory and environment, plus `OPTFORMER_PARAMS` (its
    parameters as JSON), `OPTFORMER_TRIAL` (its number) and `OPTFORMER_OUT` (its directory, which
    also receives `stdout.txt`, `stderr.txt` and the record `optformer.json`).

    Attributes:
        config: The study, which says what the metrics mean.
        command: How to run it.
        reader: How to read its metrics.
        curves: How to read its curve while it runs; None when nobody asks for it.
        starter: What starts it, here or on a cluster.
        out: Absolute directory under which every trial gets its own.
        timeout: Seconds a trial may take, None for no limit.
    """

    config: StudyConfig
    command: CommandTemplate
    reader: MetricReader
    out: Path
    timeout: float | None = None
    curves: CurveReader | None = None
    starter: StartScript = start_script

    def folder(self, number: int) -> TrialFolder:
        """Where a trial's files are."""
        return TrialFolder(self.out, number)

    def start(self, trial: Trial) -> RunningScript:
        """Start one trial, in a directory that is made for it.

        Raises:
            OSError: The directory cannot be made, or no process be started.
        """
        folder = self.folder(trial.number)
        command = self.command.fill(trial.params, number=trial.number, out=folder.path)
        record = {
            "trial": trial.number,
            "params": dict(trial.params),
            "command": command,
            "timeout": self.timeout,
            "started": time.time(),
        }
        folder.create(record)
        return self.starter(
            command,
            folder,
            record=record,
            environment={
                **({} if self.curves is None else _UNBUFFERED),
                **os.environ,
                "OPTFORMER_PARAMS": json.dumps(dict(trial.params)),
                "OPTFORMER_TRIAL": str(trial.number),
                "OPTFORMER_OUT": str(folder.path),
            },
            timeout=self.timeout,
        )

    def outcome(self, trial: Trial) -> ScriptOutcome:
        """What came of a trial whose script has ended; kept in its directory, too.

        Whatever a script leaves behind that cannot be read is a failure of its trial.
        """
        folder = self.folder(trial.number)
        record = folder.load()
        try:
            return ScriptOutcome(**record["outcome"])
        except (KeyError, TypeError):
            outcome = self._judge(record, folder, trial)
        with suppress(OSError):  # it can be read again
            folder.save({**record, "outcome": asdict(outcome)})
        return outcome

    def _judge(self, record: Mapping[str, Any], folder: TrialFolder, trial: Trial) -> ScriptOutcome:
        try:
            seconds = float(record["ending"]["seconds"])
            reason = _failure(record, folder.path / STDERR)
        except (KeyError, TypeError, ValueError):  # its supervisor was killed
            return ScriptOutcome(None, INTERRUPTED, 0.0, {})
        if reason is not None:
            return ScriptOutcome(None, reason, seconds, {})
        try:
            readings = self.reader.read(folder.path, trial.number)
            metrics = {name: reading.value for name, reading in readings.items()}
            value, _ = self.config.measure(metrics)
        except MetricError as error:
            return ScriptOutcome(None, visible(str(error)), seconds, {})
        if not all(map(math.isfinite, [value, *(metrics[name] for name in self.config.needed)])):
            shown = ", ".join(f"{name} is {number}" for name, number in metrics.items())
            return ScriptOutcome(None, f"not a finite number: {shown}", seconds, {})
        sources = {name: reading.source for name, reading in readings.items()}
        return ScriptOutcome(metrics, None, seconds, sources, _was_pruned(record))


def _failure(record: Mapping[str, Any], stderr: Path) -> str | None:
    """Why a script that ended as its record says has failed, None when it has not."""
    ending = record["ending"]
    if ending["error"] is not None:
        return f"cannot start: {visible(str(ending['error']))}"
    if ending["stopped"]:
        return INTERRUPTED
    if _was_pruned(record):
        return None
    if ending["timed_out"]:
        return f"timed out after {record['timeout']:g} s"
    code = ending["code"]
    if code == 0:
        return None
    if code is None:
        return "could not be ended"
    how = (
        f"exit status {code}"
        if code > 0
        else f"ended by signal {-code} ({signal.strsignal(-code) or 'unknown'})"
    )
    last = _last_line(stderr)
    return f"{how}: {last}" if last else how


def _was_pruned(record: Mapping[str, Any]) -> bool:
    return record["ending"].get("pruned") is True


def _last_line(path: Path) -> str:
    """The last line of a file that says something, shortened."""
    try:
        output = read_file(path, limit=_LAST_LINE_BYTES)
    except OSError:
        return ""
    lines = [line.strip() for _, line in lines_of(output[-4096:].decode("utf-8", "replace"))]
    return visible(next((line for line in reversed(lines) if line), "")[:200])
