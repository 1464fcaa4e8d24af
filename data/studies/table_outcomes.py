"""What became of the trials in a table: their status, value and further metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optformer.data.studies.errors import DatasetError
from optformer.data.studies.table_cells import Cell, read_number, read_status
from optformer.data.studies.table_files import Columns
from optformer.data.studies.trials import TrialStatus

_METRIC = ("metrics.{}", "metric.{}", "{}")
_PREFIXES = ("metrics.", "metric.")
_VALUE = "value"
_STATUS = ("status", "state")
_REASON = "reason"


class TableOutcomes:
    """Columns of a metric and of what else is known about N trials.

    Args:
        columns: The columns of the table that are no parameters'.
        metric: Name of the metric.
        value: Whether the column `value` holds it, where no column has its name and none is named
            as a metric.

    Raises:
        DatasetError: There is no such metric.
    """

    def __init__(self, columns: Columns, metric: str, value: bool = True) -> None:
        self._metrics = {
            name.removeprefix(prefix): cells
            for prefix in reversed(_PREFIXES)
            for name, cells in columns.items()
            if name.startswith(prefix)
        }
        names = [form.format(metric) for form in _METRIC]
        names += [_VALUE] if value and not self._metrics else []
        found = [name for name in names if name in columns]
        if not found:
            raise DatasetError(
                f"there is no column of the metric {metric!r}; beside parameters there are "
                f"{list(columns)}"
            )
        self._values = columns[found[0]]
        self._reasons = columns.get(_REASON)
        self._statuses: Sequence[Cell] | None = next(
            (columns[name] for name in _STATUS if name in columns), None
        )

    def __len__(self) -> int:
        return len(self._values)

    def outcome(self, row: int) -> tuple[TrialStatus, float]:
        """A trial's status and value; NaN where it has none.

        Raises:
            ValueError: A cell is neither empty nor what it should be.
        """
        said = None if self._statuses is None else read_status(self._statuses[row])
        value = read_number(self._values[row])
        if said in (TrialStatus.PENDING, TrialStatus.FAILED):
            return said, math.nan
        if value is None or not math.isfinite(value):
            return TrialStatus.FAILED, math.nan
        return said or TrialStatus.COMPLETED, float(value)

    def reason(self, row: int) -> str:
        """Why a trial failed."""
        written = None if self._reasons is None else self._reasons[row]
        return str(written or "no value was recorded")

    def metrics(self, row: int) -> dict[str, float]:
        """All finite numbers in columns that are named as metrics."""
        found = {}
        for name, cells in self._metrics.items():
            try:
                number = read_number(cells[row])
            except ValueError:
                continue
            if number is not None and math.isfinite(number):
                found[name] = float(number)
        return found
