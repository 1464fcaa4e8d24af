"""Where a run's numbers go: TensorBoard, and a line of JSON each time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from optformer.data.runtime.files import write_atomically
from optformer.data.studies.errors import CheckpointError


class RunLog:
    """Writes to `logs/` and `log.jsonl` of a run's directory.

    Args:
        directory: The run's.
        step: Step that the run goes on from; what a killed process wrote of later ones is dropped.
        enabled: False writes nothing: of several processes, one keeps the log.
    """

    def __init__(self, directory: Path, step: int = 0, enabled: bool = True):
        self.path = directory / "log.jsonl"
        self.board: SummaryWriter | None = None
        if enabled:
            self.board = SummaryWriter(str(directory / "logs"), purge_step=step + 1)
            self._drop_after(step)

    def write(
        self, group: str, step: int, seconds: float, values: Mapping[str, float | str]
    ) -> None:
        """Write what was found at a step; numbers become curves `group/name`.

        Raises:
            CheckpointError: The log cannot be written.
        """
        if self.board is None:
            return
        for name, value in values.items():
            if not isinstance(value, str):
                self.board.add_scalar(f"{group}/{name}", value, step)
        entry = {"step": step, "seconds": round(seconds, 1), "group": group, **values}
        try:
            with self.path.open("a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise CheckpointError(
                f"cannot write {self.path}: {error}; make room, and resume"
            ) from error

    def _drop_after(self, step: int) -> None:
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _step(line) <= step]
        if len(kept) < len(lines):
            with write_atomically(self.path) as fresh:
                fresh.write_text("".join(kept), encoding="utf-8")

    def close(self) -> None:
        """Write what TensorBoard still holds back."""
        if self.board is not None:
            self.board.close()


def _step(line: str) -> float:
    """Step of an entry; of one that was cut short, none that is kept."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
