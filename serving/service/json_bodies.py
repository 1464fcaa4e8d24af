"""Bodies of requests as JSON, read more strictly than Python does.

Python's reader takes NaN, numbers beyond all range and half characters, and nests as deep as its
stack. Databases take none of them, so they are refused before anything is stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from optformer.serving.service.problems import Problem

MAX_DEPTH = 32
"""Lists and objects inside each other."""

MAX_TEXT = 10_000
"""Characters of one text."""

_MOST_DIGITS = 400  # of a whole number; the longest float has 309


class JsonRoute(APIRoute):
    """A route whose bodies are read by `read_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with our kind of request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.state.route = self.path_format  # for the metrics
            if self.body_field is not None:
                check_content_type(request)
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle


class _JsonRequest(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


def check_content_type(request: Request) -> None:
    """Refuse a body that is not declared as JSON.

    Raises:
        Problem: It is another kind, or none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _wrong(415, "Content-Type", "application/json", kind)


def read_json(body: bytes) -> Any:
    """Read a body.

    Raises:
        Problem: It is no JSON, or holds something that cannot be stored.
    """
    try:
        read = json.loads(
            body.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise _wrong(422, "body", "text in UTF-8", error.object[error.start :][:10]) from None
    except json.JSONDecodeError as error:
        near = error.doc[error.pos : error.pos + 20]
        raise _wrong(422, "body", f"JSON ({error.msg} at character {error.pos})", near) from None
    except RecursionError:
        raise _wrong(422, "body", f"at most {MAX_DEPTH} levels", "more of them") from None
    _check(read)
    return read


def _check(read: Any) -> None:
    waiting: list[tuple[str, Any, int]] = [("", read, 0)]
    while waiting:
        place, value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _wrong(422, place or "body", f"at most {MAX_DEPTH} levels", "more of them")
        if isinstance(value, dict):
            for key, inner in value.items():
                _check_text(place, key)
                waiting.append((f"{place}.{key}" if place else key, inner, depth + 1))
        elif isinstance(value, list):
            waiting += [(f"{place}.{i}", inner, depth + 1) for i, inner in enumerate(value)]
        elif isinstance(value, str):
            _check_text(place, value)


def _check_text(place: str, text: str) -> None:
    place = place or "body"
    if len(text) > MAX_TEXT:
        raise _wrong(422, place, f"a text of at most {MAX_TEXT} characters", text)
    if "\0" in text:
        raise _wrong(422, place, "a text without NUL characters", text)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _wrong(422, place, "whole characters of Unicode, not half of a pair", text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _wrong(422, "body", "every name once in an object", twice)
    return read


def _refuse_constant(name: str) -> NoReturn:
    raise _wrong(422, "body", 'JSON, where this number is written "NaN" or "Infinity"', name)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _wrong(422, "body", 'a number of at most 1.8e308, or "Infinity"', text[:60])
    return number


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise _wrong(422, "body", f"a number of at most {_MOST_DIGITS} digits", text[:60])
    return int(text)


def _wrong(status: int, field: str, expected: str, got: object) -> Problem:
    return Problem(status, "ConfigError", field=field, expected=expected, got=got)
