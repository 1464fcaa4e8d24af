"""`optformer methods`: list the search methods, and the systems that train while they search."""

from __future__ import annotations

import argparse

from optformer.serving.cli import console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "methods",
        description="Lists the methods for `optformer benchmark --methods`, and the systems "
        "with training runs of their own.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write tables of names and first lines of documentation; returns the exit status."""
    from optformer.data.studies.errors import MissingExtraError
    from optformer.data.systems import architectures, optimizer_search, populations
    from optformer.data.systems.architectures.registry import ARCHITECTURES
    from optformer.data.systems.optimizer_search.registry import RULE_SEARCHES
    from optformer.serving.benchmarks.methods import METHODS

    rows = []
    for name in METHODS.names():
        try:
            rows.append((name, METHODS.describe(name)))
        except MissingExtraError as error:
            rows.append((name, f"not installed: {error}"))
    console.table(["method", "what it is"], rows)
    console.write()
    console.table(
        ["system", "folder", "what it is"],
        [
            (name, package.__name__.removeprefix("optformer.").replace(".", "/"), describe(name))
            for package, names, describe in (
                (populations, populations.POPULATIONS.names, populations.POPULATIONS.describe),
                (architectures, ARCHITECTURES.names, ARCHITECTURES.describe),
                (optimizer_search, RULE_SEARCHES.names, RULE_SEARCHES.describe),
            )
            for name in names()
        ],
    )
    return 0
