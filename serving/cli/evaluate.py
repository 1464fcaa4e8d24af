"""`optformer evaluate`: measure a model's predictions."""

from __future__ import annotations

import argparse

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
        metavar="FILE",
        help="also measure the imitation of methods, on studies drawn as in this training "
        "configuration",
    )
    parser.add_argument("--seed", type=int, default=2024, help="seed of the studies (default 2024)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write tables of scores; returns the exit status."""
    from optformer.checkpoint import load_checkpoint
    from optformer.data.errors import ConfigError
    from optformer.training.config import TrainingConfig
    from optformer.training.evaluate import policy_scores, prediction_scores

    if args.studies < 1 or args.seed < 0 or min(args.dimensions) < 1:
        raise ConfigError(
            "--studies and --dimensions must be at least 1 and --seed at least 0, "
            f"got {args.studies}, {args.dimensions} and {args.seed}"
        )
    prior = None if args.imitation is None else TrainingConfig.load(args.imitation).prior
    checkpoint = load_checkpoint(args.model)
    scores = prediction_scores(
        checkpoint,
        contexts=args.contexts,
        dimensions=args.dimensions,
        studies=args.studies,
        seed=args.seed,
    )
    console.table(
        ["contexts", "parameters", "knowing nothing", "model", "exact process", "share"],
        [
            [s.contexts, s.dimensions, *(f"{x:.3f}" for x in (s.marginal, s.ours, s.gp, s.share))]
            for s in scores
        ],
    )
    if prior is not None:
        console.write()
        console.table(
            ["imitated", "model, nats a parameter", "uniform choice"],
            [
                [score.method, f"{score.ours:.3f}", f"{score.uniform:.3f}"]
                for score in policy_scores(checkpoint, prior, seed=args.seed)
            ],
        )
    return 0
