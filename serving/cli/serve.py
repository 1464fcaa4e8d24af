"""`optformer serve`: studies over HTTP."""

from __future__ import annotations

import argparse

from optformer.serving.cli import console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "serve",
        description="Serves the studies of a storage over HTTP, to any number of machines.",
    )
    parser.add_argument(
        "--storage",
        default="sqlite:///studies.db",
        help="SQLite, PostgreSQL or MySQL, made if it is not there (default sqlite:///studies.db)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port (default 8000)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it; returns the exit status."""
    from optformer.data.studies.extras import importing

    with importing("optformer serve", "fastapi", "serve"):
        import uvicorn

        from optformer.serving.service.app import create_app

    app = create_app(args.storage)
    console.note(f"serving {args.storage} at http://{args.host}:{args.port}")
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning")
    return 0
