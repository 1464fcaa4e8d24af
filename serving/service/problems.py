"""What is wrong with a request, as an answer that names the field, what was expected and what came.

The library's errors keep their names on the wire, so that a client can raise the same ones.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from optformer.data.runtime.text import hide_passwords, visible
from optformer.data.studies.errors import (
    OptFormerError,
    SpaceExhaustedError,
    StorageError,
    StudyError,
    TrialError,
)
from optformer.serving.service.schemas import ErrorAnswer, Fault

RETRY_SECONDS = 2
"""What a client is told to wait for when the storage is away."""


class Problem(HTTPException):
    """A request that is refused.

    Args:
        status: The status of the answer.
        error: Kind of error, mostly the name of an exception of the library.
        field: Which field or header is wrong.
        expected: What should have come.
        got: What came.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        status: int,
        error: str,
        *,
        field: str,
        expected: str,
        got: object,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        fault = Fault(
            field=visible(field),
            expected=visible(hide_passwords(expected)),
            got=shown(got),
        )
        super().__init__(status, detail=fault.expected, headers=dict(headers or {}))
        self.answer = ErrorAnswer(
            error=error, message=f"{fault.field}: {fault.expected}; got {fault.got}", faults=[fault]
        )


def shown(value: object) -> str:
    """A value as an answer may quote it: short, and without passwords."""
    return visible(hide_passwords(_short.repr(value)))


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


def install(app: FastAPI) -> None:
    """Have every error answered in the same form."""
    app.add_exception_handler(StarletteHTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    app.add_exception_handler(OptFormerError, _refuse_call)
    app.add_exception_handler(Exception, _apologize)


async def _refuse(request: Request, error: Any) -> JSONResponse:
    if isinstance(error, Problem):
        return answer_of(error)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another one")
        return _about_path(405, "method", allowed, request.method, error.headers)
    if error.status_code == 404:
        return _about_path(404, "path", "a path of /openapi.json", request.url.path)
    return _about_path(error.status_code, "request", str(error.detail), request.url.path)


def _about_path(
    status: int, field: str, expected: str, got: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    return answer_of(
        Problem(status, "ConfigError", field=field, expected=expected, got=got, headers=headers)
    )


def answer_of(problem: Problem) -> JSONResponse:
    """A problem as the answer to its request."""
    return JSONResponse(problem.answer.model_dump(), problem.status_code, headers=problem.headers)


async def _refuse_fields(request: Request, error: Any) -> JSONResponse:
    known = _known_fields(request)
    faults = [_fault(each, known) for each in error.errors()[:10]]
    message = "; ".join(f"{f.field}: {f.expected}; got {f.got}" for f in faults)
    answer = ErrorAnswer(error="ConfigError", message=message, faults=faults)
    return JSONResponse(answer.model_dump(), 422)


def _known_fields(request: Request) -> list[str]:
    """Names of the fields that the body of a request may have."""
    body = getattr(request.scope.get("route"), "body_field", None)
    model = None if body is None else body.field_info.annotation
    return sorted(getattr(model, "model_fields", ()))


def _fault(error: Mapping[str, Any], known: Sequence[str]) -> Fault:
    place: Sequence[Any] = [part for part in error["loc"] if part != "body"]
    expected = str(error["msg"])
    if error["type"] == "extra_forbidden" and len(place) == 1 and known:
        expected = f"no such field is known; known are {', '.join(known)}"
    return Fault(
        field=visible(".".join(map(str, place))) or "body",
        expected=visible(expected),
        got=shown(error.get("input")),
    )


async def _refuse_call(request: Request, error: Any) -> JSONResponse:
    status = status_of(error)
    message = hide_passwords(str(error))
    fault = Fault(field="request", expected=message, got=shown(request.url.path))
    answer = ErrorAnswer(error=type(error).__name__, message=message, faults=[fault])
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
    return JSONResponse(answer.model_dump(), status, headers=headers)


async def _apologize(request: Request, error: Exception) -> JSONResponse:
    """The answer to a fault of ours, which tells nothing about it; the log has it."""
    return _about_path(
        500, "request", "an answer", f"a fault of the server: {type(error).__name__}"
    )


@contextmanager
def about(
    field: str,
    got: object,
    *,
    kind: type[OptFormerError] = OptFormerError,
    status: int | None = None,
) -> Iterator[None]:
    """What the library refuses meanwhile is about one field.

    Args:
        field: The field.
        got: What came there.
        kind: Which errors are about it.
        status: The status of the answer; that of the error when absent.

    Raises:
        Problem: It refuses something, other than for the storage's sake.
    """
    try:
        yield
    except kind as error:
        if status_of(error) == 503:
            raise
        name = type(error).__name__
        raise Problem(
            status or status_of(error), name, field=field, expected=str(error), got=got
        ) from error


def status_of(error: OptFormerError) -> int:
    """The status for an error of the library."""
    if isinstance(error, StorageError):
        return 503
    if isinstance(error, SpaceExhaustedError | TrialError | StudyError):
        return 409  # the study is not in a state for that
    return 422
