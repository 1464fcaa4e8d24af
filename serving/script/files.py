"""Read what scripts leave behind, whatever that is."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def read_file(path: Path, *, limit: int) -> bytes:
    """Read a file that a script may have made into anything.

    Only regular files are read (a pipe would wait for ever, a device would never end), and only
    those of bounded size.

    Args:
        path: The file, or a link to it.
        limit: Bytes it may hold.

    Raises:
        OSError: It is not there, is no regular file, is too large, or cannot be read.
    """
    with _open(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"{path} holds more than {limit:,} bytes")
    return content


def read_piece(path: Path, start: int, *, limit: int) -> tuple[bytes, int]:
    """Read what a growing file holds from a place on.

    Args:
        path: The file, or a link to it.
        start: The place, in bytes.
        limit: Bytes to read at most.

    Returns:
        What is there, and the size of the file.

    Raises:
        OSError: It is not there, is no regular file, or cannot be read.
    """
    with _open(path) as file:
        return os.pread(file.fileno(), limit, start), os.fstat(file.fileno()).st_size


def _open(path: Path) -> BinaryIO:
    """Open a regular file for reading."""
    # Not blocking: opening a pipe would wait for somebody to write.
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path} is no regular file")
    return file
