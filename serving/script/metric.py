"""Read a trial's metrics from what its script printed, or from a file it wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from optformer.data.runtime.bounded_files import read_file
from optformer.data.runtime.text import shorten, visible
from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.script.command import fill_path
from optformer.serving.script.output import NamedMetric, PatternMetric, Report, Search, lines_of
from optformer.serving.script.trial_folder import STDERR, STDOUT

_OUTPUT_BYTES = 64 << 20  # twice what is kept of an output
_FILE_BYTES = 16 << 20  # a metric file is a few numbers
_SHOWN = 100  # characters of a value that is no number


@dataclass(frozen=True)
class Reading:
    """A metric that was read.

    Attributes:
        value: The metric; may be NaN or infinite.
        source: Where it was read, in words.
    """

    value: float
    source: str


class MetricReader(Protocol):
    """Reads the metrics of a finished script."""

    def read(self, out: Path, number: int) -> dict[str, Reading]:
        """The metrics by name.

        Args:
            out: The trial's directory, with its output.
            number: The trial's number.

        Raises:
            MetricError: A metric is not there, cannot be told from others, or is not a number.
        """


@dataclass(frozen=True)
class OutputReader:
    """Reads each metric from standard output, or from standard error when it is not there."""

    searches: Mapping[str, Search]

    def read(self, out: Path, number: int) -> dict[str, Reading]:
        """See `MetricReader.read`."""
        outputs: dict[str, list[tuple[int, str]]] = {}
        return {name: self._read(name, out, outputs) for name in self.searches}

    def _read(self, name: str, out: Path, outputs: dict[str, list[tuple[int, str]]]) -> Reading:
        search = self.searches[name]
        for stream in (STDOUT, STDERR):
            if stream not in outputs:
                outputs[stream] = list(lines_of(_read_text(out / stream)))
            report = search.find(outputs[stream])
            if report is not None:
                return _reading(name, report, stream)
        raise MetricError(f"metric {name!r} was not printed: {search.expectation(outputs[STDOUT])}")


@dataclass(frozen=True)
class FileReader:
    """Reads metrics from a JSON file the script writes; `val.accuracy` looks inside `val`.

    Attributes:
        names: Metrics to read.
        path: Where the file is; see `command.fill_path`.

    Raises:
        ConfigError: The path would be the same for every trial.
    """

    names: Sequence[str]
    path: str

    def __post_init__(self) -> None:
        paths = [fill_path(self.path, number=n, out=Path(f"/trial-{n}")) for n in (0, 1)]
        if os.path.normpath(paths[0]) == os.path.normpath(paths[1]):
            raise ConfigError(
                f"metric file {self.path!r} would be shared by all trials; "
                "give a relative path, or one with {out} or {trial}"
            )

    def read(self, out: Path, number: int) -> dict[str, Reading]:
        """See `MetricReader.read`."""
        path = fill_path(self.path, number=number, out=out)
        try:
            text = read_file(path, limit=_FILE_BYTES)
            # Numbers as floats: integers of any length are legal JSON and become infinite here.
            written = json.loads(text, parse_int=float, object_pairs_hook=_without_repeats)
        except FileNotFoundError:
            raise MetricError(f"metric file {path} was not written") from None
        except RecursionError:
            raise MetricError(f"metric file {path} cannot be read: it is nested too deep") from None
        except (OSError, ValueError) as error:
            raise MetricError(f"metric file {path} cannot be read: {error}") from None
        return {
            name: Reading(_to_float(name, _look_up(written, name, path)), f"file {path}")
            for name in self.names
        }


def create_reader(
    config: StudyConfig, *, pattern: str | None = None, file: str | None = None
) -> MetricReader:
    """The reader of a study's metrics.

    Args:
        config: The study; all metrics that it needs are read.
        pattern: Regular expression with one group, instead of the metric's name.
        file: JSON file, instead of the script's output.

    Raises:
        ConfigError: Both are given, the pattern is no good or there are several metrics for it,
            or the path is the same for every trial.
    """
    names = config.needed
    if file is not None:
        if pattern is not None:
            raise ConfigError("a metric file and a metric pattern are both given; leave one out")
        return FileReader(names, file)
    if pattern is None:
        return OutputReader({name: NamedMetric(name) for name in names})
    if len(names) > 1:
        raise ConfigError(
            f"a metric pattern reads one metric, but the study has {names}; "
            "print lines such as 'name: 0.93' or write a metric file"
        )
    return OutputReader({names[0]: PatternMetric(pattern)})


def _read_text(path: Path) -> str:
    try:
        return read_file(path, limit=_OUTPUT_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise MetricError(f"output {path} cannot be read: {error}") from None


def _reading(name: str, report: Report, stream: str) -> Reading:
    if report.number is None:
        raise MetricError(
            f"metric {name!r} was not printed as a plain number: line {report.line} of {stream} "
            f"is '{report.text}', expected one such as '{name}: 0.93'"
        )
    source = f"line {report.line} of {stream}: '{report.text}'"
    if report.other is not None:
        source += f" (line {report.other.line} reports it in another way: '{report.other.text}')"
    return Reading(_to_float(name, report.number.replace("\u2212", "-")), source)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it holds {_shown(twice)} twice")
    return entries


def _look_up(written: Any, name: str, path: Path) -> Any:
    """Find a name, or the dotted path it spells, in what a JSON file holds."""
    if isinstance(written, Mapping) and name in written:
        return written[name]
    entry = written
    for key in name.split("."):
        if not isinstance(entry, Mapping) or key not in entry:
            has = _shown(sorted(entry)) if isinstance(entry, Mapping) else type(entry).__name__
            raise MetricError(f"metric {name!r} is not in {path}: no {key!r} in {has}")
        entry = entry[key]
    return entry


def _to_float(name: str, value: Any) -> float:
    if not isinstance(value, bool) and isinstance(value, int | float | str):
        try:
            return float(value)
        except ValueError:
            pass
    raise MetricError(f"metric {name!r} must be a number, got {_shown(value)}")


def _shown(value: object) -> str:
    """A value as Python writes it, shortened: what a script wrote may be of any size."""
    return visible(shorten(repr(value), _SHOWN))
