"""`optformer finetune`: teach a model a team's own studies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from optformer.serving.cli import console
from optformer.serving.cli.logs import read_logs
from optformer.serving.cli.run_options import (
    add_run_options,
    add_table_options,
    check_run_options,
    only_run,
)

if TYPE_CHECKING:
    from optformer.training.finetune import Finetuning


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "finetune",
        description="Trains the shipped model further on your own studies, and says how much "
        "better it predicts some that are held out. Then create_study(..., model=OUT).",
    )
    parser.add_argument(
        "--studies",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="storages such as sqlite:///optuna.db, and tables of trials (.csv, .jsonl, .parquet, "
        "with NAME.space.yaml beside them) or folders of tables",
    )
    add_table_options(parser)
    add_run_options(parser)
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="start from this checkpoint, not the shipped one"
    )
    parser.add_argument("--steps", type=int, help="steps of training (default 150)")
    parser.add_argument(
        "--held-out",
        type=float,
        metavar="SHARE",
        help="share of the studies that is kept to measure what was learned (default 0.15)",
    )
    parser.add_argument("--seed", type=int, help="seed of the run (default 0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fine-tune, and write what it brought; returns the exit status."""
    from optformer.data.studies.errors import ConfigError

    if args.resume == bool(args.studies):
        raise ConfigError("give --studies for a new run, or --resume for one in OUT")
    check_run_options(args)
    with only_run(args.out):
        _write(_finetune(args))
    return 0


def _finetune(args: argparse.Namespace) -> Finetuning:
    from optformer.data.studies.errors import ConfigError
    from optformer.training.finetune import finetune, prepare

    chosen = {
        name: getattr(args, name)
        for name in ("model", "steps", "held_out", "seed")
        if getattr(args, name) is not None
    }
    if not args.resume:
        studies = read_logs(args.studies, metric=args.metric, goal=args.goal, training=True)
        for study, reason in prepare(studies, args.out, **chosen).items():
            console.note(f"left out: study {study}: {reason}")
    elif chosen:
        raise ConfigError(
            f"--resume goes on with the run as it was begun; leave {', '.join(chosen)} out"
        )
    return finetune(
        args.out,
        model=args.model,
        resume=args.resume,
        max_seconds=args.max_seconds,
        threads=args.threads,
        cpu=args.cpu,
    )


def _write(result: Finetuning) -> None:
    console.write(f"learned from {result.learned} studies, {result.held_out} held out")
    if result.before is None or result.after is None or result.improvement is None:
        console.write("too few studies to hold any out: what it brought was not measured")
    else:
        console.table(
            ["nats a held-out trial", "mean", "low", "high"],
            [
                (name, round(loss.value, 3), round(loss.low, 3), round(loss.high, 3))
                for name, loss in (
                    ("before", result.before),
                    ("after", result.after),
                    ("improvement", result.improvement),
                )
            ],
        )
        if result.improvement.value <= 0:
            console.note("it predicts them no better than before: keep the model it started from")
    console.write(f"checkpoint: {result.checkpoint}")
