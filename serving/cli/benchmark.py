"""`optformer benchmark`: compare search methods on suites of tasks, or time their suggestions."""

from __future__ import annotations

import argparse
from pathlib import Path

from optformer.data.runtime.files import write_text
from optformer.serving.cli import console
from optformer.serving.cli.run_options import add_table_options

METHODS = "optformer,tpe,gp,random"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "benchmark",
        description="Runs search methods on suites of held-out tasks and writes results, tables "
        "and regret curves to a folder. The same command again goes on where it stopped.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--suite",
        type=_names,
        metavar="NAMES",
        help="suites, separated by commas: hpobench,hpolib; your own as package.module:NAME or "
        "path/to/file.py:NAME; logs with --logs",
    )
    what.add_argument(
        "--timing", action="store_true", help="time suggestions instead of running suites"
    )
    parser.add_argument(
        "--methods",
        type=_names,
        default=_names(METHODS),
        metavar="NAMES",
        help=f"methods, separated by commas (default {METHODS}); `optformer methods` lists them",
    )
    logs = parser.add_argument_group("the suite logs", "your own study tables as objectives")
    logs.add_argument(
        "--logs", type=Path, metavar="PATH", help="a table of finished trials, or a folder of them"
    )
    add_table_options(logs)
    logs.add_argument(
        "--task-column",
        metavar="NAME",
        help="column that tells the tasks of a table apart (default: dataset or task, if there)",
    )
    parser.add_argument("--trials", type=int, default=50, help="trials a run (default 50)")
    parser.add_argument("--seeds", type=int, default=5, help="runs a task and method (default 5)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument(
        "--ray",
        action="store_true",
        help="spread the runs over a Ray cluster: the one of RAY_ADDRESS, or a local one",
    )
    parser.add_argument(
        "--shared-start",
        type=int,
        default=0,
        metavar="N",
        help="give all methods the same N random initial points (default: their own start)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="ask for N trials at once and tell their values together (default 1)",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="measurements a median of --timing (default 5)"
    )
    parser.add_argument("--model", type=Path, help="checkpoint folder (default: the shipped model)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/benchmark"),
        help="folder of the results (default runs/benchmark)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark, or the timing, and print its tables; returns the exit status."""
    return _time(args) if args.timing else _compare(args)


def _compare(args: argparse.Namespace) -> int:
    from optformer.serving.benchmarks.report import write_report
    from optformer.serving.benchmarks.runner import BenchmarkConfig, run_benchmark

    config = BenchmarkConfig(
        suites=_suites(args),
        methods=args.methods,
        out=args.out,
        trials=args.trials,
        seeds=args.seeds,
        workers=args.workers,
        ray=args.ray,
        shared_start=args.shared_start,
        batch=args.batch,
        model=args.model,
    )
    summary = run_benchmark(config, progress=True)
    console.write(write_report(args.out))
    console.note(
        f"{summary.finished} runs finished, {summary.skipped} were there already, "
        f"{len(summary.failed)} failed; report: {args.out / 'report.md'}"
    )
    return 0


def _suites(args: argparse.Namespace) -> list[str]:
    """The names of the suites, with everything that `logs` needs."""
    from optformer.data.studies.errors import ConfigError
    from optformer.serving.benchmarks.user_suites import logs_suite_name

    options = {"--logs": args.logs, "--metric": args.metric, "--goal": args.goal}
    given = [flag for flag, value in options.items() if value is not None]
    if "logs" not in args.suite:
        if given or args.task_column is not None:
            raise ConfigError(f"{given or ['--task-column']} are options of --suite logs only")
        return list(args.suite)
    if len(given) < len(options):
        raise ConfigError(f"--suite logs needs {list(options)}, got only {given}")
    logs = logs_suite_name(
        args.logs, metric=args.metric, goal=args.goal, task_column=args.task_column
    )
    return [logs if name == "logs" else name for name in args.suite]


def _time(args: argparse.Namespace) -> int:
    from optformer.serving.benchmarks.timing import (
        time_fresh_process,
        time_suggestions,
        timing_table,
    )

    times = time_suggestions(
        args.methods,
        repeats=args.repeats,
        model=args.model,
        on_measured=lambda t: console.note(
            f"{t.method} after {t.history} trials: {t.seconds * 1000:.1f} ms"
        ),
    )
    ours = any(name.startswith("optformer") for name in args.methods)
    fresh = time_fresh_process(repeats=args.repeats, model=args.model) if ours else None
    text = timing_table(times, fresh)
    write_text(args.out / "timing.md", text)
    console.write(text)
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
