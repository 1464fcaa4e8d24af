"""Find a metric in what a script printed.

A report of a metric is its name, `=` or `:`, and a number. What stands before the name may make it
another metric: `train acc: 0.99` and `val acc: 0.8` both report an `acc`. A report under the bare
name counts before those with more words. Between several of those, and between the parts of an
output about training, validation and tests, nobody chooses silently.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import regex

from optformer.data.runtime.text import shorten, visible
from optformer.data.studies.errors import ConfigError, MetricError

PATTERN_SECONDS = 10.0
"""Time that a user's pattern may take for the output of one trial."""

_CONTEXT = 60  # characters quoted on each side of a report
_MOST_LABELS = 16  # more ways to report a metric than an error has to tell apart
_LONGEST_HEADING = 80

# What moves a cursor or colours text: control sequences, commands to the terminal, short escapes.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*+[0-~]"
)
# A progress bar writes its lines one over the other.
_OVERWRITTEN = re.compile(r"[\r\b\v\f\x85\u2028\u2029]+")

_NUMBER = re.compile(
    r"[-+\u2212]?(?>(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+\u2212]?[0-9]++)?)"
    r"|[-+]?(?:nan|inf(?:inity)?)",
    re.IGNORECASE,
)
# 5fold, 1.2.3, 1,234, 12:30, 2024-05-06, 10-fold, 0.5+2j, 93/100, 93% / 100%, 9.3*10^-2,
# 93 out of 100, 0.1..0.9, 0.9 -> 0.8, 0.9 to 0.8, 0.9 vs 0.8, "0.9, 0.8", "0.9 0.8",
# 0.9 (train) 0.8 (val)
_CONTINUED = re.compile(
    r"\w|[-+.,:'\u2019\u2013][0-9]|[-\u2013]\w|\ ?%?\ *+[/*^\u00d7\u00b7]++\ *+[-+(]?[0-9]"
    r"|\ ++(?:out\ ++)?of\ ++[0-9]|(?:\.\.++|\u2026|\ *+(?:[-=]>|\u2192)|\ ++(?:to|vs\.?|versus)\ )"
    r"\ *+[-+]?[.0-9]"
    r"|(?:,\s++[-+]?[0-9.]++|\s++[-+]?[0-9]*+\.[0-9]++)(?:e[-+]?[0-9]++)?+\s*+(?:$|[,;|)\]])"
    r"|\ *+\([^()]{1,40}\)[\ ,;/|]*+[-+]?[0-9.]++\ *+\(",
    re.IGNORECASE,
)
_FIRST_THREE_DIGITS = re.compile(r"[-+\u2212]?[0-9]{1,3}")
_NEXT_THREE_DIGITS = re.compile(r"[^\S\t][0-9]{3}(?![0-9])")
# tensor(0.9, device='cuda'), np.float64(0.9), array([0.9], dtype=float32), Decimal('0.9'), "0.9"
_OPENED = re.compile(
    r"(?:(?:[a-z_]\w*+\.)*+(?:tensor|array|arrayimpl|devicearray|variable|parameter|scalar|half"
    r"|double|longdouble|decimal|b?float\d*|u?int\d*)\(|<tf\.Tensor:[^>]{0,200}?numpy=)?"
    r"[\[(\"'`\ ]*+",
    re.IGNORECASE,
)
_CLOSED = re.compile(
    r"\ ?%?\ *+(?:,\ *+(?:[a-z_]+=[^()]*+(?:\([^()]*+\)[^()]*+)*+)?)?[\])\"'`>]", re.IGNORECASE
)
_LIKE_A_NUMBER = re.compile(
    r"(?:[A-Za-z_][\w.]*+\()?[\[(\"'`<>=~#$\u20ac\u00a3\u2248\u2264\u2265\ ]*+[-+.\u2212]*+[0-9]"
)
_REMARK = re.compile(r"[^\[(=:,;|]{0,40}[\[(]([^\])]{1,40})")  # "0.99 (train)"

