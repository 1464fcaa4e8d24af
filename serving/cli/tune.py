"""`optformer tune`: tune any script from the shell."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from optformer.data.studies.errors import ConfigError, StudyError
from optformer.planning.acquisition import STRATEGIES
from optformer.serving.cli import console

if TYPE_CHECKING:
    from types import FrameType

    from optformer.data.studies.study_config import StudyConfig
    from optformer.data.studies.trials import Trial
    from optformer.serving.script.command import CommandTemplate
    from optformer.serving.script.process import StopRequest
    from optformer.serving.script.runner import Script
    from optformer.serving.study.study import Study


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "tune",
        usage="optformer tune --space FILE --metric NAME --goal GOAL [options] -- COMMAND ...",
        description="Tunes a script: runs COMMAND with suggested values in place of {parameter} "
        "placeholders and reads the metric from its output. {trial} is the trial's number and "
        "{out} its directory; double a brace to write one.",
    )
    parser.add_argument("--space", type=Path, required=True, help="search space, YAML or JSON")
    parser.add_argument(
        "--metric",
        action="append",
        required=True,
        help="what to search on; repeat as NAME=WEIGHT for a weighted sum",
    )
    parser.add_argument("--goal", choices=("maximize", "minimize"), required=True)
    parser.add_argument(
        "--trials", type=_positive_int, default=30, help="finished trials wanted (default 30)"
    )
    parser.add_argument(
        "--parallel", type=_positive_int, default=1, help="scripts at a time (default 1)"
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
    parser.add_argument("--storage", help="storage URL (default sqlite:///OUT/study.db)")
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
        "last match in standard output counts",
    )
    parser.add_argument(
        "--out", type=Path, help="directory of logs and results (default runs/NAME)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an existing study")
    parser.set_defaults(run=run, command=[])


def run(args: argparse.Namespace) -> int:
    """Tune the script that `args.command` runs; returns the exit status."""
    script = _script(args)
    with ExitStack() as held:
        return _tune(args, script, _study(args, script, held))


def _tune(args: argparse.Namespace, script: Script, study: Study) -> int:
    from optformer.data.studies.errors import SpaceExhaustedError
    from optformer.data.studies.trials import TrialStatus
    from optformer.serving.cli.study_tables import write_summary
    from optformer.serving.script.process import StopRequest
    from optformer.serving.script.runner import is_finished, tune_script
    from optformer.serving.study.plots import plot_history

    done = sum(is_finished(trial) for trial in study.trials)
    if done >= args.trials:
        console.note(f"study {study.name!r} has {done} finished trials; raise --trials for more")
    stop = StopRequest()
    with _signals_request(stop) as received, _progress(study, args.trials, done) as report:
        try:
            tune_script(
                study,
                script,
                trials=args.trials,
                parallel=args.parallel,
                stop=stop,
                report=report,
            )
        except SpaceExhaustedError as error:
            console.note(str(error))
    write_summary(study)
    console.write(f"logs: {script.out}")
    if any(trial.status is not TrialStatus.PENDING for trial in study.trials):
        plot_history(study, script.out / "history.png")
        console.write(f"plot: {script.out / 'history.png'}")
    if received:
        console.note("run the same command with --resume to go on")
        return 128 + received[0]
    return 0


def _script(args: argparse.Namespace) -> Script:
    """Check everything about the script that can be checked before it runs."""
    from optformer.data.studies.space_files import load_space
    from optformer.data.studies.study_config import StudyConfig
    from optformer.serving.cli.inputs import parse_fixed, parse_metric, parse_pairs
    from optformer.serving.script.command import CommandTemplate
    from optformer.serving.script.metric import create_reader
    from optformer.serving.script.runner import Script

    space = load_space(args.space)
    config = StudyConfig(
        space=space,
        metric=parse_metric(args.metric),
        goal=args.goal,
        metadata=parse_pairs("--metadata", args.metadata),
        fixed=parse_fixed(space, args.fixed),
    )
    command = CommandTemplate(args.command, space)
    _check_command(command, config)
    return Script(
        config=config,
        command=command,
        reader=create_reader(config, pattern=args.metric_pattern, file=args.metric_file),
        out=(args.out or Path("runs") / args.name).resolve(),
        timeout=args.timeout,
    )


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


def _study(args: argparse.Namespace, script: Script, held: ExitStack) -> Study:
    """Start the study, or go on with it, as the only one who does.

    Args:
        args: The command's.
        script: What is tuned.
        held: Keeps the lock of the search's folder.
    """
    from optformer.planning.planner import load_planner
    from optformer.serving.cli.stored import study_names
    from optformer.serving.script.runner import fail_interrupted
    from optformer.serving.study.study import create_study, load_study

    storage = args.storage or f"sqlite:///{script.out / 'study.db'}"
    names = study_names(storage, must_exist=False)
    if args.resume:
        if args.name not in names:
            raise StudyError(
                f"there is no study {args.name!r} in {storage} to go on with; "
                "leave out --resume to start it"
            )
        _lock(script.out, held)
        study = load_study(
            storage=storage, name=args.name, model=args.model, strategy=args.strategy
        )
        _check_same(study, script.config, args.seed)
        fail_interrupted(study)
        return study
    if args.name in names:
        raise StudyError(
            f"study {args.name!r} is already in {storage}; "
            "give --resume to go on with it, or another --name and --out"
        )
    if next(script.out.glob("trial-*"), None) is not None:
        raise StudyError(f"{script.out} holds trials of another search; give another --out")
    strategy = args.strategy or "ei"
    model = None if args.model is None else Path(args.model).absolute()
    load_planner(model, strategy=strategy)  # a missing model shows before there is a study
    _lock(script.out, held)
    config = script.config
    return create_study(
        config.space,
        metric=config.metric,
        goal=config.goal,
        metadata=config.metadata,
        fixed=config.fixed,
        storage=storage,
        name=args.name,
        model=model,
        strategy=strategy,
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
    differing = [field for field in given if stored[field] != given[field]]
    if seed is not None and seed != study.seed:
        differing.append("seed")
    if differing:
        raise StudyError(
            f"study {study.name!r} was started with another {' and '.join(differing)}; "
            "repeat the command it was started with, or give another --name and --out"
        )


@contextmanager
def _signals_request(stop: StopRequest) -> Iterator[list[int]]:
    """Turn the signals that end a program into requests to stop, so that nothing is cut short.

    Yields:
        The signals received so far.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if not received:  # os.write: the streams' locks may be held by what was interrupted
            os.write(2, b"\nending the running scripts; once more kills them\n")
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


@contextmanager
def _progress(study: Study, trials: int, done: int) -> Iterator[Callable[[Trial, float], None]]:
    """A progress bar on a terminal, and a line a trial.

    Yields:
        What to call with each trial that ended, and the seconds it took.
    """
    from tqdm import tqdm

    metric = study.config.metric_name
    with tqdm(total=trials, initial=done, unit="trial", disable=None) as bar:

        def report(trial: Trial, seconds: float) -> None:
            outcome = (
                f"{metric} {console.format_value(trial.value)}"
                if trial.has_value
                else f"failed: {trial.reason}"
            )
            params = console.format_params(trial.params)
            bar.write(f"trial {trial.number}  {outcome}  ({seconds:.1f} s)  {params}")
            sys.stdout.flush()
            bar.update()

        yield report


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
