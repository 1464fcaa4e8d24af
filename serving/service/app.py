"""The application: every route over the studies of one storage."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from optformer._version import __version__
from optformer.serving.service import problems, routes
from optformer.serving.service.schemas import ErrorAnswer, Health
from optformer.serving.service.studies import MakePlanner, Studies
from optformer.serving.study.storage import StorageLike

_ERRORS = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in (
        (404, "There is no such study or trial"),
        (409, "The study or trial is not in a state for that"),
        (422, "A field is wrong"),
        (503, "The storage is away; try again"),
    )
}


def create_app(storage: StorageLike, *, make_planner: MakePlanner | None = None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        storage: Where the studies are kept, as in `create_study`.
        make_planner: Who suggests in a study; the study's own model when absent.

    Raises:
        StorageError: The storage cannot be opened.
    """
    # The documentation pages of FastAPI fetch scripts from the network.
    app = FastAPI(title="OptFormer", version=__version__, docs_url=None, redoc_url=None)
    app.state.studies = Studies(storage, make_planner)
    app.state.metrics = CollectorRegistry()
    app.include_router(routes.router, responses={**_ERRORS})
    app.add_api_route("/health", _health, methods=["GET"], response_model=Health)
    app.add_api_route("/metrics", _metrics, methods=["GET"], include_in_schema=False)
    app.add_middleware(_RawPaths)
    problems.install(app)
    return app


def _health(request: Request) -> Health:
    """Whether the server and its storage answer."""
    request.app.state.studies.check()
    return Health(status="ok", version=__version__)


def _metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics), media_type=CONTENT_TYPE_LATEST)


class _RawPaths:
    """Leaves paths percent-encoded, so that a name may have slashes in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)
