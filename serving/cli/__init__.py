"""The `optformer` command line.

Every subcommand is a module of this package with `add_parser(subparsers)` and `run(args)`. Only the
module of the command that was asked for is imported, and it imports what is heavy inside `run`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from optformer._version import __version__
from optformer.data.studies.errors import OptFormerError
from optformer.serving.cli import console

COMMANDS = {
    "tune": "tune any script from the shell",
    "show": "list studies, or show one study's results",
    "serve": "serve studies over HTTP",
    "mcp": "serve tools to a coding agent",
    "token": "let somebody use a server",
    "space": "show what is understood of a search space",
    "demo": "tune a small classifier and compare with random search",
    "methods": "list the search methods",
    "benchmark": "compare search methods on a suite of tasks",
    "report": "tables and curves of benchmark results",
    "generate": "generate histories of search methods on real objectives",
    "train": "train a model from a configuration file",
    "finetune": "teach the model your own studies",
    "evaluate": "measure a model's predictions",
}
"""Subcommand to its line in the help; the module of the same name implements it."""

USER_FAULT = 2
INTERRUPT = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process when None.

    Returns:
        The exit status: 0, 2 for a fault the user can mend, 130 when interrupted.

    Raises:
        SystemExit: The arguments cannot be parsed, or help or the version was asked for.
    """
    console.escape_unknown_characters()
    arguments = list(sys.argv[1:] if argv is None else argv)
    command: list[str] | None = None
    if "--" in arguments:  # argparse would treat a second "--" inside the command as its own
        split = arguments.index("--")
        arguments, command = arguments[:split], arguments[split + 1 :]
    parser = _parser(next((word for word in arguments if not word.startswith("-")), None))
    args = parser.parse_args(arguments)
    if command is not None:
        if not hasattr(args, "command"):
            parser.error(f"{args.subcommand} takes no command after `--`")
        args.command = command
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note_warning
            return int(args.run(args))
    except OptFormerError as error:
        console.error(str(error))
        return USER_FAULT
    except KeyboardInterrupt:
        console.error("interrupted")
        return INTERRUPT
    except BrokenPipeError:  # the reader of our output has gone, as in `optformer show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except OSError as error:  # a full disk, a missing permission: nothing a traceback explains
        console.error(str(error))
        return USER_FAULT


def _note_warning(message: Warning | str, *where: object, **more: object) -> None:
    """Show a warning as a remark; where in the code it arose says nothing to its reader."""
    console.note(f"warning: {message}")


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="optformer",
        description="Suggests hyperparameters with a pretrained model, and predicts how well "
        "they will do.",
    )
    parser.add_argument("--version", action="version", version=f"optformer {__version__}")
    subparsers = parser.add_subparsers(
        title="commands", dest="subcommand", metavar="COMMAND", required=True
    )
    for name, line in COMMANDS.items():
        if name == chosen:
            importlib.import_module(f"optformer.serving.cli.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=line)
    return parser
