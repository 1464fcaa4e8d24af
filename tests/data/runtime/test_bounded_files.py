from __future__ import annotations

import os
from pathlib import Path

import pytest

from optformer.data.runtime.bounded_files import read_file


def test_read_file__regular__its_bytes_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, limit=5) == b"12345"
    with pytest.raises(OSError, match="holds more than 4 bytes"):
        read_file(path, limit=4)


def test_read_file__pipe_or_device__an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match="is no regular file"):
            read_file(path, limit=5)


def test_read_file__many_odd_files__none_stays_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        with pytest.raises(OSError, match="is no regular file"):
            read_file(tmp_path / "pipe", limit=5)
    assert len(os.listdir("/dev/fd")) == before
