"""Output of the command line: results on standard output, remarks and errors on the other."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence


def write(text: str = "") -> None:
    """Write a line of results."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Write a remark that is not part of the results."""
    sys.stderr.write(f"{text}\n")


def error(text: str) -> None:
    """Write an error, on one line."""
    sys.stderr.write(f"error: {' '.join(text.split())}\n")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table with aligned columns; numbers stand on the right."""
    cells = [[format_value(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    numeric = [
        all(isinstance(row[i], int | float | None) and not isinstance(row[i], bool) for row in rows)
        for i in range(len(header))
    ]
    for line in (list(header), ["-" * width for width in widths], *cells):
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        write("  ".join(padded).rstrip())


def format_value(value: object) -> str:
    """A value as people read it: six significant digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def format_params(params: Mapping[str, object]) -> str:
    """A point on one line; None is a choice there."""
    return ", ".join(
        f"{name}={'None' if value is None else format_value(value)}"
        for name, value in params.items()
    )
