"""What a request passes before any route: its owner, its rate and the size of its body."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from optformer.data.studies.errors import ConfigError
from optformer.serving.service.limits import Limits, Rates
from optformer.serving.service.problems import Problem, answer_of
from optformer.serving.service.tokens import Tokens

OPEN = ("/health", "/metrics", "/openapi.json")
"""Paths that are open to everybody, at any rate."""

GUARDED = "/v1/"
"""How paths begin that need a token; the page for people has sessions."""

_BODY_SECONDS = 30.0  # for the next piece of a body

_CHALLENGE = 'Bearer, Basic realm="OptFormer: any name, and the token as the password"'


class Gate:
    """Lets a request pass, with `request.state.owner` set, or answers it.

    Paths stay percent-encoded, so that the name of a study may have slashes in it.

    Args:
        app: What is behind the gate.
        limits: What a client may ask for.
        tokens: Who may ask; None lets everybody in, without an owner.
    """

    def __init__(self, app: ASGIApp, limits: Limits, tokens: Tokens | None) -> None:
        self._app, self._limits, self._tokens = app, limits, tokens
        self._rates = Rates(limits.rate, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope.get("raw_path"):
            path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
            scope = {**scope, "path": path}
        try:
            owner = self._check(scope)
        except Problem as problem:
            await answer_of(problem)(scope, receive, send)
            return
        scope.setdefault("state", {})["owner"] = owner
        await self._app(scope, self._counted(receive), send)

    def _check(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._limits.body:
            raise self._too_large(length)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in OPEN:
            return None
        address = scope["client"][0] if scope.get("client") else ""
        owner = None
        if self._tokens is not None and path.startswith(GUARDED):
            owner = self._owner(self._tokens, headers, address)
        self._count(f"owner {owner}" if owner is not None else f"address {address}")
        return owner

    def _owner(self, tokens: Tokens, headers: Headers, address: str) -> str:
        authorization = headers.get("authorization")
        try:
            owner = tokens.owner(authorization)
        except ConfigError as error:  # somebody writes the file at this moment, or has spoiled it
            raise Problem(
                503,
                "ConfigError",
                field="Authorization",
                expected="a tokens file that can be read",
                got="another one",
                headers={"Retry-After": "5"},
            ) from error
        if owner is None:
            self._count(f"address {address}")  # so that those who guess are slowed down
            raise Problem(
                401,
                "ConfigError",
                field="Authorization",
                expected="'Bearer TOKEN' with a token of this server",
                got="no token" if authorization is None else "a token that is not known",
                headers={"WWW-Authenticate": _CHALLENGE},
            )
        return owner

    def _count(self, client: str) -> None:
        seconds = self._rates.wait(client)
        if seconds:
            raise Problem(
                429,
                "ConfigError",
                field="request",
                expected=f"at most {self._limits.rate:g} requests a second",
                got=f"more; wait {seconds} s",
                headers={"Retry-After": str(seconds)},
            )

    def _counted(self, receive: Receive) -> Receive:
        """A body that ends with an error when it is too large or too slow, whatever it declares."""
        total, whole = 0, False

        async def counted() -> Message:
            nonlocal total, whole
            if whole:  # what comes now is that the client has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), _BODY_SECONDS)
            except TimeoutError:
                expected = f"each piece of it within {_BODY_SECONDS:g} s"
                raise Problem(
                    408, "ConfigError", field="body", expected=expected, got="nothing"
                ) from None
            total += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if total > self._limits.body:
                raise self._too_large(f"{total}, and more")
            return message

        return counted

    def _too_large(self, got: str) -> Problem:
        expected = f"at most {self._limits.body} bytes"
        return Problem(413, "ConfigError", field="body", expected=expected, got=f"{got} bytes")
