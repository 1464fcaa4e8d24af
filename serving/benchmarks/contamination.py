"""Which benchmark tasks a checkpoint was trained on, as its own record says.

`run.json` of a checkpoint may hold `data.tasks`: a list of `suite/task` names, or of patterns such
as `sklearn/*`, whose histories were training material. A record without the list names none.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from optformer.data.studies.errors import CheckpointError


def tasks_in_training(model: Path | None = None) -> tuple[str, ...]:
    """The `suite/task` names and patterns that a checkpoint was trained on.

    Args:
        model: Folder of the checkpoint; None is the shipped one.

    Raises:
        CheckpointError: The checkpoint cannot be read, or the entry is no list of text.
    """
    from optformer.model.checkpoint import load_checkpoint

    tasks = load_checkpoint(model).run.get("data", {}).get("tasks", [])
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise CheckpointError(
            f"data.tasks in the record of {model or 'the shipped model'} must be a list of "
            f"suite/task names, got {tasks!r}"
        )
    return tuple(tasks)


def was_seen(suite: str, task: str, trained_on: Sequence[str]) -> bool:
    """Whether a task is among those of `tasks_in_training`."""
    return any(fnmatchcase(f"{suite}/{task}", pattern) for pattern in trained_on)
