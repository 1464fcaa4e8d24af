"""`optformer serve`: studies over HTTP."""

from __future__ import annotations

import argparse
import ipaddress
import signal
import socket
import sys
from pathlib import Path

from optformer.data.studies.errors import ConfigError
from optformer.serving.cli import console

_BACKLOG = 2048
_TERMINATED = 128 + signal.SIGTERM
_GRACE_SECONDS = 30  # for requests under way when it ends


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
    parser.add_argument(
        "--port", type=int, default=8000, help="port, 0 for any that is free (default 8000)"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help="who may ask, as `optformer token` writes it; each owner sees its own studies",
    )
    who.add_argument(
        "--without-tokens",
        action="store_true",
        help="serve other machines, and let everybody who reaches the port do everything",
    )
    parser.add_argument(
        "--lease",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="give up a trial whose client was silent for so long (default 300)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=200.0,
        help="requests a second of one owner, or one address without tokens (default 200)",
    )
    parser.add_argument(
        "--one-by-one",
        action="store_true",
        help="compute the suggestions of different studies apart, for measurements",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it; returns the exit status."""
    from optformer.data.studies.extras import importing

    for name in ("lease", "rate"):
        if not getattr(args, name) > 0:
            raise ConfigError(f"--{name} must be above 0, got {getattr(args, name)}")
    if args.tokens is None and not args.without_tokens and not _is_own(args.host):
        raise ConfigError(
            f"--host {args.host} is open to other machines: give it --tokens FILE, which "
            "`optformer token OWNER --tokens FILE` makes, or say --without-tokens"
        )
    with importing("optformer serve", "fastapi", "serve"):
        import uvicorn

        from optformer.serving.service.app import create_app
        from optformer.serving.service.limits import Limits
        from optformer.serving.service.tokens import Tokens

    app = create_app(
        args.storage,
        tokens=None if args.tokens is None else Tokens(args.tokens),
        limits=Limits(rate=args.rate, burst=max(1, round(5 * args.rate))),
        lease=args.lease,
        batched=not args.one_by_one,
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    # uvicorn raises the signal again when it has ended; the interpreter is to end in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    with _listen(args.host, args.port) as listening:
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        console.note(f"serving {args.storage} at http://{shown}:{port}")
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen at {host}, port {port}: {error}") from error


def _is_own(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
