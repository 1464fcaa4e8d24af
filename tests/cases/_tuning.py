"""What the cases about `optformer tune` share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from optformer.data.studies.trials import Trial
from optformer.serving.study.study import load_study

PROGRAM = "import sys; from optformer.serving.cli import main; sys.exit(main())"


def command(script: str, *options: str, arguments: tuple[str, ...] = ("{x}",)) -> list[str]:
    """The command that tunes a Python program on the metric `acc`, in a space of one number."""
    Path("space.yaml").write_text("x: {type: float, low: 0, high: 1}\n")
    return [
        *[sys.executable, "-P", "-c", PROGRAM, "tune", "--space", "space.yaml"],
        *["--metric", "acc", "--goal", "maximize", "--seed", "0", *options],
        *["--", sys.executable, "-c", script.replace("{", "{{").replace("}", "}}"), *arguments],
    ]


def tune(
    script: str, *options: str, arguments: tuple[str, ...] = ("{x}",)
) -> subprocess.CompletedProcess[str]:
    """Tune a Python program."""
    return subprocess.run(
        command(script, *options, arguments=arguments), capture_output=True, text=True
    )


def trials(storage: str = "sqlite:///runs/tune/study.db") -> list[Trial]:
    """The trials that a search has stored."""
    return load_study(storage=storage, name="tune").trials
