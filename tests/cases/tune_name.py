"""A study's name leads out of `runs` only with `--out`."""

import os

from _tuning import tune

done = tune("print('acc: 1')", "--trials", "1", "--name", "../../x")
assert done.returncode == 2
assert "give --out" in done.stderr, done.stderr
assert os.listdir(".") == ["space.yaml"]
