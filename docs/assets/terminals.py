"""Draw what a terminal shows in the tutorial of the first ten minutes.

    python -P docs/assets/terminals.py

It runs the search of the page, and keeps the terminal when eight trials are finished
(`tune-running.svg`) and at the end (`tune-finished.svg`).
"""

from __future__ import annotations

import io
import os
import re
import runpy
import shlex
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import ClassVar

from rich.console import Console, Group, RenderableType
from rich.terminal_theme import MONOKAI
from rich.text import Text

from optformer.data.studies.trials import Trial
from optformer.serving.cli import main, search_display

HERE = Path(__file__).parent
PAGE = HERE.parent / "tutorials" / "first-ten-minutes.md"
BLOCKS = HERE.parents[1] / "tests" / "docs" / "test_pages.py"
FINISHED = 8
WIDTH = 104


class Recorded(search_display.LiveDisplay):
    """A display that is drawn, too."""

    lines: ClassVar[list[Text]] = []
    drawn: ClassVar[bool] = False

    def reported(self, trial: Trial, step: int, value: float) -> None:
        """Draw the terminal once, when two scripts have come some way."""
        super().reported(trial, step, value)
        steps = [script.latest[0] for script in self._progress.running if script.latest]
        full = self._progress.finished >= FINISHED and len(steps) == 2 and min(steps) > 3
        if full and not self.drawn:
            Recorded.drawn = True
            draw("tune-running", [*self.lines, self._table()])

    def _line(self, text: str, trial: Trial | None = None) -> None:
        super()._line(text, trial)
        style = "bold" if trial is not None and trial is self._progress.best else ""
        self.lines.append(Text(text, style, no_wrap=True, overflow="ellipsis"))


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        """True, so that the table is shown."""
        return True


def draw(name: str, lines: list[RenderableType]) -> None:
    """Write a picture of a terminal; the font is whatever the reader's system has."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Group(*lines))
    picture = console.export_svg(title="optformer tune", theme=MONOKAI, unique_id=name)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    (HERE / f"{name}.svg").write_text(picture.replace("Fira Code, ", ""), encoding="utf-8")


def run() -> None:
    """Run the page's search and draw both pictures."""
    blocks = list(runpy.run_path(str(BLOCKS))["read_blocks"](PAGE))
    command = next(block.code for block in blocks if block.code.startswith("optformer tune"))
    with tempfile.TemporaryDirectory() as name, chdir(name):
        for block in blocks:
            if block.title:
                Path(block.title).write_text(block.code, encoding="utf-8")
        os.environ.update(TERM="xterm", COLUMNS=str(WIDTH), PATH=_path())
        search_display.LiveDisplay = Recorded  # type: ignore[misc]
        stdout, sys.stdout = sys.stdout, (terminal := Terminal())
        try:
            status = main(shlex.split(command.replace("\\\n", " "))[1:])
        finally:
            sys.stdout = stdout
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", terminal.getvalue())
        end = shown[shown.rindex("study tune:") :].replace(str(Path.cwd()), "/home/me")
    draw("tune-finished", [*Recorded.lines[-4:], Text(end.rstrip())])
    sys.exit(status or not Recorded.drawn)


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


if __name__ == "__main__":
    run()
