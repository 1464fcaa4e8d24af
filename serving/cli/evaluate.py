"""`optformer evaluate`: measure a model's predictions, and how well it imitates."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optformer.serving.cli import console
from optformer.serving.cli.logs import read_logs
from optformer.serving.cli.run_options import add_table_options

if TYPE_CHECKING:
    from optformer.data.studies.recorded_study import RecordedStudy
    from optformer.model.checkpoint import Checkpoint

_Tables = Mapping[str, Sequence[Mapping[str, Any]]]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        description="Measures what a model knows. By default: of functions drawn from a Gaussian "
        "process, between nothing (share 0) and the exact process (share 1), in nats a target. "
        "With --histories: of real studies, beside a Gaussian process fitted to the same trials. "
        "With --imitation: its policy's searches beside those of the methods it imitates. "
        "With --transfer: searches of data sets that its training held out, with and without names "
        "and metadata. With --start: their first trials, beside a fixed list of configurations "
        "chosen on the data sets of training. With --failures: searches of functions that fail on "
        "a part of their space.",
    )
    parser.add_argument("--model", help="checkpoint directory (default: the shipped model)")
    parser.add_argument("--seed", type=int, default=2024, help="seed of the studies (default 2024)")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the tables and pictures of --histories and --imitation "
        "(default runs/evaluation)",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the scores into the record and the model card of the checkpoint in --model",
    )
    _add_measures(parser)
    _add_sizes(parser)
    parser.set_defaults(run=run)


def _add_measures(parser: argparse.ArgumentParser) -> None:
    """What is measured; nothing chosen is the samples of a Gaussian process."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--histories",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="tables of trials (.csv, .jsonl, .parquet, with NAME.space.yaml beside them), or "
        "folders that `optformer benchmark` wrote",
    )
    what.add_argument(
        "--imitation",
        action="store_true",
        help="measure the policy: its likelihood, and its searches beside its teachers'",
    )
    what.add_argument(
        "--transfer",
        type=Path,
        metavar="DIR",
        help="folder of the tables the model was trained on: search the data sets they held out",
    )
    what.add_argument(
        "--start",
        type=Path,
        metavar="DIR",
        help="folder of the tables the model was trained on: the first trials on the data sets "
        "they held out, and with --trials 50 how many searches end in a mode",
    )
    what.add_argument(
        "--failures",
        action="store_true",
        help="search functions of which a third to a half of the space always fails",
    )


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    """Options that say what is sampled, and how much; `_USED` has the defaults."""
    samples = parser.add_argument_group("samples of a Gaussian process, and --histories")
    samples.add_argument(
        "--studies",
        type=int,
        help="studies of each kind and length, or drawn from each path (default 96)",
    )
    samples.add_argument(
        "--contexts",
        nargs="+",
        choices=("uniform", "gp-ei"),
        help="how the given trials were chosen, of samples (default both)",
    )
    samples.add_argument(
        "--dimensions",
        nargs="+",
        type=int,
        metavar="N",
        help="numbers of parameters, of samples (default 1 2 3 4 6 8)",
    )
    add_table_options(samples)
    searches = parser.add_argument_group(
        "--imitation and --start, and --transfer and --failures: --tasks and --seeds"
    )
    searches.add_argument(
        "--teachers",
        nargs="+",
        metavar="NAME",
        help="search methods to imitate (default random regularized-evolution gp-ei)",
    )
    searches.add_argument(
        "--only",
        nargs="+",
        metavar="PATTERN",
        help="tables that --start searches, those of families that training left out among them "
        "(default: all that were trained on)",
    )
    searches.add_argument(
        "--tasks", type=int, help="functions, or data sets of a table (default 30)"
    )
    searches.add_argument(
        "--seeds", type=int, help="searches of each of them (default 20; --start: 2)"
    )
    searches.add_argument(
        "--trials", type=int, help="trials of each search (default 40; --start: 10)"
    )


def run(args: argparse.Namespace) -> int:
    """Write tables of scores; returns the exit status."""
    from optformer.data.studies.errors import ConfigError
    from optformer.model.checkpoint import load_checkpoint
    from optformer.training.model_card import write_model_card

    chosen = [name for name in _MEASURES if getattr(args, name, None)]
    measure = chosen[0] if chosen else "samples"
    _fill_in(args, measure)
    if args.seed < 0:
        raise ConfigError(f"--seed must be at least 0, got {args.seed}")
    if args.record and args.model is None:
        raise ConfigError("--record needs the checkpoint's directory in --model")
    checkpoint = load_checkpoint(args.model)
    tables = _MEASURES[measure](args, checkpoint)
    if args.record:  # what this call did not measure is kept
        earlier = checkpoint.run.get("evaluation", {})
        console.write(f"model card: {write_model_card(args.model, {**earlier, **tables})}")
    return 0


