"""A terminal whose encoding lacks a character does not end the search."""

import os
import subprocess
from pathlib import Path

from _tuning import command

argv = command("print('acc: 1')", "--trials", "2")
Path("space.yaml").write_text("x: {type: categorical, choices: [größe, 日本]}\n", encoding="utf-8")
environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
done = subprocess.run(argv, env=environment, capture_output=True)
assert done.returncode == 0, done.stderr
assert b"2 completed" in done.stdout, done.stdout
