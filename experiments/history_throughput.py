"""How many trials a second the bulk generators of synthetic histories make, by method.

    python experiments/history_throughput.py --workers 2

Each worker is a process with one thread that makes batches of its own, as training does. "Of the
clock" is what all workers together made by the clock, which other work on the machine slows; "of a
core" is what one made in a second of its own processor time.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from tqdm import tqdm

from optformer.data.corpora.synthetic.functions import draw_functions
from optformer.data.corpora.synthetic.histories import METHODS
from optformer.data.corpora.synthetic.spaces import draw_spaces

PER_SPACE = 8  # functions on a space


def make_histories(
    method: str, parameters: int, studies: int, trials: int, least: float, seed: int
) -> tuple[int, float, float]:
    """Make batches for some seconds; returns trials made, and seconds of clock and processor."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    spaces = draw_spaces(studies // PER_SPACE, parameters, np.random.default_rng(seed))
    functions = draw_functions(spaces, PER_SPACE, generator)
    METHODS[method](functions, 3, generator)  # the first call is slower
    made, clock, core = 0, time.perf_counter(), time.process_time()
    while not made or time.process_time() - core < least:
        made += METHODS[method](functions, trials, generator).gain.numel()
    return made, time.perf_counter() - clock, time.process_time() - core


def main() -> None:
    """Measure every method and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--studies", type=int, default=256, help="studies a batch")
    parser.add_argument("--trials", type=int, default=50, help="trials a study")
    parser.add_argument("--parameters", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--seconds", type=float, default=2.0, help="least time of a measurement")
    args = parser.parse_args()

    lines = ["| method | parameters | trials a second of the clock | of a core |", "|---" * 4 + "|"]
    jobs = [(method, parameters) for method in METHODS for parameters in args.parameters]
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as workers:
        for method, parameters in tqdm(jobs):
            measure = partial(
                make_histories, method, parameters, args.studies, args.trials, args.seconds
            )
            made, clock, core = np.array(list(workers.map(measure, range(args.workers)))).T
            rate = made / core
            lines.append(
                f"| {method} | {parameters} | {(made / clock).sum():,.0f} | {rate.mean():,.0f} |"
            )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
