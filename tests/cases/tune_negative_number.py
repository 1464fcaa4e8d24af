"""A script with argparse takes every value of its space, -5e-05 too."""

from pathlib import Path

from _tuning import command, trials

from optformer.serving.cli import main

SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
print("acc:", parser.parse_args().x)
"""
argv = command(SCRIPT, "--trials", "6", arguments=("--x", "{x}"))
Path("space.yaml").write_text("x: {type: float, low: -1e-4, high: -1e-6}\n")
assert main(argv[4:]) == 0
assert [trial.value for trial in trials()] == [trial.params["x"] for trial in trials()]
