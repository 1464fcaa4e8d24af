"""Read a trial's metrics from what its script wrote."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.serving.script.command import fill_path

# A number that nothing continues: "1,234" and "1.2.3" are not read as 1 and 1.2.
_NUMBER = r"([-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?))(?![\w]|[.,]\d)"


class MetricReader(Protocol):
    """Reads the metrics of a finished script."""

    def read(self, stdout: Path, *, number: int, out: Path) -> dict[str, float]:
        """The metrics by name; they may be NaN or infinite.

        Args:
            stdout: File with the script's standard output.
            number: The trial's number.
            out: The trial's directory.

        Raises:
            MetricError: A metric is not there, or is not a number.
        """


def default_pattern(metric: str) -> re.Pattern[str]:
    """The pattern of a line that reports a metric: its name, `=` or `:`, and a number."""
    name = r"(?<![\w./-])" + re.escape(metric) + r"[\"']?\s*[=:]\s*"
    return re.compile(name + _NUMBER, re.IGNORECASE)


def custom_pattern(text: str) -> re.Pattern[str]:
    """Compile a user's pattern.

    Raises:
        ConfigError: It is no regular expression, or has not exactly one group.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigError(f"metric pattern {text!r} is no regular expression: {error}") from None
    if pattern.groups != 1:
        raise ConfigError(
            f"metric pattern {text!r} must have one group, around the number; got {pattern.groups}"
        )
    return pattern


@dataclass(frozen=True)
class OutputReader:
    """Reads each metric from the last line of standard output that matches its pattern."""

    patterns: Mapping[str, re.Pattern[str]]

    def read(self, stdout: Path, *, number: int, out: Path) -> dict[str, float]:
        """See `MetricReader.read`; of several matches in the last line the last one counts."""
        found: dict[str, str] = {}
        # Universal newlines: a progress bar's carriage returns end lines too.
        with stdout.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                for name, pattern in self.patterns.items():
                    for match in pattern.finditer(line):
                        found[name] = match.group(1)
        for name, pattern in self.patterns.items():
            if name not in found:
                raise MetricError(
                    f"metric {name!r} was not printed: no line of standard output matches "
                    f"{pattern.pattern!r}"
                    if pattern != default_pattern(name)
                    else f"metric {name!r} was not printed: expected a line such as '{name}: 0.93'"
                )
        return {name: _to_float(name, found[name]) for name in self.patterns}


@dataclass(frozen=True)
class FileReader:
    """Reads metrics from a JSON file the script writes; `val.accuracy` looks inside `val`.

    Attributes:
        names: Metrics to read.
        path: Where the file is; see `script_command.fill_path`.

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

    def read(self, stdout: Path, *, number: int, out: Path) -> dict[str, float]:
        """See `MetricReader.read`."""
        path = fill_path(self.path, number=number, out=out)
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MetricError(f"metric file {path} was not written") from None
        except (OSError, ValueError) as error:
            raise MetricError(f"metric file {path} cannot be read: {error}") from None
        return {name: _to_float(name, _look_up(written, name, path)) for name in self.names}


def create_reader(
    config: StudyConfig, *, pattern: str | None = None, file: str | None = None
) -> MetricReader:
    """The reader of a study's metrics.

    Args:
        config: The study; a weighted measure needs every one of its metrics.
        pattern: Regular expression with one group, instead of the default pattern.
        file: JSON file, instead of standard output.

    Raises:
        ConfigError: Both are given, the pattern is no good or there are several metrics for it,
            or the path is the same for every trial.
    """
    names = list(config.metric.weights) if isinstance(config.metric, Weighted) else [config.metric]
    if file is not None:
        if pattern is not None:
            raise ConfigError("a metric file and a metric pattern are both given; leave one out")
        return FileReader(names, file)
    if pattern is None:
        return OutputReader({name: default_pattern(name) for name in names})
    if len(names) > 1:
        raise ConfigError(
            f"a metric pattern reads one metric, but the study weighs {names}; "
            "print lines such as 'name: 0.93' or write a metric file"
        )
    return OutputReader({names[0]: custom_pattern(pattern)})


def _look_up(written: Any, name: str, path: Path) -> Any:
    """Find a name, or the dotted path it spells, in what a JSON file holds."""
    if isinstance(written, Mapping) and name in written:
        return written[name]
    entry = written
    for key in name.split("."):
        if not isinstance(entry, Mapping) or key not in entry:
            has = sorted(entry) if isinstance(entry, Mapping) else type(entry).__name__
            raise MetricError(f"metric {name!r} is not in {path}: no {key!r} in {has}")
        entry = entry[key]
    return entry


def _to_float(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise MetricError(f"metric {name!r} must be a number, got {value!r}")
    try:
        return float(value)
    except ValueError:
        raise MetricError(f"metric {name!r} must be a number, got {value!r}") from None
