"""Read files that somebody else may have made into anything: a script, or a folder from outside."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO


def read_file(path: Path, *, limit: int) -> bytes:
    """Read a whole file.

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


def read_json(path: Path, *, limit: int) -> Any:
    """Read one document of JSON, as `read_file` reads.

    Raises:
        OSError: The file is not there, is no regular file, is too large, or cannot be read.
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(read_file(path, limit=limit).decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


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
