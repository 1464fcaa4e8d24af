"""`optformer show`: list studies, or show one study's results."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from optformer.serving.cli import console

if TYPE_CHECKING:
    from optformer.data.studies.study_config import StudyConfig
    from optformer.serving.cli.places import Place
    from optformer.serving.study.study import Study


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "show",
        description="Lists the studies of a storage, or shows one: its configuration, how its "
        "trials ended, the best one, and a table of the best.",
    )
    parser.add_argument(
        "--storage", required=True, help="for instance sqlite:///studies.db, or http://host:8000"
    )
    parser.add_argument("--name", help="the study to show; may be left out when there is one")
    parser.add_argument("--top", type=int, default=10, help="trials in the table (default 10)")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write all trials as a table, its space beside it"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the best value so far")
    parser.add_argument(
        "--front", type=Path, metavar="FILE", help="draw the Pareto front of the first two goals"
    )
    parser.add_argument(
        "--response",
        nargs=2,
        metavar=("PARAM", "FILE"),
        help="draw the metric over one parameter, as the model predicts it",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write what a storage or a study holds; returns the exit status."""
    from optformer.data.studies.errors import ConfigError
    from optformer.serving.cli.places import place_of

    if args.top < 0:
        raise ConfigError(f"--top must be at least 0, got {args.top}")
    place = place_of(args.storage)
    names = place.names()
    if args.name is None and len(names) != 1:
        if args.csv or args.plot or args.front or args.response:
            raise ConfigError(
                f"--csv, --plot, --front and --response need --name; {place.address} has {names}"
            )
        _list_studies(place, names)
        return 0
    study = place.load(args.name)
    _show(study, args.top)
    _write_files(study, args)
    return 0


def _list_studies(place: Place, names: list[str]) -> None:
    from optformer.data.studies.errors import SearchSpaceError, StudyError
    from optformer.data.studies.trials import TrialStatus

    if not names:
        console.write(f"{place.address} holds no studies")
        return
    rows: list[list[object]] = []
    for name in names:
        try:
            study = place.load(name)
        except (SearchSpaceError, StudyError) as error:  # another tool's study, not one for us
            rows.append([name, None, None, None, str(error), None])
            continue
        trials = study.trials
        counts = Counter(trial.status for trial in trials)
        front = study.best_trials
        best: object = front[0].value if front else None
        if study.config.further_goals and front:
            best = f"{len(front)} on the front"
        aim = _aims(study.config)
        failed = counts[TrialStatus.FAILED]
        rows.append([name, len(trials), counts[TrialStatus.COMPLETED], failed, aim, best])
    console.table(["study", "trials", "completed", "failed", "goal", "best"], rows)


def _aims(config: StudyConfig) -> str:
    """The goals and limits of a study in a line."""
    aims = [f"{goal} {name}" for name, goal in config.goals.items()]
    return ", ".join([*aims, *(f"{name} {limit}" for name, limit in config.limits.items())])


def _show(study: Study, top: int) -> None:
    from optformer.serving.cli.space_table import write_space
    from optformer.serving.cli.study_summary import write_ranking, write_summary

    config = study.config
    about = [("goal", f"{goal} {name}") for name, goal in config.goals.items()]
    about += [("limit", f"{name} {limit}") for name, limit in config.limits.items()]
    about += [(f"metadata: {key}", text) for key, text in config.metadata.items()]
    about += [(f"fixed: {name}", str(value)) for name, value in config.fixed.items()]
    about += [("seed", str(study.seed)), ("strategy", study.strategy)]
    console.table(["setting", "value"], about)
    console.write()
    write_space(config.space)
    console.write()
    write_summary(study)
    write_ranking(study, top)


def _write_files(study: Study, args: argparse.Namespace) -> None:
    from optformer.data.studies.errors import ConfigError, OptFormerError
    from optformer.data.studies.study_tables import write_trials
    from optformer.serving.study.front_plots import plot_front
    from optformer.serving.study.plots import plot_history, plot_response

    try:
        if args.csv:
            write_trials(args.csv, study.config, study.trials)
            console.write(f"trials: {args.csv}")
        if args.plot:
            plot_history(study, args.plot)
            console.write(f"history: {args.plot}")
        if args.front:
            plot_front(study, path=args.front)
            console.write(f"front: {args.front}")
        if args.response:
            parameter, file = args.response
            plot_response(study, parameter, file)
            console.write(f"response to {parameter}: {file}")
    except OptFormerError:
        raise
    except (OSError, ValueError) as error:  # the latter for the suffix of a plot
        raise ConfigError(f"cannot write a file: {error}") from None
