from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.serving.script import supervisor
from optformer.serving.script.supervisor import Log
from optformer.serving.script.trial_folder import TrialFolder

Run = Callable[..., dict[str, Any]]


class Patient:
    """Stands for `Stop` where nobody asks to end."""

    requests = 0

    def wait_for_space(self, write: Callable[[], None]) -> None:
        write()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("LOG_BYTES", 3000), ("HEAD_BYTES", 300), ("TAIL_BYTES", 1000)):
        monkeypatch.setattr(supervisor, name, size)


@pytest.mark.usefixtures("small")
def test_log__more_than_fits__beginning_and_end_are_kept_in_whole_lines(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"))
    lines = [f"line {n}\n".encode() for n in range(5000)]
    for line in lines:
        log.write(line)
        assert (tmp_path / "log").stat().st_size <= 3000
    log.settle(Patient())  # type: ignore[arg-type]
    kept = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    gap = next(n for n, line in enumerate(kept) if line.startswith(b"[..."))
    head, tail = kept[:gap], kept[gap + 1 :]
    assert head == lines[: len(head)]
    assert len(head) > 10
    assert tail == lines[-len(tail) :]
    assert len(tail) > 50
    left_out = int(kept[gap].split()[1].replace(b",", b""))
    missing = sum(map(len, lines[len(head) : -len(tail)]))
    assert missing <= left_out < missing * 1.1  # earlier remarks of this kind count, too


@pytest.mark.usefixtures("small")
@given(st.lists(st.binary(max_size=2500), max_size=30))
def test_log__any_output__bounded_and_whole_when_it_fits(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = Log(str(path))
    for piece in pieces:
        log.write(piece)
    log.settle(Patient())  # type: ignore[arg-type]
    written, output = path.read_bytes(), b"".join(pieces)
    assert len(written) <= 3000
    if len(output) <= 3000:
        assert written == output


@pytest.mark.usefixtures("small")
def test_log__disk_full_for_a_while__the_end_is_written_when_it_has_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(str(tmp_path / "log"))
    log.write(b"first\n")
    with monkeypatch.context() as patch:

        def write(file: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "write", write)
        for n in range(2000):
            log.write(b"line %d\n" % n)
        assert len(log._waiting) <= 3000
    log.settle(Patient())  # type: ignore[arg-type]
    text = (tmp_path / "log").read_bytes()
    assert text.startswith(b"first\n")
    assert text.endswith(b"line 1998\nline 1999\n")
    assert b"bytes of output left out" in text


@pytest.mark.parametrize(
    "deed",
    [
        "shutil.rmtree(out); os.mkdir(out)",
        "shutil.rmtree(out)",
        "os.remove(out + '/stdout.txt'); os.mkfifo(out + '/stdout.txt')",
        "os.remove(out + '/stdout.txt'); os.symlink('/dev/zero', out + '/stdout.txt')",
        "os.remove(out + '/stdout.txt'); os.makedirs(out + '/stdout.txt/x')",
        "os.remove(out + '/optformer.json'); os.mkfifo(out + '/optformer.json')",
        "os.remove(out + '/stdout.txt'); os.chmod(out, 0o500)",
        "os.symlink('/dev/full', out + '/.optformer.json.%d' % os.getppid())",
    ],
)
def test_supervisor__script_disturbs_its_folder__output_and_ending_are_kept(
    deed: str, run: Run, folder: TrialFolder
) -> None:
    program = f"import os, shutil, sys; out = sys.argv[1]; print('before', flush=True); {deed}"
    ending = run(program + "; print('after')", str(folder.path), timeout=30)
    assert ending["code"] == 0
    assert (folder.path / "stdout.txt").read_text() == "before\nafter\n"


def test_supervisor__output_without_end__bounded(run: Run, folder: TrialFolder) -> None:
    ending = run(
        "import os\nfor n in range(1200): os.write(1, b'x' * 65535 + b'\\n')\nprint('acc: 1')"
    )
    assert ending["code"] == 0
    stdout = folder.path / "stdout.txt"
    assert stdout.stat().st_size <= supervisor.LOG_BYTES
    assert stdout.read_bytes().endswith(b"x\nacc: 1\n")


def test_supervisor__script_writes_into_its_own_log__both_are_kept(
    run: Run, folder: TrialFolder
) -> None:
    run("import sys; open(sys.argv[1] + '/stdout.txt', 'w').write('mine\\n'); print('printed')",
        str(folder.path))  # fmt: skip
    assert sorted((folder.path / "stdout.txt").read_text().split()) == ["mine", "printed"]


def test_supervisor__closed_outputs__ends_with_the_script(run: Run) -> None:
    ending = run("import os, time; os.close(1); os.close(2); time.sleep(0.5)")
    assert ending["code"] == 0
    assert ending["seconds"] >= 0.5
