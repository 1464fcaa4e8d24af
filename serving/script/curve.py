"""Read the curve of a running script: the metric that it prints again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from optformer.data.runtime.bounded_files import read_piece
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.serving.script.output import (
    NamedMetric,
    PatternMetric,
    Point,
    Scan,
    Search,
    lines_of,
)
from optformer.serving.script.trial_folder import STDERR, STDOUT

_PIECE_BYTES = 1 << 20  # of an output at a time, so that one script does not hold up the others
_FIGURES = 2  # significant figures of the steps that are kept


@dataclass(frozen=True)
class CurveReader:
    """How to read the curves of a study's scripts.

    Attributes:
        search: What searches an output for the metric.
        steps: What searches it for steps; without it the values of a script are counted.
    """

    search: Search
    steps: PatternMetric | None = None

    def open(self, out: Path) -> Curve:
        """The curve of the script that writes into a trial's directory."""
        return Curve([_Stream(out / name, self) for name in (STDOUT, STDERR)])


class Curve:
    """What a script has printed of its metric so far.

    Args:
        streams: The outputs to look at; the first one with a value counts.
    """

    def __init__(self, streams: list[_Stream]) -> None:
        self._streams = streams

    def read(self, *, to_end: bool = False) -> dict[int, float]:
        """The values so far, by their steps in order, after looking at more of the output.

        Of several values of one step the first counts, and steps do not go back. Of long curves
        those steps are kept that have two significant figures at most: 100 values, and 90 for each
        further power of ten.

        Args:
            to_end: Whether the script has ended and all of its output is looked at.

        Raises:
            MetricError: A pattern takes too long.
        """
        for stream in self._streams:
            stream.read(to_end=to_end)
            while to_end and not stream.at_end:
                stream.read(to_end=True)
        return next((stream.curve for stream in self._streams if stream.curve), {})


class _Stream:
    """One output of a script."""

    def __init__(self, path: Path, reader: CurveReader) -> None:
        self.curve: dict[int, float] = {}
        """The values so far, by their steps."""
        self.at_end = False
        """Whether there was no more to look at."""
        self._path = path
        self._place = 0  # how much was read, in bytes
        self._values: Scan = reader.search.scan()
        self._steps: Scan | None = None if reader.steps is None else reader.steps.scan()

    def read(self, *, to_end: bool = False) -> None:
        """Look at the next piece, as far as its last line has ended or, at the end, to its end."""
        try:
            piece, size = read_piece(self._path, self._place, limit=_PIECE_BYTES)
        except OSError:  # a script may remove it, or make it into anything
            piece, size = b"", self._place
        if size < self._place:  # its middle was left out
            self._place = size
        if not to_end or len(piece) == _PIECE_BYTES:
            whole = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
            piece = piece[: whole or len(piece) // _PIECE_BYTES * _PIECE_BYTES]
        self.at_end = not piece
        if not piece:
            return
        self._place += len(piece)
        lines = [line for _, line in lines_of(piece.decode("utf-8", "replace"))]
        self._values.read(lines)
        if self._steps is not None:
            self._steps.read(lines)
        self.curve = _curve(self._points())

    def _points(self) -> Iterator[tuple[int, float]]:
        """Steps and values in the order in which they are printed."""
        values = [(p.place, v) for p in self._values.points if (v := _number(p)) is not None]
        if self._steps is None:
            yield from enumerate(value for _, value in values)
            return
        steps = deque(self._steps.points)
        step: float | None = None
        for place, value in values:
            while steps and steps[0].place <= place:
                step = _number(steps.popleft())
            if step is not None and step >= 0 and step.is_integer():
                yield int(step), value


def _curve(points: Iterable[tuple[int, float]]) -> dict[int, float]:
    curve: dict[int, float] = {}
    last = -1
    for step, value in points:
        if step > last:
            last = step
            if step % 10 ** max(len(str(step)) - _FIGURES, 0) == 0:
                curve[step] = value
    return curve


def _number(point: Point) -> float | None:
    try:
        return float(point.number.replace("\u2212", "-"))
    except ValueError:
        return None


def create_curve_reader(
    config: StudyConfig,
    *,
    pattern: str | None = None,
    file: str | None = None,
    step_pattern: str | None = None,
) -> CurveReader:
    """The reader of the curves of a study's scripts.

    Args:
        config: The study.
        pattern: Regular expression with one group around the metric, instead of its name.
        file: The metric's file, of which there can be none.
        step_pattern: Regular expression with one group around the step.

    Raises:
        ConfigError: There is no single metric in the output, or a pattern is no good.
    """
    if isinstance(config.metric, Weighted):
        raise ConfigError(
            f"a pruner compares one metric, but the study weighs {list(config.metric.weights)}; "
            "print their sum under a name of its own and search on that"
        )
    if file is not None:
        raise ConfigError(
            "a pruner compares what scripts print while they run; give no metric file, and print "
            f"lines such as '{config.metric}: 0.93'"
        )
    return CurveReader(
        NamedMetric(config.metric) if pattern is None else PatternMetric(pattern),
        None if step_pattern is None else PatternMetric(step_pattern, "step pattern"),
    )
