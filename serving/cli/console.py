"""Output of the command line: results on standard output, remarks and errors on the other.

Names, values and messages come from scripts and from other people's storages: control characters in
them are written out, so that they do nothing to a terminal.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence

from optformer.data.runtime.text import hide_passwords, shorten, visible, visible_lines

_LONGEST_ERROR = 2000  # characters; more would hide what stands before it


def escape_unknown_characters() -> None:
    r"""Have both streams write `\xe9` for a character their encoding lacks, and not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str = "") -> None:
    """Write lines of results."""
    sys.stdout.write(f"{visible_lines(text)}\n")


def note(text: str) -> None:
    """Write a remark that is not part of the results."""
    sys.stderr.write(f"{visible_lines(hide_passwords(text))}\n")


def error(text: str) -> None:
    """Write an error, on one line."""
    line = shorten(" ".join(text.split()), _LONGEST_ERROR)
    sys.stderr.write(f"error: {visible(hide_passwords(line))}\n")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table with aligned columns; numbers stand on the right."""
    names = list(map(visible, header))
    cells = [[format_value(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numeric = [
        all(isinstance(row[i], int | float | None) and not isinstance(row[i], bool) for row in rows)
        for i in range(len(header))
    ]
    for line in (names, ["-" * width for width in widths], *cells):
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        write("  ".join(padded).rstrip())


def format_value(value: object) -> str:
    """A value as people read it, on one line: six significant digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(str(value))


def format_params(params: Mapping[str, object]) -> str:
    """A point on one line; None is a choice there."""
    return ", ".join(
        f"{visible(name)}={'None' if value is None else format_value(value)}"
        for name, value in params.items()
    )
