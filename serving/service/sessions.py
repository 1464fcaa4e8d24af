"""Sessions of browsers: a visitor tells a token once, and has a cookie that is none."""

from __future__ import annotations

import hashlib
import hmac
import time

from optformer.serving.service.tokens import Tokens, hash_of

COOKIE = "optformer_session"

SESSION_SECONDS = 12 * 3600
"""How long a session lasts."""

_KNOWN_BY = 16  # digits of a token's hash that a cookie has


class Sessions:
    """Cookies that are signed with the hash of a token, and end with it.

    A cookie is `BEGIN.UNTIL.SIGNATURE`: how the token's hash begins, when the session ends, in
    seconds since 1970, and a signature that only the whole hash can make. All servers with the same
    tokens know it, after a restart, too.

    Args:
        tokens: The tokens.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def begin(self, token: str) -> str | None:
        """The cookie of a new session, None when the token is not known.

        Raises:
            ConfigError: The tokens cannot be read.
        """
        hashed = hash_of(token)
        if hashed not in self._tokens.owners():
            return None
        told = f"{hashed[:_KNOWN_BY]}.{int(time.time()) + SESSION_SECONDS}"
        return f"{told}.{_signature(hashed, told)}"

    def owner(self, cookie: str) -> str | None:
        """Whose session it is, None when it is forged, over, or its token is gone.

        Raises:
            ConfigError: The tokens cannot be read.
        """
        told, _, signature = cookie.rpartition(".")
        begin, _, until = told.partition(".")
        if not until.isdecimal() or len(until) > 12 or int(until) < time.time():
            return None
        for hashed, owner in self._tokens.owners().items():
            if hashed[:_KNOWN_BY] == begin:
                expected = _signature(hashed, told)
                if hmac.compare_digest(signature.encode(), expected.encode()):
                    return owner
        return None


def _signature(hashed: str, told: str) -> str:
    return hmac.new(bytes.fromhex(hashed), told.encode(), hashlib.sha256).hexdigest()