_LAST_WORD = re.compile(r"(?:^|[^\w.+-])([^\W\d_][\w@'\u2019-]*)$")
_COUNTER = re.compile(r"(?:e|ep|epoch|it|iter|iteration|step|batch|round|trial)[-_]?\d+", re.I)
_VALUES = {"nan", "inf", "none", "null", "true", "false"}
# Parts of an output. The longer words are also those of plain sentences: "finished training, ...".
_PART = re.compile(
    r"(?<![\w.])(?:(?:train|valid|val|dev|test|eval|h[eo]ld-?out)(?!\w|\.\w)"
    r"|(?:training|validat(?:ion|ing)|testing|evaluat(?:ion|ing))"
    r"(?=\s*+[\"'\])}|>/:=]|\s++[\w-]++\s*+[:=]))",
    re.IGNORECASE,
)
_PART_OF_HEADING = re.compile(
    r"(?<!\w)(?:train|val|dev|test|eval|h[eo]ld[ -]?out)[a-z]*", re.IGNORECASE
)
_HEADING = re.compile(r".*[:{]|[#=*]+\ .*|--+\ .*|\[.*\]")
_ASSIGNED = re.compile(r"[:=]\s*+[\"'\[(]?[-+.]?[0-9]")

Lines = Iterable[tuple[int, str]]
"""Lines without control characters, with the numbers of the lines in the file they stand in."""


@dataclass(frozen=True)
class Report:
    """One report of a metric.

    Attributes:
        number: The number as it is printed, None when what is printed is none.
        line: Number of its line.
        text: The line, shortened.
        other: A report of another shape that was passed over.
    """

    number: str | None
    line: int
    text: str
    other: Report | None = None


@dataclass(frozen=True)
class Point:
    """One value of a curve.

    Attributes:
        place: Number of its line, counted as `lines_of` gives them.
        number: The number as it is printed.
    """

    place: int
    number: str


class Scan(Protocol):
    """Searches an output that is still being written for all values of a metric."""

    def read(self, lines: Iterable[str]) -> None:
        """Take the next lines of the output.

        Raises:
            MetricError: It takes too long.
        """

    @property
    def points(self) -> Sequence[Point]:
        """The values so far in order; none while it cannot be told which ones count."""


class Search(Protocol):
    """Searches an output for a metric."""

    def find(self, lines: Lines) -> Report | None:
        """The report that counts, None when there is none.

        Raises:
            MetricError: It cannot be told which one that is.
        """

    def expectation(self, lines: Lines) -> str:
        """What was expected of an output in which there is no report."""

    def scan(self) -> Scan:
        """A search for all reports of an output."""


def lines_of(output: str) -> Iterator[tuple[int, str]]:
    """The lines of an output as a reader saw them, one after the other."""
    for number, line in enumerate(output.split("\n"), 1):
        for part in _OVERWRITTEN.split(_ESCAPE.sub("", line)):
            yield number, part


class NamedMetric:
    """Searches for the last line that reports a metric by its name.

    Args:
        name: The metric's name; capitals do not matter.
    """

    def __init__(self, name: str) -> None:
        self._metric = name
        words = r"\s++".join(map(re.escape, name.split()))
        self._name = re.compile(rf"(?<![\w./-]){words}", re.IGNORECASE)
        self._report = re.compile(rf"(?<![\w./-]){words}[\"'`*\])]*+\s*+[=:]\s*+", re.IGNORECASE)

    def find(self, lines: Lines) -> Report | None:
        """See `Search.find`."""
        last: dict[_Label, _Match] = {}  # in the order of the lines
        headings = _Headings()
        for number, line in lines:
            for label, found in self.matches(number, line, headings):
                if label in last or len(last) < _MOST_LABELS:
                    last[label] = found.after(last.pop(label, None))
        return self._choose({label: match.report() for label, match in last.items()})

    def scan(self) -> _NamedScan:
        """See `Search.scan`."""
        return _NamedScan(self)

    def matches(
        self, number: int, line: str, headings: _Headings
    ) -> Iterator[tuple[_Label, _Match]]:
        """The reports in the next line of an output, with what else they may be about."""
        parts = headings.parts_at(line)
        start = 0
        for match in self._report.finditer(line):
            parts |= _parts(line[start : match.start()])
            start = match.end()
            value = _number_at(line, start)
            if value is None and not _LIKE_A_NUMBER.match(line, start):
                continue
            remark = _REMARK.match(line, start)
            own = _parts(remark[1], _PART_OF_HEADING) if remark else set()
            label = _Label(_words_before(line, match.start()), frozenset(parts | own))
            yield label, _Match(value, number, line, match.start(), start)

    def expectation(self, lines: Lines) -> str:
        """See `Search.expectation`."""
        expected = f"expected a line such as '{self._metric}: 0.93'"
        named = [(number, line) for number, line in lines if self._name.search(line)]
        if not named:
            return expected
        number, line = named[-1]
        text = _on_one_line(shorten(line.strip(), 2 * _CONTEXT))
        return f"{expected}; line {number}, '{text}', names it, but no number follows"

    def _choose(self, last: dict[_Label, Report]) -> Report | None:
        """The last report of the label that counts."""
        bare = [label for label in last if not label.words]
        counted = bare or list(last)
        if not counted:
            return None
        label = counted[-1]
        # A bare name under "training" is not what the name alone would be.
        others = counted[:-1] or [o for o in last if label.parts and o.parts - label.parts]
        if others:
            one, two = sorted((last[others[-1]], last[label]), key=lambda report: report.line)
            raise MetricError(
                f"metric {self._metric!r} is ambiguous: line {one.line} is '{one.text}', line "
                f"{two.line} is '{two.text}'; name the metric in full, print it under a name of "
                "its own, or give a pattern"
            )
        return last[label]


