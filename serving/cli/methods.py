"""`optformer methods`: list the search methods."""

from __future__ import annotations

import argparse

from optformer.serving.cli import console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "methods", description="Lists the search methods, for `optformer benchmark --methods`."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a table of names and first lines of documentation; returns the exit status."""
    from optformer.data.errors import MissingExtraError
    from optformer.serving.benchmarks.rivals import describe_method, method_names

    rows = []
    for name in method_names():
        try:
            rows.append((name, f"{describe_method(name)}."))
        except MissingExtraError as error:
            rows.append((name, f"not installed: {error}"))
    console.table(["method", "what it is"], rows)
    return 0
