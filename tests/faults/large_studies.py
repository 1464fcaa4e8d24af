"""Peak memory and time of the first suggestion in ten extreme, legal studies.

    python tests/faults/large_studies.py             # all of them, a minute
    python tests/faults/large_studies.py metadata    # those whose name begins so

Each runs in a process of its own, from the first import on. A study that takes more than 1 GiB or
3 seconds of computing, or whose last choices cannot be suggested, ends this with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

MOST_MIB, MOST_SECONDS = 1024, 3.0


def studies() -> dict[str, Callable[[], tuple[dict[str, Any], dict[str, str]]]]:
    """Parameters and metadata of each study, by its name."""
    import optformer as of

    def lists(count: int, word: str) -> dict[str, Any]:
        words = [word.format(i) for i in range(256)]
        return {f"c{i}": of.Categorical(words) for i in range(count)}

    path = "/data/experiments/2024/run-{0:05d}/checkpoints/epoch={0}-step=131.ckpt"
    x = {"x": of.Float(0, 1)}
    parents = {f"p{i}": of.Categorical([f"value {j}" for j in range(256)]) for i in range(30)}
    children = {
        f"x{i}": of.Float(0, 1, when={f"p{i}": [f"value {j}" for j in range(255)]})
        for i in range(30)
    }
    return {
        "10 lists of 256 words": lambda: (lists(10, "choice {}"), {}),
        "3 lists of 256 paths": lambda: (lists(3, path), {}),
        "64 lists of 256 paths": lambda: (lists(64, path), {}),
        "64 lists of 256 long texts": lambda: (lists(64, "{} " + "lorem ipsum " * 200), {}),
        "order of 5,000 numbers": lambda: ({"n": of.Ordinal(list(range(5000)))}, {}),
        "order of 200,000 words": lambda: (
            {"n": of.Ordinal([f"w {i}" for i in range(200_000)])},
            {},
        ),
        "one number": lambda: (x, {}),
        "metadata of 15 kB": lambda: (x, {"config": repr({f"k_{i}": i / 7 for i in range(500)})}),
        "metadata of 10 MB": lambda: (x, {"log": "step 1: loss 0.5, " * 600_000}),
        "100,000 entries of metadata": lambda: (x, {f"key {i}": f"{i}" for i in range(100_000)}),
        "30 conditions of 255 values": lambda: ({**parents, **children}, {}),
    }


def first_suggestion(name: str) -> None:
    """Ask for the first suggestions of one study, and print what it took as JSON."""
    import optformer as of

    parameters, metadata = studies()[name]()
    space = of.SearchSpace(parameters)
    warnings.simplefilter("ignore", of.OptFormerWarning)
    study = of.create_study(space, metric="loss", goal="minimize", seed=0, metadata=metadata)
    study.suggest()
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = {"mib": used.ru_maxrss / 1024, "seconds": time.process_time()}
    study.observe(space.validate(last_choices(parameters)), 0.5)
    found = [trial.params for trial in study.suggest(8)]
    took["legal"] = all(space.validate(params) == params for params in found)
    print(json.dumps(took))


def last_choices(parameters: dict[str, Any]) -> dict[str, Any]:
    """The point of the last choice of every list, as far as it is active."""
    point: dict[str, Any] = {}
    for name, parameter in parameters.items():
        when = parameter.when or {}
        if all(point.get(parent) in values for parent, values in when.items()):
            point[name] = parameter.grid()[-1] if parameter.num_levels else parameter.high
    return point


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names (default: all)")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        first_suggestion(args.only)
        return 0
    wanted = tuple(args.names) or ("",)
    missed = 0
    print(f"{'study':30} {'MiB':>6} {'seconds':>8}")
    for name in (name for name in studies() if name.startswith(wanted)):
        done = subprocess.run(
            [sys.executable, __file__, "--only", name],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(f"{name:30} {done.stderr.strip().splitlines()[-1][:90]}")
            missed += 1
            continue
        took = json.loads(done.stdout)
        right = took["mib"] <= MOST_MIB and took["seconds"] <= MOST_SECONDS and took["legal"]
        missed += not right
        print(f"{name:30} {took['mib']:6.0f} {took['seconds']:8.1f} {'' if right else 'MISSED'}")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