class _NamedScan:
    """The values of a metric by its name; see `Scan`."""

    def __init__(self, metric: NamedMetric) -> None:
        self._metric = metric
        self._headings = _Headings()
        self._found: dict[_Label, list[Point]] = {}
        self._lines = 0

    def read(self, lines: Iterable[str]) -> None:
        """See `Scan.read`."""
        for line in lines:
            for label, match in self._metric.matches(self._lines, line, self._headings):
                known = label in self._found or len(self._found) < _MOST_LABELS
                if known and match.value is not None:
                    self._found.setdefault(label, []).append(Point(self._lines, match.value))
            self._lines += 1

    @property
    def points(self) -> Sequence[Point]:
        """See `Scan.points`: of the bare name, or of the only one with more words."""
        bare = [points for label, points in self._found.items() if not label.words]
        counted = bare or list(self._found.values())
        return counted[0] if len(counted) == 1 else ()


class _PatternScan:
    """The values that a user's pattern matches; see `Scan`."""

    def __init__(self, pattern: regex.Pattern[str], name: str) -> None:
        self._pattern = pattern
        self._name = name
        self._seconds_left = PATTERN_SECONDS
        self._lines = 0
        self.points: list[Point] = []

    def read(self, lines: Iterable[str]) -> None:
        """See `Scan.read`."""
        started = time.monotonic()
        for line in lines:
            left = self._seconds_left - (time.monotonic() - started)
            try:
                for match in self._pattern.finditer(line, timeout=max(left, 1e-3)):
                    if match[1] is not None:
                        self.points.append(Point(self._lines, match[1]))
            except TimeoutError:
                raise MetricError(
                    f"{self._name} took longer than {PATTERN_SECONDS:g} s for the output of one "
                    "trial; write it with fewer repetitions"
                ) from None
            self._lines += 1
        self._seconds_left -= time.monotonic() - started


class PatternMetric:
    """Searches for the last match of a user's regular expression.

    Args:
        pattern: A regular expression with one group, around the number.
        name: What the pattern is called in errors.

    Raises:
        ConfigError: It is no regular expression, or has not exactly one group.
    """

    def __init__(self, pattern: str, name: str = "metric pattern") -> None:
        self._name = f"{name} {pattern!r}"
        try:
            self._pattern = regex.compile(pattern)
        except regex.error as error:
            raise ConfigError(f"{self._name} is no regular expression: {error}") from None
        if self._pattern.groups != 1:
            raise ConfigError(
                f"{self._name} must have one group, around the number; got {self._pattern.groups}"
            )

    def find(self, lines: Lines) -> Report | None:
        """See `Search.find`."""
        deadline = time.monotonic() + PATTERN_SECONDS
        last = None
        for number, line in lines:
            left = max(deadline - time.monotonic(), 1e-3)
            try:
                for match in self._pattern.finditer(line, timeout=left):
                    if match[1] is not None:
                        text = _on_one_line(shorten(line.strip(), 2 * _CONTEXT))
                        last = Report(match[1], number, text)
            except TimeoutError:
                raise MetricError(
                    f"{self._name} took longer than {PATTERN_SECONDS:g} s, at line {number}; "
                    "write it with fewer repetitions"
                ) from None
        return last

    def scan(self) -> _PatternScan:
        """See `Search.scan`."""
        return _PatternScan(self._pattern, self._name)

    def expectation(self, lines: Lines) -> str:
        """See `Search.expectation`."""
        return f"no line matches {self._pattern.pattern!r}"


