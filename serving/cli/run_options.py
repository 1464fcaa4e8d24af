"""Options that several commands share."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add where a run goes, how long it takes and what it computes with."""
    parser.add_argument("--out", type=Path, required=True, help="directory of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUT")
    parser.add_argument(
        "--max-seconds", type=float, default=math.inf, help="stop after so long (default: never)"
    )
    parser.add_argument("--threads", type=int, help="threads of the training process")
    parser.add_argument("--cpu", action="store_true", help="leave an accelerator alone")


def add_table_options(parser: argparse._ActionsContainer) -> None:
    """Add what is to be read from tables of trials."""
    parser.add_argument(
        "--metric", metavar="NAME", help="metric of the tables: a column metrics.NAME or NAME"
    )
    parser.add_argument(
        "--goal", choices=("maximize", "minimize"), help="direction of the tables' metric"
    )


def check_run_options(args: argparse.Namespace) -> None:
    """Raise `ConfigError` when a number is out of range."""
    from optformer.data.studies.errors import ConfigError

    if not args.max_seconds > 0:
        raise ConfigError(f"--max-seconds must be above 0, got {args.max_seconds}")
    if args.threads is not None and args.threads < 1:
        raise ConfigError(f"--threads must be at least 1, got {args.threads}")


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which is made when there is none.

    Of the processes that torchrun starts for one run, the first one holds it. A run that fails
    before it has written anything leaves no folder behind.

    Args:
        out: The folder.

    Raises:
        StorageError: Another run is going on there, or the folder cannot be locked.
        OSError: The folder cannot be made.
    """
    from optformer.serving.study.locks import locked

    if os.environ.get("RANK", "0") != "0":
        yield
        return
    lock, is_new = out / "run.lock", not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    busy = f"another run is going on in {out}; wait for its end, or give another --out"
    try:
        with locked(lock, patience=0.0, busy=busy):
            yield
    except BaseException:
        if is_new and list(out.iterdir()) == [lock]:
            lock.unlink()
            out.rmdir()
        raise
