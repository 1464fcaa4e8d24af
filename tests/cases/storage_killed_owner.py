"""`fail_stale_trials` gives up the pending trial of a process that was killed, and neither that of
one that ended in order nor one's own; what comes of any of them is kept, once.
"""

import os
import subprocess
import sys

import optformer as of

WORKER = """
import os, sys, optformer as of
study = of.load_study(storage="sqlite:///s.db")
study.suggest()
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
"""

study = of.create_study(
    of.SearchSpace(x=of.Float(0, 1)),
    metric="m",
    goal="maximize",
    storage="sqlite:///s.db",
    name="s",
)
study.suggest()
for ends in ("in order", "killed"):
    subprocess.run([sys.executable, "-P", "-c", WORKER, ends], env=dict(os.environ), check=False)
assert [trial.number for trial in study.fail_stale_trials()] == [2]
for trial in study.trials:
    study.observe(trial, 0.5)
assert [trial.value for trial in study.trials] == [0.5, 0.5, None, 0.5]