@dataclass(frozen=True)
class _Label:
    """What may make a report one of another metric.

    Attributes:
        words: The words before its name.
        parts: Training, validation and so on, as headings and the words before it say.
    """

    words: tuple[str, ...]
    parts: frozenset[str]


@dataclass(frozen=True)
class _Match:
    """A report where it was found.

    Attributes:
        value: The number, if there is one.
        number: Number of the line.
        line: The line.
        start: Where the name begins.
        end: Where the value begins.
        other: The last one before whose line has another shape.
    """

    value: str | None
    number: int
    line: str
    start: int
    end: int
    other: _Match | None = None

    @property
    def before(self) -> str:
        """What stands before the name."""
        return self.line[max(self.start - _CONTEXT, 0) : self.start]

    def after(self, earlier: _Match | None) -> _Match:
        """This match, with an earlier one to report beside it."""
        if earlier is None:
            return self
        alike = earlier.before == self.before or _shape(earlier.before) == _shape(self.before)
        return replace(self, other=earlier.other if alike else replace(earlier, other=None))

    def report(self) -> Report:
        """This match as users are told of it."""
        text = self.line[max(self.start - _CONTEXT, 0) : self.end + _CONTEXT]
        other = None if self.other is None else self.other.report()
        return Report(self.value, self.number, _on_one_line(text), other)


def _on_one_line(text: str) -> str:
    return visible(" ".join(text.split()))


def _shape(text: str) -> str:
    return re.sub(r"\d+", "#", text)


class _Headings:
    """Which parts of an output a line belongs to: by the headings above it and their indentation.

    A heading holds for the lines indented deeper or, when the line after it is not, for those that
    follow until the next heading.
    """

    def __init__(self) -> None:
        self._open: list[_Heading] = []

    def parts_at(self, line: str) -> set[str]:
        """The parts that hold at the next line of the output."""
        text = line.strip()
        if text:
            indent = len(line) - len(line.lstrip())
            heading = _is_heading(text)
            if self._open and self._open[-1].nested is None:
                self._open[-1].nested = indent > self._open[-1].indent
            while self._open and not self._open[-1].holds(indent, heading):
                self._open.pop()
            if heading:
                self._open.append(_Heading(indent, _parts(text, _PART_OF_HEADING)))
        return {part for heading in self._open for part in heading.parts}


@dataclass
class _Heading:
    """A heading whose part of the output has not ended.

    Attributes:
        indent: Where it begins in its line.
        parts: What it names.
        nested: Whether its lines are indented deeper, None while there is none.
    """

    indent: int
    parts: set[str]
    nested: bool | None = None

    def holds(self, indent: int, heading: bool) -> bool:
        """Whether a line of that indentation, maybe a heading itself, belongs to it."""
        return indent > self.indent or (indent == self.indent and not heading and not self.nested)


def _is_heading(text: str) -> bool:
    return (
        len(text) <= _LONGEST_HEADING
        and _HEADING.fullmatch(text) is not None
        and _ASSIGNED.search(text) is None
        and any(map(str.isalpha, text))
    )


def _parts(text: str, pattern: re.Pattern[str] = _PART) -> set[str]:
    return {match.group()[:3].lower() for match in pattern.finditer(text)}


def _words_before(line: str, start: int) -> tuple[str, ...]:
    """The words directly before a place in a line, three at most; counters are none."""
    before = line[max(start - _CONTEXT, 0) : start].rstrip("\"'`*([")
    if before == before.rstrip():  # a bracket or comma, not a space
        return ()
    words: list[str] = []
    for token in reversed(before.split()[-3:]):
        match = _LAST_WORD.search(token)
        if match is None or _COUNTER.fullmatch(match[1]) or match[1].lower() in _VALUES:
            break
        words.append(match[1].lower())
        if len(match[1]) < len(token):  # something else stands before the word
            break
    return tuple(reversed(words))


def _number_at(line: str, start: int) -> str | None:
    """The number that stands at a place in a line, None when nothing plain does."""
    opened = _OPENED.match(line, start)
    wrapped = opened is not None and opened.group().strip() != ""
    number = _NUMBER.match(line, opened.end() if opened and wrapped else start)
    if number is None:
        return None
    rest = line[number.end() : number.end() + 4 * _CONTEXT]
    if wrapped:
        return number.group() if _CLOSED.match(rest) else None
    thousands = _FIRST_THREE_DIGITS.fullmatch(number.group()) and _NEXT_THREE_DIGITS.match(rest)
    return None if thousands or _CONTINUED.match(rest) else number.group()
