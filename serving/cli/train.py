"""`optformer train`: train a model from a configuration file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from optformer.serving.cli import console
from optformer.serving.cli.run_options import add_run_options, check_run_options, only_run


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train",
        description="Trains a model on synthetic studies, in as many runs as you like: "
        "--max-seconds ends one with a checkpoint, --resume goes on from it.",
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="YAML configuration, or the name of one that comes with the package (small.yaml)",
    )
    add_run_options(parser)
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="start from the weights of this checkpoint instead of random ones",
    )
    parser.add_argument(
        "--tables",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder of the configuration's tables and histories (default: here)",
    )
    parser.add_argument(
        "--pipeline",
        type=int,
        metavar="PARTS",
        help="of several processes, let each hold a stage of the model's layers, and send every "
        "batch through them in so many parts (default: each process holds the model)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, and write where the checkpoint is; returns the exit status."""
    from optformer.training.evaluation.validation import Validation
    from optformer.training.train import train

    check_run_options(args)
    with only_run(args.out):
        checkpoint = train(
            args.config,
            args.out,
            resume=args.resume,
            max_seconds=args.max_seconds,
            threads=args.threads,
            cpu=args.cpu,
            tables=args.tables,
            weights=args.weights,
            micro_batches=args.pipeline,
            validation=Validation,
        )
    if os.environ.get("RANK", "0") == "0":  # of processes that torchrun started, one speaks
        console.write(f"checkpoint: {checkpoint}")
    return 0
