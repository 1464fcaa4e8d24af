"""`optformer tune`: tune any script from the shell."""

from __future__ import annotations

import argparse
import math
import re
import shlex
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from optformer.serving.cli import console

if TYPE_CHECKING:
    from types import FrameType

    from optformer.data.studies import StudyConfig
    from optformer.data.trials import Trial
    from optformer.serving.script_command import CommandTemplate
    from optformer.serving.script_process import StopRequest
    from optformer.serving.study import Study

STRATEGIES = ("ei", "pi", "ucb", "ts", "policy")


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
    parser.add_argument("--strategy", choices=STRATEGIES, default="ei")
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
    from optformer.data.space_files import load_space
    from optformer.data.studies import StudyConfig
    from optformer.serving.cli.inputs import parse_fixed, parse_metric, parse_pairs
    from optformer.serving.script_command import CommandTemplate
    from optformer.serving.script_metric import create_reader
    from optformer.serving.script_process import StopRequest
    from optformer.serving.script_runner import Script

    space = load_space(args.space)
    config = StudyConfig(
        space=space,
        metric=parse_metric(args.metric),
        goal=args.goal,
        metadata=parse_pairs("--metadata", args.metadata),
        fixed=parse_fixed(space, args.fixed),
    )
    command = CommandTemplate(args.command, space)
    _check_program(command)
    out = (args.out or Path("runs") / args.name).resolve()
    script = Script(
        config=config,
        command=command,
        reader=create_reader(config, pattern=args.metric_pattern, file=args.metric_file),
        out=out,
        timeout=args.timeout,
    )
    ...
