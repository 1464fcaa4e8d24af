"""Searches to be disturbed, and a check that nothing they measured was lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from optformer.serving.study.study import load_study

TESTS = Path(__file__).resolve().parents[1]

SPACE = "x: {type: float, low: 0, high: 1}\n"

# Writes what it measured into the ledger before anybody else can know, and so that it stays there.
SCRIPT = """
import os, random, sys, time
number, x, ledger = sys.argv[1:]
time.sleep(random.random() * 0.6)
with open(ledger, "a") as file:
    file.write(f"{number} {float(x) ** 2!r}\\n")
    file.flush()
    os.fsync(file.fileno())
print("loss:", repr(float(x) ** 2))
"""


class Search:
    """A search of `optformer tune` that suggests at random, so that nothing waits for a model.

    Args:
        folder: Where everything but the search's own folder lies.
        out: The search's folder.
        storage: Address of its storage.
        trials: Finished trials wanted.
        parallel: Scripts at a time.
    """

    def __init__(
        self, folder: Path, out: Path, storage: str, *, trials: int, parallel: int = 3
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.storage, self.out, self.log = storage, out, folder / "log.txt"
        self._ledger = folder / "ledger.txt"
        self._ledger.touch()
        (folder / "space.yaml").write_text(SPACE)
        (folder / "script.py").write_text(SCRIPT)
        self._command = [
            *[sys.executable, "-P", str(TESTS / "serving" / "cli" / "random_optformer.py"), "tune"],
            *["--space", str(folder / "space.yaml"), "--metric", "loss", "--goal", "minimize"],
            *["--storage", storage, "--out", str(out), "--seed", "0"],
            *["--trials", str(trials), "--parallel", str(parallel)],
        ]
        script = [sys.executable, "-I", str(folder / "script.py"), "{trial}", "{x}"]
        self._script = ["--", *script, str(self._ledger)]
        self._trials = trials

    def start(self, *, resume: bool = False) -> subprocess.Popen[bytes]:
        """Start the search, or go on with it."""
        options = ["--resume"] if resume else []
        with self.log.open("ab") as log:
            self._said = log.tell()
            return subprocess.Popen(
                [*self._command, *options, *self._script],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def await_first_words(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a search that was just started says something, or has ended."""
        while self.log.stat().st_size == self._said and process.poll() is None:
            time.sleep(0.05)

    def faults(self) -> list[str]:
        """What is wrong with the study after the search."""
        time.sleep(1)  # scripts that nobody waits for are still counted
        trials = load_study(storage=self.storage, name="tune").trials
        lines = [line.split() for line in self._ledger.read_text().splitlines()]
        measured = {int(number): float(value) for number, value in lines}
        twice = [n for n, count in Counter(number for number, _ in lines).items() if count > 1]
        found = [f"trial {number} was run twice" for number in twice]
        for number, value in measured.items():
            trial = trials[number] if number < len(trials) else None
            if trial is None or trial.value != value:
                found.append(f"trial {number} measured {value}; stored is {trial}")
        for trial in trials:
            if trial.has_value and trial.number not in measured:
                found.append(f"{trial} was never measured")
        if sum(trial.has_value for trial in trials) != self._trials:
            found.append(f"{self._trials} trials were wanted; see {self.log}")
        pending = sum(trial.status.value == "pending" for trial in trials)
        told = f"{len(trials)} trials, {len(measured)} measured, {pending} left pending"
        print(f"{told}, {len(found)} faults", flush=True)
        return found


def report(faults: list[str]) -> int:
    """Print what is wrong; returns the exit status."""
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0
