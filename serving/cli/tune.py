"""`optformer tune`: tune any script from the shell.

A search owns its folder: another one there is refused. What came of each trial is written there
before it is stored, so that a search that was killed, or that could not reach its storage, goes on
with `--resume` where its scripts have got to.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from optformer.data.runtime.files import write_atomically
from optformer.data.runtime.text import hide_passwords
from optformer.data.studies.errors import ConfigError, StudyError
from optformer.planning.acquisition import STRATEGIES
from optformer.serving.cli import console

if TYPE_CHECKING:
    from types import FrameType

    from optformer.data.studies.study_config import StudyConfig
    from optformer.serving.script.cluster import RayCluster
    from optformer.serving.script.command import CommandTemplate
    from optformer.serving.script.curve import CurveReader
    from optformer.serving.script.process import StopRequest
    from optformer.serving.script.script import Script
    from optformer.serving.study.study import Study


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "tune",
        usage="optformer tune --space FILE --metric NAME --goal GOAL [options] -- COMMAND ...",
        description="Tunes a script: runs COMMAND with suggested values in place of {parameter} "
        "placeholders and reads the metric from its output: from the last line with NAME, = or :, "
        "and a number, in standard output or else in standard error. {trial} is the trial's number "
        "and {out} its directory; {amp:--amp} is --amp when the parameter amp is true, and nothing "
        "when it is false; double a brace to write one.",
    )
    parser.add_argument("--space", type=Path, required=True, help="search space, YAML or JSON")
    parser.add_argument(
        "--metric",
        action="append",
        required=True,
        help="what to search on; repeat as NAME=WEIGHT for a weighted sum, or as NAME=maximize and "
        "NAME=minimize for several goals",
    )
    parser.add_argument(
        "--goal", choices=("maximize", "minimize"), help="required, unless --metric tells it"
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="LIMIT",
        help="what a trial must keep to count, such as 'memory <= 8'; repeat for several metrics",
    )
    parser.add_argument(
        "--trials", type=_positive_int, default=30, help="finished trials wanted (default 30)"
    )
    parser.add_argument(
        "--parallel", type=_positive_int, default=1, help="scripts at a time (default 1)"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run the scripts on a Ray cluster: the one at ADDRESS, else that of RAY_ADDRESS, else "
        "one of this machine",
    )
    parser.add_argument(
        "--resources",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=AMOUNT",
        help="what a script takes on the cluster: CPU (1 unless given), GPU, or the cluster's own",
    )
    parser.add_argument(
        "--metadata",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what the task is about: task, dataset, model, anything; the model reads it",
    )
    parser.add_argument(
        "--fixed",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="hold parameters at one value",
    )
    parser.add_argument(
        "--storage",
        help="storage URL (default sqlite:///OUT/study.db), or the http address of a server, whose "
        "token is in OPTFORMER_TOKEN",
    )
    parser.add_argument("--name", default="tune", help="name of the study (default tune)")
    parser.add_argument("--seed", type=int, help="seed of the suggestions")
    parser.add_argument("--strategy", help=f"{', '.join(STRATEGIES)} (default ei)")
    parser.add_argument("--model", help="checkpoint directory (default: the shipped model)")
    parser.add_argument("--timeout", type=_seconds, help="seconds a trial may take")
    parser.add_argument(
        "--metric-file",
        metavar="FILE",
        help="JSON file the script writes into the trial's directory ({out}); a metric a.b is "
        "looked up as b inside a",
    )
    parser.add_argument(
        "--metric-pattern",
        metavar="REGEX",
        help="regular expression with one group around the number, instead of NAME: NUMBER; the "
        "last match counts",
    )
    parser.add_argument(
        "--pruner",
        help="stop trials early that do worse than others: median, percentile, "
        "successive-halving, hyperband, wilcoxon, patient or threshold, with settings in "
        "parentheses as in 'median(n_warmup_steps=3)'; the metric that a script prints again and "
        "again is compared step by step",
    )
    parser.add_argument(
        "--step-pattern",
        metavar="REGEX",
        help="regular expression with one group around the step, in the line of the metric or "
        "before it; otherwise values are counted, from 0",
    )
    parser.add_argument(
        "--out", type=Path, help="directory of logs and results (default runs/NAME)"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an existing study; scripts of a killed search that still run are waited "
        "for, and what others run is left alone",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="tell what happens as JSON on standard output, one object a line, for machines",
    )
    parser.set_defaults(run=run, command=[])


def run(args: argparse.Namespace) -> int:
    """Tune the script that `args.command` runs; returns the exit status."""
    if sys.platform == "win32":
        raise ConfigError("optformer tune needs Linux or macOS; on Windows run it under WSL")
    if args.step_pattern is not None and args.pruner is None:
        raise ConfigError("a step pattern is of use to a pruner alone; give --pruner, too")
    if args.resources and args.ray is None:
        raise ConfigError("resources are those of a cluster; give --ray, too")
    from optformer.serving.cli.search_display import loading

    script = _script(args)
    with ExitStack() as held:
        if args.ray is not None:
            script = replace(script, starter=_cluster(args, held))
        with loading(as_json=args.json):
            study = _study(args, script, held)
        if study.prunes and script.curves is None:  # it was started with a pruner
            script = replace(script, curves=_curves(args, script.config))
        return _tune(args, script, study)


def _tune(args: argparse.Namespace, script: Script, study: Study) -> int:
    from optformer.data.studies.errors import SpaceExhaustedError
    from optformer.serving.cli.search_display import create_display
    from optformer.serving.script.process import StopRequest
    from optformer.serving.script.runner import is_finished, tune_script

    done = sum(is_finished(trial) for trial in study.trials)
    if done >= args.trials:
        console.note(f"study {study.name!r} has {done} finished trials; raise --trials for more")
    stop = StopRequest()
    display = create_display(study, trials=args.trials, parallel=args.parallel, as_json=args.json)
    with _signals_request(stop, display.ending) as received, display:
        try:
            tune_script(
                study,
                script,
                trials=args.trials,
                parallel=args.parallel,
                stop=stop,
                watcher=display,
            )
        except SpaceExhaustedError as error:
            console.note(str(error))
    places = {"study": hide_passwords(_storage(args, script)), "logs": str(script.out)}
    display.finish(places | _plot(study, script.out))
    if received:
        console.note("run the same command with --resume to go on")
        return 128 + received[0]
    return 0


def _plot(study: Study, out: Path) -> dict[str, str]:
    """Plot the search, and say where; that there is no plot is no failure of it."""
    from optformer.data.studies.trials import TrialStatus
    from optformer.serving.study.front_plots import plot_front
    from optformer.serving.study.plots import plot_history

    ended = {trial.status for trial in study.trials} - {TrialStatus.PENDING}
    several = bool(study.config.further_goals)
    if not ended or (several and TrialStatus.COMPLETED not in ended):
        return {}
    file = out / ("front.png" if several else "history.png")
    try:
        figure = plot_front(study) if several else plot_history(study)
        with write_atomically(file) as path:
            figure.savefig(path, format="png")
    except (OSError, ValueError) as error:
        console.note(f"there is no plot: {error}")
        return {}
    return {"plot": str(file)}


def _script(args: argparse.Namespace) -> Script:
    """Check everything about the script that can be checked before it runs."""
    from optformer.data.studies.space_files import load_space
    from optformer.data.studies.study_config import StudyConfig
    from optformer.serving.cli.inputs import (
        parse_fixed,
        parse_goals,
        parse_limits,
        parse_pairs,
    )
    from optformer.serving.script.command import CommandTemplate
    from optformer.serving.script.metric import create_reader
    from optformer.serving.script.script import Script

    space = load_space(args.space)
    metric, goal, further_goals = parse_goals(args.metric, args.goal)
    config = StudyConfig(
        space=space,
        metric=metric,
        goal=goal,
        further_goals=further_goals,
        limits=parse_limits(args.limit),
        metadata=parse_pairs("--metadata", args.metadata),
        fixed=parse_fixed(space, args.fixed),
    )
    command = CommandTemplate(args.command, space)
    _check_command(command, config)
    return Script(
        config=config,
        command=command,
        reader=create_reader(config, pattern=args.metric_pattern, file=args.metric_file),
        out=(args.out or _default_out(args.name)).resolve(),
        timeout=args.timeout,
        curves=None if args.pruner is None else _curves(args, config),
    )


def _cluster(args: argparse.Namespace, held: ExitStack) -> RayCluster:
    """Connect to the cluster, for as long as the search goes."""
    from optformer.data.runtime.ray_cluster import connection
    from optformer.data.studies.extras import importing
    from optformer.serving.cli.inputs import parse_pairs
    from optformer.serving.script.cluster import RayCluster

    with importing("scripts on a cluster", "ray", extra="ray"):
        import ray  # noqa: F401
    try:
        held.enter_context(connection(args.ray or None))
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"cannot reach the cluster {args.ray!r}: {error}") from error
    cluster = RayCluster(parse_pairs("--resources", args.resources))
    if not cluster.has_room:
        console.note("note: no node of the cluster has room for a script; trials wait for one")
    return cluster


def _curves(args: argparse.Namespace, config: StudyConfig) -> CurveReader:
    from optformer.serving.script.curve import create_curve_reader

    return create_curve_reader(
        config,
        pattern=args.metric_pattern,
        file=args.metric_file,
        step_pattern=args.step_pattern,
    )


def _default_out(name: str) -> Path:
    """The folder of a search that names none, inside `runs`."""
    out = Path("runs", name)
    if name.strip() != name or not name or out.is_absolute() or {"..", "."} & set(name.split("/")):
        raise ConfigError(f"the study's name {name!r} cannot name a folder in runs; give --out")
    return out


def _check_command(command: CommandTemplate, config: StudyConfig) -> None:
    if command.program is not None and shutil.which(command.program) is None:
        raise ConfigError(
            f"the command's program {command.program!r} was not found or cannot be run; "
            "give its path, or make it executable"
        )
    unused = [name for name in command.unused if name not in config.fixed]
    if unused:
        console.note(
            f"note: the command does not mention {', '.join(unused)}; "
            "the script must read OPTFORMER_PARAMS"
        )


def _storage(args: argparse.Namespace, script: Script) -> str:
    """Address of the study's storage."""
    from optformer.serving.study.optuna_access import sqlite_address

    return args.storage or sqlite_address(script.out / "study.db")


