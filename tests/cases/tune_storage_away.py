"""A storage that cannot be written for half a minute costs no result, and ends no script."""

import sqlite3
import subprocess
import time
from pathlib import Path

from _tuning import command, trials

SLOW = "import sys, time; time.sleep(4); print('acc:', sys.argv[1])"
search = subprocess.Popen(
    command(SLOW, "--trials", "3", "--parallel", "2"), stderr=subprocess.PIPE, text=True
)
while len(list(Path("runs/tune").glob("trial-*/stdout.txt"))) < 2:
    time.sleep(0.1)
holder = sqlite3.connect("runs/tune/study.db")
holder.execute("begin exclusive")
time.sleep(32)
holder.rollback()
_, error = search.communicate()
assert search.returncode == 0, error
assert "trying again, scripts run on" in error, error
assert [trial.value for trial in trials()] == [trial.params["x"] for trial in trials()]
