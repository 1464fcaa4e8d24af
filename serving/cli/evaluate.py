"""`optformer evaluate`: measure a model's predictions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from optformer.serving.cli import console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        description="Measures how much a model knows about functions from a Gaussian process, "
        "between knowing nothing (share 0) and the exact process (share 1), in nats a target.",
    )
    parser.add_argument("--model", help="checkpoint directory (default: the shipped model)")
    parser.add_argument(
        "--contexts",
        nargs="+",
        choices=("uniform", "gp-ei"),
        default=["uniform", "gp-ei"],
        help="how the given trials were chosen (default both)",
    )
    parser.add_argument(
        "--dimensions",
        nargs="+",
        type=int,
        metavar="N",
        default=[1, 2, 3, 4, 6, 8],
        help="numbers of parameters (default 1 2 3 4 6 8)",
    )
    parser.add_argument(
        "--studies", type=int, default=96, help="studies of each kind and length (default 96)"
    )
    parser.add_argument(
        "--imitation",
        action="store_true",
        help="also measure the policy: its likelihood, and its searches beside its teacher's",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the scores into the record and the model card of the checkpoint in --model",
    )
    parser.add_argument("--seed", type=int, default=2024, help="seed of the studies (default 2024)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write tables of scores; returns the exit status."""
    from dataclasses import asdict

    from optformer.checkpoint import load_checkpoint
    from optformer.data.errors import ConfigError
    from optformer.training.config import PriorConfig
    from optformer.training.evaluate import policy_scores, prediction_scores
    from optformer.training.imitation import imitation_score
    from optformer.training.model_card import write_model_card

    if args.studies < 1 or args.seed < 0 or min(args.dimensions) < 1:
        raise ConfigError(
            "--studies and --dimensions must be at least 1 and --seed at least 0, "
            f"got {args.studies}, {args.dimensions} and {args.seed}"
        )
    if args.record and args.model is None:
        raise ConfigError("--record needs the checkpoint's directory in --model")
    checkpoint = load_checkpoint(args.model)
    tables: dict[str, Sequence[Any]] = {
        "Prediction: negative log-likelihood on Gaussian-process samples": prediction_scores(
            checkpoint,
            contexts=args.contexts,
            dimensions=args.dimensions,
            studies=args.studies,
            seed=args.seed,
        )
    }
    if args.imitation:
        prior = PriorConfig(**checkpoint.run["config"]["prior"])
        tables["Policy: negative log-likelihood a parameter"] = policy_scores(
            checkpoint, prior, seed=args.seed
        )
        tables["Policy: searches beside its teacher"] = [
            imitation_score(checkpoint, seed=args.seed)
        ]
    rows = {name: [asdict(score) for score in scores] for name, scores in tables.items()}
    for name, table in rows.items():
        console.write(f"{name}\n")
        console.table(
            list(table[0]),
            [[f"{v:.3f}" if isinstance(v, float) else v for v in row.values()] for row in table],
        )
        console.write()
    if args.record:
        console.write(f"model card: {write_model_card(args.model, rows)}")
    return 0
