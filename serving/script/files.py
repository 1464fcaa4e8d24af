"""Read what scripts leave behind, whatever that is."""

from __future__ import annotations

import os
import stat
from pathlib import Path


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
    # Not blocking: opening a pipe would wait for somebody to write.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"{path} holds more than {limit:,} bytes")
    return content
