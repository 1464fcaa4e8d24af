"""`optformer mcp`: tools of coding agents, by the Model Context Protocol."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "mcp",
        description="Serves tools to a coding agent on standard input and output, by the Model "
        "Context Protocol: create_study, suggest, observe and their kin. The agent's program "
        "starts it; its configuration names this command.",
    )
    parser.add_argument(
        "--storage",
        required=True,
        help="where the studies are: sqlite:////full/path/studies.db, or a server, "
        "http://host:8000, whose token is in the environment variable OPTFORMER_TOKEN",
    )
    parser.add_argument("--model", help="checkpoint directory (default: the shipped model)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until standard input ends; returns the exit status."""
    from optformer.data.studies.extras import importing

    with importing("optformer mcp", "mcp", "agents"):
        from optformer.serving.agents.mcp_server import serve
        from optformer.serving.agents.tools import Tools
    from optformer.serving.agents.homes import home_at

    serve(Tools(home_at(args.storage, args.model)))
    return 0
