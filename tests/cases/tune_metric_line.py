"""A metric of several lines, a date, a time or a fraction is refused with its line, not guessed."""

from _tuning import trials, tune

LINES = (
    "print('val acc: 0.8'); print('train acc: 0.99')",
    "print('val: loss=1 acc=0.8'); print('train: loss=1 acc=0.99')",
    "print('acc: 2024-05-06')",
    "print('acc: 12:30')",
    "print('acc: 93/100')",
)
for number, line in enumerate(LINES):
    done = tune(line, "--trials", "1", "--out", str(number))
    assert done.returncode == 2, (line, done.stdout)
    (trial,) = trials(f"sqlite:///{number}/study.db")
    assert trial.reason is not None, line
    assert "line 1 " in trial.reason, trial.reason
    assert "acc" in trial.reason, trial.reason
