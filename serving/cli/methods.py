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
    from optformer.data.systems.architectures import registry as architecture_registry
    from optformer.data.systems.optimizer_search import registry as rule_registry
    from optformer.data.systems.populations import registry as population_registry
    from optformer.serving.benchmarks.rivals import describe_method, method_names

    rows = []
    for name in method_names():
        try:
            rows.append((name, f"{describe_method(name)}."))
        except MissingExtraError as error:
            rows.append((name, f"not installed: {error}"))
    console.table(["method", "what it is"], rows)
    console.write()
    console.table(
        ["system", "folder", "what it is"],
        [
            (name, package.__name__.removeprefix("optformer.").replace(".", "/"), describe(name))
            for package, names, describe in (
                (populations, population_registry.names, population_registry.describe),
                (architectures, architecture_registry.names, architecture_registry.describe),
                (optimizer_search, rule_registry.names, rule_registry.describe),
            )
            for name in names()
        ],
    )
    return 0
