"""The routes of the page. All but logging in and out only read."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, unquote_to_bytes

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from optformer.data.studies.errors import ConfigError, OptFormerError, StorageError
from optformer.serving.service.page.cache import Cache
from optformer.serving.service.page.history import History
from optformer.serving.service.page.overview import overview
from optformer.serving.service.page.rendering import ASSET_HEADERS, HEADERS, asset, render
from optformer.serving.service.page.study_page import PARTS, part_values, study_values
from optformer.serving.service.page.texts import line
from optformer.serving.service.page.trial_table import FILES
from optformer.serving.service.sessions import COOKIE, SESSION_SECONDS, Sessions
from optformer.serving.study.study import Study

_LOGIN_BYTES = 4096
_FAULTS = {
    404: "There is no such page or study.",
    405: "That cannot be done here.",
    503: "The server cannot read what it needs. Try again in a moment.",
}


class _PageRoute(APIRoute):
    """A route whose errors are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                response = await handler(request)
            except HTTPException as error:
                response = _fault(request, error.status_code)
            except ConfigError:  # the tokens cannot be read: no visitor's business
                response = _fault(request, 503)
            except OptFormerError as error:
                status = 503 if isinstance(error, StorageError) else 409
                response = _fault(request, status, str(error))
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return handle


class Library(Protocol):
    """The studies of a service, each for its owner; everybody's without one."""

    def names(self, owner: str | None) -> list[str]:
        """Names of an owner's studies, sorted."""

    def get(self, owner: str | None, name: str) -> Study:
        """A study of an owner.

        Raises:
            HTTPException: The owner has none of this name.
        """


def page_router(library: Library, sessions: Sessions | None) -> APIRouter:
    """The page over the studies of a service.

    Args:
        library: The studies.
        sessions: Who may look at which; None shows everybody all of them.
    """
    router = APIRouter(route_class=_PageRoute, include_in_schema=False)
    cache = Cache()

    @router.get("/")
    def index(request: Request) -> Response:
        owner, query = _owner(sessions, request), request.query_params
        listed = overview(
            library.names(owner),
            lambda name: library.get(owner, name),
            query.get("search", "")[:200],
            _page(query),
        )
        return _shown(request, "index.html", owner, listed=listed)

    @router.get("/studies/{path:path}")
    def named_study(request: Request) -> Response:
        return study(request, _name_in(request))

    @router.get("/study")
    def asked_study(request: Request) -> Response:
        return study(request, request.query_params.get("name", ""))

    def study(request: Request, name: str) -> Response:
        owner, query = _owner(sessions, request), request.query_params
        found = library.get(owner, name)
        if (suffix := query.get("download")) is not None:
            return _download(History.of(found, name), suffix)
        if (part := query.get("part")) is not None:
            if part not in PARTS:
                raise HTTPException(404)
            values = part_values(found, name, part, _page(query), cache, owner)
            return _shown(request, "part.html", owner, **values)
        values = study_values(found, name, query.get("order", ""), _page(query))
        return _shown(request, "study.html", owner, **values)

    @router.get("/static/{name}")
    def static(request: Request, name: str) -> Response:
        found = asset(name)
        if found is None:
            raise HTTPException(404)
        content, compressed, kind = found
        headers = dict(ASSET_HEADERS)
        if _takes_gzip(request):
            content, headers["Content-Encoding"] = compressed, "gzip"
        return Response(content, media_type=kind, headers=headers)

    @router.get("/login")
    def ask_token(request: Request) -> Response:
        if sessions is None:
            return RedirectResponse(_base(request), 303)
        return _shown(request, "login.html", None, refused=False, to=_next(request))

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        _check_origin(request)
        if sessions is None:
            raise HTTPException(404)
        cookie = sessions.begin(await _token(request))
        if cookie is None:
            values = {"refused": True, "to": _next(request)}
            return _shown(request, "login.html", None, 401, **values)
        response = RedirectResponse(_base(request) + _next(request), 303)
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=SESSION_SECONDS,
            path=_base(request),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    @router.post("/logout")
    def log_out(request: Request) -> Response:
        _check_origin(request)
        response = RedirectResponse(_base(request) + "login", 303)
        response.delete_cookie(COOKIE, path=_base(request), httponly=True, samesite="strict")
        return response

    return router


class _NeedsToken(HTTPException):
    """A visitor that has not told a token."""

    def __init__(self) -> None:
        super().__init__(401)


def _owner(sessions: Sessions | None, request: Request) -> str | None:
    """Whose studies are shown; None for everybody's."""
    if sessions is None:
        return None
    owner = sessions.owner(request.cookies.get(COOKIE, ""))
    if owner is None:
        raise _NeedsToken
    return owner


def _shown(
    request: Request, template: str, owner: str | None, status: int = 200, **values: Any
) -> Response:
    text = render(template, _base(request), owner=owner, **values)
    content = text.encode("utf-8", "replace")  # a lone surrogate of somebody has no encoding
    headers = {"Vary": "Accept-Encoding, Cookie"}
    if _takes_gzip(request):
        content, headers["Content-Encoding"] = gzip.compress(content, 3), "gzip"
    return HTMLResponse(content, status, headers)


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def _fault(request: Request, status: int, told: str = "") -> Response:
    base = _base(request)
    if status == 401:
        here = request.url.path.removeprefix(base.rstrip("/")).lstrip("/")
        here += f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{base}login{'?to=' if here else ''}{quote(here, safe='')}", 303)
    message = _FAULTS.get(status, "That did not work.")
    return _shown(request, "fault.html", None, status, message=message, told=line(told, 300))


def _base(request: Request) -> str:
    """Where the page is mounted, ending in a slash."""
    return str(request.scope.get("root_path", "")).rstrip("/") + "/"


def _name_in(request: Request) -> str:
    """The study's name in the path, decoded once, whatever was decoded before."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    _, _, name = raw.partition(b"?")[0].partition(b"/studies/")
    try:
        return unquote_to_bytes(name).decode()
    except UnicodeDecodeError:
        raise HTTPException(404) from None


def _page(query: Mapping[str, str]) -> int:
    text = query.get("page", "1")
    return int(text) if text.isdecimal() and len(text) < 7 else 1


def _next(request: Request) -> str:
    """Where to go after logging in: a place of this page, never another host's."""
    to = request.query_params.get("to", "")
    return to if to.startswith(("studies/", "study?", "?")) else ""


def _check_origin(request: Request) -> None:
    """Refuse a form that another site has sent."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise HTTPException(403)


async def _token(request: Request) -> str:
    """The token of a form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LOGIN_BYTES:
            raise HTTPException(413)
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()


def _download(history: History, suffix: str) -> Response:
    if suffix not in FILES:
        raise HTTPException(404)
    kind, content = FILES[suffix]
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", history.name)[:80].strip(".")
    file = f"{plain or 'study'}.{suffix}"
    return Response(
        content(history).encode("utf-8", "replace"),
        media_type=f"{kind}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{file}"'},
    )
