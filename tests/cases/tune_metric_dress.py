"""A metric is read as people print it: in a type, in colour, on standard error."""

from _tuning import trials, tune

LINES = (
    "import numpy as np; print({'acc': np.float64(0.93)})",
    "import torch; print('acc:', torch.tensor(0.93))",
    "print('\\x1b[1macc\\x1b[0m: \\x1b[32m0.93\\x1b[0m')",
    "import logging; logging.warning('acc: 0.93')",
    "import sys; print('acc: 0.93', file=sys.stderr)",
)
for number, line in enumerate(LINES):
    done = tune(line, "--trials", "1", "--out", str(number))
    assert done.returncode == 0, (line, done.stderr)
    assert "acc was read from line " in done.stdout, done.stdout
    (trial,) = trials(f"sqlite:///{number}/study.db")
    assert trial.value is not None, line
    assert abs(trial.value - 0.93) < 1e-6, (line, trial)
