"""The application: every route over the studies of one storage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from optformer._version import __version__
from optformer.data.studies.errors import OptFormerError
from optformer.serving.service import problems, routes
from optformer.serving.service.batching import SuggestionQueue
from optformer.serving.service.client_store import DEFAULT_LEASE
from optformer.serving.service.gate import Gate
from optformer.serving.service.json_bodies import JsonRoute
from optformer.serving.service.limits import Limits
from optformer.serving.service.metrics import Measured, Metrics
from optformer.serving.service.page.router import page_router
from optformer.serving.service.schemas import ErrorAnswer, Health
from optformer.serving.service.sessions import Sessions
from optformer.serving.service.studies import MakePlanner, Studies
from optformer.serving.service.tokens import Tokens
from optformer.serving.study.storage import StorageLike

_SWEEP_SECONDS = 5.0  # between two looks for leases that have ended
_SWEEP_SHARE = 20  # a look may take one of so many seconds
_THREADS = 8  # requests that use the storage at a time; it has 15 connections

_LOG = logging.getLogger("optformer.service")

_ERRORS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in (
        (401, "The token is missing or not known"),
        (404, "There is no such study or trial"),
        (409, "The study or trial is not in a state for that"),
        (413, "The body is too large"),
        (415, "The body is not declared as JSON"),
        (422, "A field is wrong"),
        (429, "Too many requests; wait as long as Retry-After says"),
        (503, "The storage is away; try again"),
    )
}


def create_app(
    storage: StorageLike,
    *,
    tokens: Tokens | None = None,
    limits: Limits | None = None,
    lease: float = DEFAULT_LEASE,
    batched: bool = True,
    make_planner: MakePlanner | None = None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        storage: Where the studies are kept, as in `create_study`; made if it is not there.
        tokens: Who may ask; None lets everybody in, to all studies of the storage.
        limits: What a client may ask for.
        lease: Seconds that a client has a trial for after its last sign of life, unless it asks
            for others.
        batched: Whether suggestions of several studies are computed together.
        make_planner: Who suggests in a study; the study's own model when absent.

    Raises:
        StorageError: The storage cannot be opened.
    """
    limits = limits or Limits()
    # The documentation pages of FastAPI fetch scripts from the network.
    app = FastAPI(
        title="OptFormer", version=__version__, docs_url=None, redoc_url=None, lifespan=_lifespan
    )
    app.router.route_class = JsonRoute
    metrics = Metrics()
    app.state.metrics = metrics
    app.state.studies = Studies(storage, make_planner, most=limits.studies)
    app.state.lease = lease
    app.state.suggestions = SuggestionQueue(
        most=limits.waiting,
        batched=batched,
        note_batch=metrics.batches.observe,
        prepare=_load_model if make_planner is None else lambda: None,
    )
    app.include_router(routes.router, responses=_ERRORS)
    app.include_router(page_router(app.state.studies, None if tokens is None else Sessions(tokens)))
    app.add_api_route("/health", _health, methods=["GET"], response_model=Health)
    app.add_api_route("/metrics", _metrics, methods=["GET"], include_in_schema=False)
    app.add_middleware(Gate, limits=limits, tokens=tokens)
    app.add_middleware(Measured, metrics=metrics)
    problems.install(app)
    return app


def _load_model() -> None:
    """Have the shipped model at hand before the first request."""
    from optformer.planning.planner import load_planner

    with suppress(OptFormerError):  # whoever needs it is told
        load_planner()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    app.state.suggestions.start()
    sweeping = asyncio.create_task(_sweep(app))
    yield
    sweeping.cancel()
    with suppress(asyncio.CancelledError):
        await sweeping
    await asyncio.to_thread(app.state.suggestions.end)


async def _sweep(app: FastAPI) -> None:
    """Look for leases that have ended, now and then."""
    clock = asyncio.get_running_loop().time
    while True:
        began = clock()
        try:
            pending, expired = await asyncio.to_thread(app.state.studies.expire_leases)
        except OptFormerError as error:  # the storage may be away for a while
            _LOG.warning("leases were not looked at: %s", error)
        else:
            app.state.metrics.pending.set(pending)
            app.state.metrics.expired.inc(expired)
        await asyncio.sleep(max(_SWEEP_SECONDS, _SWEEP_SHARE * (clock() - began)))


def _health(request: Request) -> Health:
    """Whether the server and its storage answer."""
    request.app.state.studies.check()
    return Health(status="ok", version=__version__)


def _metrics(request: Request) -> Response:
    """What the server has counted, for Prometheus."""
    registry = request.app.state.metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
