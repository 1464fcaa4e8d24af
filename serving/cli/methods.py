"""`optformer methods`: list the search methods."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from optformer.serving.cli import console

if TYPE_CHECKING:
    from optformer.data.studies import StudyConfig

_CHOOSES_BY = {
    "": "expected improvement",
    "pi": "probability of improvement",
    "policy": "the policy it imitates, without ranking",
    "ts": "Thompson samples",
    "ucb": "an upper confidence bound",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "methods", description="Lists the search methods, for `optformer benchmark --methods`."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a table of names and first lines of documentation; returns the exit status."""
    from optformer.data.errors import MissingExtraError
    from optformer.data.parameters import Float
    from optformer.data.spaces import SearchSpace
    from optformer.data.studies import StudyConfig
    from optformer.serving.benchmarks.rivals import method_names

    config = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), metric="value", goal="maximize")
    rows = []
    for name in method_names():
        try:
            rows.append((name, _line(name, config)))
        except MissingExtraError as error:
            rows.append((name, f"not installed: {error}"))
    console.table(["method", "what it is"], rows)
    return 0


def _line(name: str, config: StudyConfig) -> str:
    """What a method is, in a line."""
    from optformer.data import methods
    from optformer.serving.benchmarks.optuna_rivals import SAMPLERS, quiet

    if name in SAMPLERS:
        with quiet():
            return f"Optuna's {type(SAMPLERS[name](0)).__name__}, to compare with."
    if name in methods.names():
        return (type(methods.create(name, config)).__doc__ or "").partition("\n")[0]
    return f"The pretrained model; chooses by {_CHOOSES_BY[name.partition('-')[2]]}."
