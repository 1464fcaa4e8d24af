"""Two searches share a study: the second one leaves the first one's running trials alone."""

import subprocess
import time
from pathlib import Path

from _tuning import command, trials, tune

SHARED = ("--storage", "sqlite:///shared.db", "--trials", "3")
SLOW = "import sys, time; time.sleep(6); print('acc:', sys.argv[1])"

first = subprocess.Popen(command(SLOW, *SHARED, "--out", "one"), stderr=subprocess.PIPE, text=True)
while not list(Path("one").glob("trial-*/stdout.txt")):
    time.sleep(0.1)
second = tune("import sys; print('acc:', sys.argv[1])", *SHARED, "--out", "two", "--resume")
_, error = first.communicate()
stored = trials("sqlite:///shared.db")
print(first.returncode, second.returncode, [(trial.status.value, trial.reason) for trial in stored])
assert first.returncode == second.returncode == 0, error + second.stderr
assert all(trial.value == trial.params["x"] for trial in stored)
