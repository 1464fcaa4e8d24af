"""What the server counts for Prometheus; every label has a bounded number of values."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "optformer_requests",
            "Requests by route and status.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "optformer_request_seconds",
            "Seconds a request took.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.suggestions = Counter("optformer_suggestions", "Trials handed out.", registry=registry)
        self.observations = Counter(
            "optformer_observations",
            "Trials observed, by what became of them.",
            ("status",),
            registry=registry,
        )
        self.pending = Gauge(
            "optformer_pending_trials",
            "Pending trials that clients have, in the whole storage.",
            registry=registry,
        )
        self.expired = Counter(
            "optformer_expired_leases", "Trials given up by this server.", registry=registry
        )
        self.batches = Histogram(
            "optformer_batch_size",
            "Studies whose suggestions were computed together.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )


class Measured:
    """Counts the requests of an application.

    Args:
        app: The application.
        metrics: Where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        state = scope.setdefault("state", {})  # where the route says which one it is
        try:
            await self._app(scope, receive, noted)
        finally:
            route = state.get("route", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