def _fill_in(args: argparse.Namespace, measure: str) -> None:
    """Refuse options that the measure does not use, and give the others their defaults.

    Raises:
        ConfigError: Such an option is given, or a number is below 1.
    """
    from optformer.data.studies.errors import ConfigError

    for name in dict.fromkeys(name for used in _USED.values() for name in used):
        given = getattr(args, name)
        if name not in _USED[measure]:
            if given is not None:
                where = " and ".join(m for m, used in _USED.items() if name in used)
                raise ConfigError(f"--{name} is for {where}, not for {measure}; leave it out")
            continue
        value = _USED[measure][name] if given is None else given
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(number, int) and number < 1 for number in numbers):
            raise ConfigError(f"--{name} must be at least 1, got {given}")
        setattr(args, name, value)


def _samples(args: argparse.Namespace, checkpoint: Checkpoint) -> _Tables:
    from dataclasses import asdict

    from optformer.training.evaluation.evaluate import prediction_scores

    scores = prediction_scores(
        checkpoint,
        contexts=args.contexts,
        dimensions=args.dimensions,
        studies=args.studies,
        seed=args.seed,
    )
    return _shown(
        "Prediction: negative log-likelihood on Gaussian-process samples",
        [asdict(score) for score in scores],
    )


def _histories(args: argparse.Namespace, checkpoint: Checkpoint) -> _Tables:
    import numpy as np

    from optformer.serving.benchmarks.histories import draw_runs
    from optformer.serving.benchmarks.report.predictions import prediction_rows, write_predictions
    from optformer.training.evaluation.predictions.predictors import (
        CheckpointPredictor,
        GaussianProcessPredictor,
        Predictor,
    )
    from optformer.training.evaluation.predictions.scores import score_predictions

    predictors: dict[str, Predictor] = {
        "optformer": CheckpointPredictor(checkpoint),
        "gp": GaussianProcessPredictor(),
    }
    histories: list[RecordedStudy] = []
    for path in args.histories:
        rng = np.random.default_rng(args.seed)
        if path.is_dir():
            histories += draw_runs(path, args.studies, rng)
            continue
        found = read_logs([str(path)], metric=args.metric, goal=args.goal)
        drawn = np.sort(rng.permutation(len(found))[: args.studies])
        histories += [found[i] for i in drawn]
    scores = score_predictions(histories, predictors, "gp", seed=args.seed, progress=True)
    console.write(write_predictions(scores, "gp", args.out))
    console.note(f"tables and pictures: {args.out}")
    return {"Prediction: real histories beside a Gaussian process": prediction_rows(scores, "gp")}


def _imitation(args: argparse.Namespace, checkpoint: Checkpoint) -> _Tables:
    from dataclasses import asdict

    from optformer.serving.benchmarks.report.imitation import imitation_rows, write_imitation
    from optformer.training.config import PriorConfig
    from optformer.training.evaluation.evaluate import policy_scores
    from optformer.training.evaluation.imitation import imitation_scores

    scores = imitation_scores(
        checkpoint,
        teachers=args.teachers,
        tasks=args.tasks,
        seeds=args.seeds,
        trials=args.trials,
        seed=args.seed,
        progress=True,
    )
    prior = PriorConfig(**checkpoint.run["config"]["prior"])
    likelihoods = policy_scores(checkpoint, prior, seed=args.seed)
    tables = _shown(
        "Policy: negative log-likelihood a parameter", [asdict(score) for score in likelihoods]
    )
    console.write(write_imitation(scores, args.out))
    console.note(f"tables and pictures: {args.out}")
    return {**tables, "Policy: searches beside its teacher": imitation_rows(scores)}


