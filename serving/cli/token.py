"""`optformer token`: let somebody use a server."""

from __future__ import annotations

import argparse
from pathlib import Path

from optformer.serving.cli import console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "token",
        description="Makes a token for an owner of studies, writes it out once, and adds its hash "
        "to a file for `optformer serve --tokens`. Remove the line to take the token back.",
    )
    parser.add_argument("owner", metavar="OWNER", help="whose it is, such as a person or a team")
    parser.add_argument(
        "--tokens", type=Path, required=True, metavar="FILE", help="made if it is not there"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the token; returns the exit status."""
    from optformer.serving.service.tokens import make_token

    console.write(make_token(args.tokens, args.owner))
    return 0
