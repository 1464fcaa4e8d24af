"""A search lies in the folder it is given, whatever that is called."""

import os
from pathlib import Path

from _tuning import tune

for name in ("what?", "what?2", "feature%2Ftune", "{x}", "a#b", "50%", "é", "a b"):
    done = tune("print('acc: 1')", "--trials", "1", "--out", f"runs/{name}")
    assert done.returncode == 0, (name, done.stderr)
    assert (Path("runs") / name / "study.db").is_file(), name
assert len(os.listdir("runs")) == 8, os.listdir("runs")
Path("in%2Fside").mkdir()
os.chdir("in%2Fside")
done = tune("print('acc: 1')", "--trials", "1")
assert done.returncode == 0, done.stderr