def _study(args: argparse.Namespace, script: Script, held: ExitStack) -> Study:
    """Start the study, or go on with it, as the only one who does.

    Args:
        args: The command's.
        script: What is tuned.
        held: Keeps the lock of the search's folder.
    """
    from optformer.planning.planner import load_planner
    from optformer.serving.cli.places import is_server, place_of
    from optformer.serving.script.runner import check_folder
    from optformer.serving.study.study import new_record

    storage = _storage(args, script)
    place = place_of(storage)
    names = place.names(must_exist=False)
    if args.resume:
        if args.name not in names:
            raise StudyError(
                f"there is no study {args.name!r} in {place.address} to go on with; "
                "leave out --resume to start it"
            )
        _lock(script.out, held)
        study = place.load(args.name, model=args.model, strategy=args.strategy, pruner=args.pruner)
        _check_same(study, script.config, args.seed)
        check_folder(study, script.out)
        return study
    if args.name in names:
        raise StudyError(
            f"study {args.name!r} is already in {place.address}; "
            "give --resume to go on with it, or another --name and --out"
        )
    strategy = args.strategy or "ei"
    model = None if args.model is None else Path(args.model).absolute()
    if not is_server(storage):
        load_planner(model, strategy=strategy)  # a missing model shows before there is a study
        new_record(script.config, strategy=strategy, pruner=args.pruner)  # so does what cannot be
    _lock(script.out, held)
    if next(script.out.glob("trial-*"), None) is not None:
        raise StudyError(f"{script.out} holds trials of another search; give another --out")
    config = script.config
    one = not config.further_goals
    return place.create(
        config.space,
        metric=config.metric if one else None,
        goal=config.goal if one else None,
        metrics=None if one else config.goals,
        limits={name: str(limit) for name, limit in config.limits.items()},
        metadata=config.metadata,
        fixed=config.fixed,
        name=args.name,
        model=model,
        strategy=strategy,
        pruner=args.pruner,
        seed=args.seed,
    )


