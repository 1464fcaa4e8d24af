"""What scripts find after their search was killed is taken over by `--resume`."""

import subprocess
import time
from pathlib import Path

from _tuning import command, trials, tune

SLOW = "import sys, time; time.sleep(3); print('acc:', sys.argv[1])"
search = subprocess.Popen(command(SLOW, "--trials", "4", "--parallel", "2"))
while len(list(Path("runs/tune").glob("trial-*/stdout.txt"))) < 2:
    time.sleep(0.1)
search.kill()
search.wait()
assert {trial.status.value for trial in trials()} == {"pending"}
done = tune(SLOW, "--trials", "4", "--parallel", "2", "--resume")
assert done.returncode == 0, done.stderr
stored = trials()
assert [trial.value for trial in stored] == [trial.params["x"] for trial in stored], stored
assert len(stored) == 4
