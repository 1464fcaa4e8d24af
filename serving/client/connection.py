"""Requests to a server: repeated while it is away, and with its errors raised as the library's."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optformer.data.runtime.text import hide_passwords, shorten, visible
from optformer.data.studies import errors
from optformer.data.studies.errors import ConfigError, OptFormerError, StorageError, StudyError
from optformer.data.studies.extras import importing

if TYPE_CHECKING:
    import httpx

PATIENCE = 30.0
"""Seconds for which a request is repeated while the server is away."""

_TRY_AGAIN = (429, 502, 503, 504)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0  # seconds
_CONNECT_SECONDS = 5.0


class ServerAwayError(StorageError):
    """The server did not answer, or not this client: what was asked may be asked again."""


class NoStudyError(StudyError):
    """The server has no study of this name for this client."""


class Token:
    """A secret that is not shown.

    Args:
        secret: The token itself.

    Raises:
        ConfigError: It cannot be one.
    """

    def __init__(self, secret: str) -> None:
        if not isinstance(secret, str) or not secret.isascii() or not secret.isprintable():
            raise ConfigError("token must be text of printable ASCII characters")
        self._secret = secret.strip()

    def __repr__(self) -> str:
        return "Token(***)"

    def header(self) -> dict[str, str]:
        """The header that shows it to a server."""
        return {"Authorization": f"Bearer {self._secret}"}


class Connection:
    """A server's address, and the way there. It may be used by threads, pickled and forked.

    Args:
        url: Where the server is, http or https, maybe with a path.
        token: Who asks; None for a server without tokens.
        timeout: Seconds to wait for an answer.
        patience: Seconds for which a request is repeated while the server is away.
        transport: How requests are carried; None for the network.

    Raises:
        ConfigError: It is no such address.
        MissingExtraError: httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        token: Token | None,
        *,
        timeout: float,
        patience: float = PATIENCE,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        with importing("a client of a server", "httpx", "serve"):
            import httpx
        try:
            parsed = httpx.URL(url)
        except (TypeError, httpx.InvalidURL) as error:
            raise ConfigError(f"the address of a server is not understood: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query:
            raise ConfigError(
                "the address of a server must be like 'http://host:8000', "
                f"got {hide_passwords(str(url))!r}"
            )
        self._url, self._token = str(url).rstrip("/"), token
        self._timeout, self._patience, self._transport = timeout, patience, transport
        self._random = random.Random()  # of pauses alone
        self._http: tuple[int, httpx.Client] | None = None  # of the process that made it

    def __repr__(self) -> str:
        return f"Connection({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _connection, (self._url, self._token, self._timeout, self._patience)

    @property
    def url(self) -> str:
        """The server's address, without a password."""
        return hide_passwords(self._url)

    def close(self) -> None:
        """Close what is open; the next request opens it again."""
        opened, self._http = self._http, None
        if opened is not None and opened[0] == os.getpid():
            opened[1].close()

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        params: Mapping[str, Any] | None = None,
        patience: float | None = None,
    ) -> Any:
        """Make a request, again while the server is away.

        Args:
            method: GET, POST or DELETE.
            path: Below the address.
            body: What to send.
            key: A name of the request, by which the server knows a repeated one.
            params: The query.
            patience: Seconds for which it is repeated; the connection's when absent.

        Returns:
            What the server answers; None for nothing.

        Raises:
            ServerAwayError: It is away, or does not take the token.
            OptFormerError: What the server raised.
        """
        import httpx

        patience = self._patience if patience is None else patience
        started, pause, attempts = time.monotonic(), _FIRST_PAUSE, 0
        while True:
            attempts, least = attempts + 1, 0.0
            try:
                response = self._send(method, path, body, key, params)
            except httpx.TransportError as error:
                fault = f"{type(error).__name__}: {error}"
            else:
                if response.status_code not in _TRY_AGAIN:
                    return self._read(response)
                fault = str(self._error(response))
                least = _seconds(response.headers.get("Retry-After"))
            wait = max(least, pause * self._random.uniform(0.5, 1.5))
            waited = time.monotonic() - started
            if waited + wait > patience:
                times = f"{attempts} times in {waited:.0f} s" if attempts > 1 else "once"
                raise ServerAwayError(
                    f"cannot reach {self.url}: {visible(hide_passwords(fault))}; tried {times}"
                )
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        key: str | None,
        params: Mapping[str, Any] | None,
    ) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body, allow_nan=False)
        return self._client().request(
            method, f"{self._url}{path}", content=content, headers=headers, params=params
        )

    def _client(self) -> httpx.Client:
        import httpx

        opened = self._http
        if opened is None or opened[0] != os.getpid():  # a fork opens connections of its own
            client = httpx.Client(
                headers={} if self._token is None else self._token.header(),
                timeout=httpx.Timeout(self._timeout, connect=_CONNECT_SECONDS),
                transport=self._transport,
            )
            opened = self._http = (os.getpid(), client)
        return opened[1]

    def _read(self, response: httpx.Response) -> Any:
        if not response.is_success:
            raise self._error(response)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise self._no_server(response) from None

    def _error(self, response: httpx.Response) -> OptFormerError:
        """What the server says is wrong, as the library's exception."""
        try:
            answer = response.json()
            name, message, faults = answer["error"], str(answer["message"]), answer["faults"]
            if len(faults) == 1:  # the library's own words
                message = str(faults[0]["expected"])
            field = faults[0]["field"] if faults else ""
        except (KeyError, LookupError, TypeError, ValueError):
            return self._no_server(response)
        if response.status_code in (401, 403):
            wrong = "asks for a token" if self._token is None else "does not know the token"
            return ServerAwayError(
                f"{self.url} {wrong}; give the one that `optformer token` has written, as token= "
                "or in OPTFORMER_TOKEN"
            )
        if response.status_code >= 500:  # nobody knows what it has done
            return ServerAwayError(f"{self.url} answers {response.status_code}: {message}")
        if response.status_code == 404 and field == "name":
            return NoStudyError(message)
        kind = getattr(errors, str(name), None)
        if isinstance(kind, type) and issubclass(kind, OptFormerError):
            return kind(message)
        return StorageError(f"{self.url} answers {response.status_code}: {answer['message']}")

    def _no_server(self, response: httpx.Response) -> OptFormerError:
        told = shorten(visible(response.text.strip()), 200)
        return ServerAwayError(
            f"{self.url} answers {response.status_code}, not as a server of studies does: {told!r}"
        )


def _connection(url: str, token: Token | None, timeout: float, patience: float) -> Connection:
    return Connection(url, token, timeout=timeout, patience=patience)


def _seconds(text: str | None) -> float:
    """How long to wait, of the header Retry-After; a date says nothing here."""
    try:
        return min(max(float(text or 0.0), 0.0), 60.0)
    except ValueError:
        return 0.0
