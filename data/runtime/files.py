"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Write a file beside its place and rename it, so that nobody ever reads half of it.

    When the block raises, what it has written is removed and the file that was there stays. A
    process that is killed leaves a hidden file behind.

    Args:
        path: The file; its folder is made when there is none.

    Yields:
        A temporary path in the same folder, to be written in the block.

    Raises:
        OSError: The folder cannot be made, or the file cannot be renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # two processes may write one file
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 as a whole file; see `write_atomically`.

    Args:
        path: The file; its folder is made when there is none.
        text: What it is to hold.

    Raises:
        OSError: It cannot be written.
    """
    with write_atomically(path) as beside:
        beside.write_text(text, encoding="utf-8")
