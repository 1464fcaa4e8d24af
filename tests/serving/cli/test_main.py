from __future__ import annotations

import subprocess
import sys
import time
import warnings

import pytest

from optformer._version import __version__
from optformer.data.studies.errors import OptFormerWarning, StudyError
from optformer.serving import cli


def test_main__version__is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"optformer {__version__}\n"


def test_main__help__is_quick_and_lists_every_command() -> None:
    code = "import sys; from optformer.serving.cli import main; main(['--help'])"
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.5
    assert done.returncode == 0
    assert all(name in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("name", [*cli.COMMANDS])
def test_main__help_of_a_command__imports_nothing_heavy(name: str) -> None:
    code = (
        "import sys\nfrom optformer.serving.cli import main\n"
        f"try: main([{name!r}, '--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'optuna', 'pandas', 'matplotlib', 'sklearn', 'numpy'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_main__unknown_command__refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["tuen"])
    assert "invalid choice: 'tuen'" in capsys.readouterr().err


def test_main__command_after_dashes_where_none_belongs__refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["methods", "--", "python"])
    assert "methods takes no command after `--`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (StudyError("a study\n  is missing"), 2, "error: a study is missing\n"),
        (OSError(28, "No space left", "/x"), 2, "error: [Errno 28] No space left: '/x'\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_main__expected_fault__one_line_and_its_exit_status(
    error: BaseException,
    status: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(args: object) -> int:
        raise error

    monkeypatch.setattr("optformer.serving.cli.methods.run", run)
    assert cli.main(["methods"]) == status
    assert capsys.readouterr().err == text


def test_main__reader_of_the_output_gone__no_traceback() -> None:
    code = "import sys; from optformer.serving.cli import main; sys.exit(main(['methods']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate()
    assert error == ""
    assert process.returncode == 141


def test_main__warning__is_a_remark_without_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: object) -> int:
        warnings.warn("metric '\x1b[2J' is odd", OptFormerWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("optformer.serving.cli.methods.run", run)
    assert cli.main(["methods"]) == 0
    assert capsys.readouterr().err == "warning: metric '\\x1b[2J' is odd\n"
