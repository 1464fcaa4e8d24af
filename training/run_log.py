"""Where a run's numbers go: TensorBoard, and a line of JSON each time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from optformer.data.errors import CheckpointError


class RunLog:
    """Writes to `logs/` and `log.jsonl` of a run's directory.

    Args:
        directory: The run's.
        enabled: False writes nothing: of several processes, one keeps the log.
    """

    def __init__(self, directory: Path, enabled: bool = True):
        self.path = directory / "log.jsonl"
        self.board = SummaryWriter(str(directory / "logs")) if enabled else None

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

    def close(self) -> None:
        """Write what TensorBoard still holds back."""
        if self.board is not None:
            self.board.close()
