"""`optformer report`: who is better, and by how much, in a folder of benchmark results."""

from __future__ import annotations

import argparse
from pathlib import Path

from optformer.serving.cli import console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "report",
        description="Writes report.md, report.html (one page, pictures inside) and pictures of "
        "curves and ranks from the results that `optformer benchmark` left in a folder, and prints "
        "the report.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/benchmark"),
        help="folder of the results (default runs/benchmark)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write and print the report; returns the exit status."""
    from optformer.serving.benchmarks.report import write_report

    console.write(write_report(args.out))
    return 0