def _lock(out: Path, held: ExitStack) -> None:
    from optformer.serving.study.locks import locked

    out.mkdir(parents=True, exist_ok=True)
    busy = f"another search is running in {out}; wait for its end, or give another --out"
    held.enter_context(locked(out / "search.lock", patience=0.0, busy=busy))


def _check_same(study: Study, config: StudyConfig, seed: int | None) -> None:
    """Refuse to go on with a study under other conditions."""
    stored, given = study.config.to_dict(), config.to_dict()
    fields = {**given, **stored}
    differing = [field for field in fields if stored.get(field) != given.get(field)]
    if seed is not None and seed != study.seed:
        differing.append("seed")
    if differing:
        raise StudyError(
            f"study {study.name!r} was started with a different {' and '.join(differing)}; "
            "repeat the command it was started with, or give another --name and --out"
        )


@contextmanager
def _signals_request(stop: StopRequest, tell: Callable[[], None]) -> Iterator[list[int]]:
    """Turn the signals that end a program into requests to stop, so that nothing is cut short.

    Args:
        stop: Is asked to stop.
        tell: Says so at the first signal.

    Yields:
        The signals received so far.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if sys.platform != "win32" and number == signal.SIGHUP:
            _drop_lost_terminal()
        if not received:
            tell()
        received.append(number)
        stop.request()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    watched = [number for number in numbers if before[number] != signal.SIG_IGN]  # nohup
    for number in watched:
        signal.signal(number, handle)
    try:
        yield received
    finally:
        for number in watched:
            signal.signal(number, before[number])


def _drop_lost_terminal() -> None:
    """Have what would be written to a terminal that is gone go nowhere, and not fail."""
    for stream in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return number
