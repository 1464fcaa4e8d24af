"""`optformer train`: train a model from a configuration file."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from optformer.serving.cli import console


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
    parser.add_argument("--out", type=Path, required=True, help="directory of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUT")
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
        "--max-seconds", type=float, default=math.inf, help="stop after so long (default: never)"
    )
    parser.add_argument("--threads", type=int, help="threads of the training process")
    parser.add_argument("--cpu", action="store_true", help="leave an accelerator alone")
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
    from optformer.data.errors import ConfigError
    from optformer.training.train import train

    if not args.max_seconds > 0:
        raise ConfigError(f"--max-seconds must be above 0, got {args.max_seconds}")
    if args.threads is not None and args.threads < 1:
        raise ConfigError(f"--threads must be at least 1, got {args.threads}")
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
    )
    if os.environ.get("RANK", "0") == "0":  # of processes that torchrun started, one speaks
        console.write(f"checkpoint: {checkpoint}")
    return 0