def _transfer(args: argparse.Namespace, checkpoint: Checkpoint) -> _Tables:
    from optformer.planning.planner import Planner
    from optformer.training.config import TrainingConfig
    from optformer.training.evaluation.transfer import (
        draw_tasks,
        held_out_data,
        transfer_scores,
        variant_scores,
    )

    config = TrainingConfig.from_dict(checkpoint.run["config"])
    data = held_out_data(config.tables, args.transfer)
    tasks = draw_tasks(data, count=args.tasks, seed=args.seed, progress=True)
    variants = [
        {
            "data": score.table,
            "metadata": score.variant,
            "data sets": score.tasks,
            **{f"loss after {count}": f"{loss:.3f}" for count, loss in score.loss.items()},
            **{f"worse after {count}": f"{more:.3f}" for count, more in score.worse.items()},
        }
        for score in variant_scores(checkpoint, tasks, seed=args.seed, progress=True)
    ]
    likelihood = _shown(
        "Transfer: negative log-likelihood on data sets held out of training", variants
    )
    scores = transfer_scores(
        Planner(checkpoint), tasks, seeds=args.seeds, seed=args.seed, progress=True
    )
    rows = [
        {
            "data": score.table,
            "search": score.searcher,
            "data sets": score.tasks,
            "searches of each": score.seeds,
            **{f"regret after {budget}": f"{found:.3f}" for budget, found in score.regret.items()},
        }
        for score in scores
    ]
    searches = _shown("Transfer: searches of data sets held out of training", rows)
    return {**likelihood, **searches}


def _start(args: argparse.Namespace, checkpoint: Checkpoint) -> _Tables:
    from optformer.planning.planner import Planner
    from optformer.training.config import TrainingConfig
    from optformer.training.evaluation.start import MODE_REGRET, start_scores
    from optformer.training.evaluation.transfer import draw_tasks, split_tables

    config = TrainingConfig.from_dict(checkpoint.run["config"])
    tables = split_tables(config.tables, args.start, args.only or ())
    known, drawn = (
        draw_tasks(data, count=count, seed=args.seed, progress=True)
        for data, count in zip(zip(*tables, strict=True), (_KNOWN, args.tasks), strict=True)
    )
    scores = start_scores(
        Planner(checkpoint),
        drawn,
        known,
        trials=args.trials,
        seeds=args.seeds,
        seed=args.seed,
        progress=True,
    )
    rows = [
        {
            "data": score.table,
            "search": score.searcher,
            "data sets": score.tasks,
            "searches of each": score.seeds,
            **{f"regret after {budget}": f"{found:.3f}" for budget, found in score.regret.items()},
            f"ends above {MODE_REGRET}": f"{score.in_mode:.2f}",
        }
        for score in scores
    ]
    return _shown("Start: first trials on data sets held out of training", rows)


def _failures(args: argparse.Namespace, checkpoint: Checkpoint) -> _Tables:
    from optformer.planning.planner import Planner
    from optformer.training.evaluation.failures import failure_scores

    scores = failure_scores(
        Planner(checkpoint), tasks=args.tasks, seeds=args.seeds, seed=args.seed, progress=True
    )
    rows = [
        {
            "search": score.searcher,
            "functions": score.tasks,
            "searches of each": score.seeds,
            "share of the space": f"{score.share:.2f}",
            **{f"failed of {stage}": f"{share:.2f}" for stage, share in score.failed.items()},
            "regret": f"{score.regret:.3f}",
        }
        for score in scores
    ]
    return _shown("Failures: searches of functions that fail on a part of their space", rows)


def _shown(name: str, rows: Sequence[Mapping[str, Any]]) -> _Tables:
    """Write a table; returns it by its name."""
    console.write(f"{name}\n")
    console.table(
        list(rows[0]),
        [[f"{v:.3f}" if isinstance(v, float) else v for v in row.values()] for row in rows],
    )
    console.write()
    return {name: rows}


_MEASURES = {
    "samples": _samples,
    "histories": _histories,
    "imitation": _imitation,
    "transfer": _transfer,
    "start": _start,
    "failures": _failures,
}

_KNOWN = 60  # data sets of training that a fixed list is chosen on
_SEARCHES: dict[str, Any] = {"tasks": 30, "seeds": 20}
_FOLDER: dict[str, Any] = {"out": Path("runs/evaluation")}
_USED: dict[str, dict[str, Any]] = {
    "samples": {
        "studies": 96,
        "contexts": ["uniform", "gp-ei"],
        "dimensions": [1, 2, 3, 4, 6, 8],
    },
    "histories": {"studies": 96, "metric": None, "goal": None, **_FOLDER},
    "imitation": {
        "teachers": ["random", "regularized-evolution", "gp-ei"],
        "trials": 40,
        **_SEARCHES,
        **_FOLDER,
    },
    "transfer": _SEARCHES,
    "start": {"tasks": 30, "seeds": 2, "trials": 10, "only": None},
    "failures": _SEARCHES,
}
"""Options that a measure uses, with their defaults."""
