"""`optformer generate`: histories of search methods on real objectives, or tables of trainings."""

from __future__ import annotations

import argparse
from pathlib import Path

from optformer.serving.cli import console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "generate",
        description="Runs search methods on scikit-learn models and writes every trial to a folder "
        "of Parquet files; or, with --trainings, trains many small networks at once and writes a "
        "table of each family. The same command again goes on where it stopped.",
    )
    parser.add_argument(
        "--methods",
        type=_names,
        metavar="NAMES",
        help="search methods, separated by commas: random,regularized-evolution,gp-ei",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--trainings",
        type=_names,
        metavar="PATTERNS",
        help="families of trainings, separated by commas: '*', 'perceptron-*'",
    )
    what.add_argument(
        "--objectives",
        type=_names,
        metavar="PATTERNS",
        help="objectives, separated by commas: '*', 'perceptron-*', 'splines-phase'",
    )
    parser.add_argument("--trials", type=int, default=50, help="trials a study (default 50)")
    parser.add_argument(
        "--seeds", type=int, default=1, help="studies a method and objective (default 1)"
    )
    parser.add_argument(
        "--datasets", type=int, default=10, help="data sets a family of trainings (default 10)"
    )
    parser.add_argument(
        "--configurations", type=int, default=200, help="trainings a data set (default 200)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument(
        "--generated",
        type=int,
        default=0,
        metavar="N",
        help="also match patterns against N generated data sets of each kind, "
        "<family>-classification-<seed> and <family>-regression-<seed> (default 0)",
    )
    parser.add_argument(
        "--allow-reserved",
        action="store_true",
        help="also run objectives that are kept for evaluation; never train on their histories",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the histories or tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Generate, and say what is there; returns the exit status."""
    return _trainings(args) if args.trainings else _histories(args)


def _trainings(args: argparse.Namespace) -> int:
    from optformer.data.corpora.trainings.corpus import TrainingCorpusConfig, generate_trainings
    from optformer.data.studies.errors import ObjectiveError

    config = TrainingCorpusConfig(
        families=args.trainings,
        out=args.out,
        datasets=args.datasets,
        configurations=args.configurations,
        workers=args.workers,
    )
    summary = generate_trainings(config, progress=True)
    console.write(
        f"{summary.finished} tables finished, {summary.skipped} were there already, "
        f"{len(summary.failed)} failed; tables: {args.out}"
    )
    if summary.failed:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in summary.failed.items())
        raise ObjectiveError(f"run the same command again to retry: {reasons}")
    return 0


def _histories(args: argparse.Namespace) -> int:
    from optformer.data.corpora.generation import GenerationConfig, generate
    from optformer.data.studies.errors import ConfigError, ObjectiveError

    if not args.methods:
        raise ConfigError("--objectives needs --methods: which search methods to run on them")
    config = GenerationConfig(
        methods=args.methods,
        objectives=args.objectives,
        out=args.out,
        trials=args.trials,
        seeds=args.seeds,
        workers=args.workers,
        generated=args.generated,
        allow_reserved=args.allow_reserved,
    )
    summary = generate(config, progress=True)
    if summary.left_out:
        console.note(f"reserved, left out: {', '.join(summary.left_out)}")
    console.write(
        f"{summary.finished} studies finished, {summary.skipped} were there already, "
        f"{len(summary.failed)} failed; histories: {args.out}"
    )
    if summary.failed:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in summary.failed.items())
        raise ObjectiveError(f"run the same command again to retry: {reasons}")
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
