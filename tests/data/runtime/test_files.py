from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from optformer.data.runtime.files import write_atomically


def test_write_atomically__new_folder__holds_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "report.md"
    with write_atomically(path) as temporary:
        temporary.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert list(path.parent.iterdir()) == [path]


def test_write_atomically__block_raises__leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("before")
    with suppress(KeyboardInterrupt), write_atomically(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically__nothing_written__is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "report.md"):
        pass
