"""What is wrong with a request, as an answer that names the field, what was expected and what came.

The library's errors keep their names on the wire, so that a client can raise the same ones.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
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
        fault = Fault(field=field, expected=expected, got=shown(got))
        super().__init__(status, detail=fault.expected, headers=dict(headers or {}))
        self.answer = ErrorAnswer(
            error=error, message=f"{field}: expected {expected}, got {fault.got}", faults=[fault]
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


async def _refuse(request: Request, error: Any) -> JSONResponse:
    if isinstance(error, Problem):
        answer = error.answer
    else:
        fault = Fault(
            field="request",
            expected=str(error.detail),
            got=shown(f"{request.method} {request.url.path}"),
        )
        answer = ErrorAnswer(
            error="HTTPException", message=f"{fault.expected}: {fault.got}", faults=[fault]
        )
    return JSONResponse(answer.model_dump(), error.status_code, headers=error.headers)


async def _refuse_fields(request: Request, error: Any) -> JSONResponse:
    faults = [_fault(each) for each in error.errors()[:10]]
    message = "; ".join(f"{f.field}: expected {f.expected}, got {f.got}" for f in faults)
    answer = ErrorAnswer(error="ConfigError", message=message, faults=faults)
    return JSONResponse(answer.model_dump(), 422)


def _fault(error: Mapping[str, Any]) -> Fault:
    place: Sequence[Any] = [part for part in error["loc"] if part != "body"]
    return Fault(
        field=visible(".".join(map(str, place))) or "body",
        expected=visible(error["msg"]),
        got=shown(error.get("input")),
    )


async def _refuse_call(request: Request, error: Any) -> JSONResponse:
    status = status_of(error)
    message = hide_passwords(str(error))
    fault = Fault(field="request", expected=message, got=shown(request.url.path))
    answer = ErrorAnswer(error=type(error).__name__, message=message, faults=[fault])
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
    return JSONResponse(answer.model_dump(), status, headers=headers)


def status_of(error: OptFormerError) -> int:
    """The status for an error of the library."""
    if isinstance(error, StorageError):
        return 503
    if isinstance(error, SpaceExhaustedError | TrialError | StudyError):
        return 409  # the study is not in a state for that
    return 422
