"""How values, names and times are written on the page: harmless, short, in plain words."""

from __future__ import annotations

import html
import math
from datetime import datetime, timedelta

from optformer.data.runtime.text import hide_passwords, shorten, visible
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig

_LONGEST = 120  # characters of a text in a table
_LONGEST_IN_CHART = 28  # characters of a name beside an axis
_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def number(value: float | None, digits: int = 5) -> str:
    """A number with some significant digits, a dash for none."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:.{digits}g}"


def percent(share: float) -> str:
    """A probability in percent; never 0 or 100 for what is only close to it."""
    if 0.0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1.0:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def value_text(value: Value) -> str:
    """A parameter's value; a float with six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else line(str(value))


def line(text: object, length: int = _LONGEST) -> str:
    """A text of somebody else on one line: control characters are written out, a long one is cut.

    Args:
        text: The text.
        length: Characters to keep. Of 100 and more the middle is left out, of fewer the end.
    """
    harmless = visible(hide_passwords(str(text)))
    if length >= 100:
        return shorten(harmless, length)
    return harmless if len(harmless) <= length else f"{harmless[: length - 1]}…"


def chart_text(text: object, length: int = _LONGEST_IN_CHART) -> str:
    """A text for a chart, whose labels know a few tags of HTML: it has none."""
    return html.escape(line(text, length), quote=False)


def span(duration: timedelta) -> str:
    """A duration in its largest unit: `4 min`."""
    seconds = max(0.0, duration.total_seconds())
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds / length)} {unit}"
    return f"{1000 * seconds:.0f} ms"


def ago(then: datetime, now: datetime) -> str:
    """How long ago something was."""
    if now - then < timedelta(seconds=5):
        return "just now"
    return f"{span(now - then)} ago"


def counted(count: int, noun: str, several: str | None = None) -> str:
    """A number with its noun, or its plural: `1 trial`, `12 trials`."""
    return f"{count} {noun if count == 1 else several or f'{noun}s'}"


def aims(config: StudyConfig) -> list[str]:
    """The goals and limits of a study, each in a few words."""
    goals = [f"{goal} {line(name, 60)}" for name, goal in config.goals.items()]
    return [*goals, *(f"{line(name, 60)} {limit}" for name, limit in config.limits.items())]
