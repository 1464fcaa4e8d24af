"""Bearer tokens: who sends a request. The file has owners and hashes, never a token.

A line is `OWNER sha256:HASH`. A token has 256 random bits, so a plain hash cannot be guessed back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import threading
from pathlib import Path

from optformer.data.studies.errors import ConfigError

_OWNER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_LINE = re.compile(r"(\S+)\s+sha256:([0-9a-f]{64})")
_EXPECTED = "1 to 64 small letters, digits, '_', '.' and '-', the first a letter or digit"


class Tokens:
    """The tokens of a file, read again when it changes.

    Args:
        file: The file.

    Raises:
        ConfigError: It cannot be read, or a line is not understood.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._stamp = _stamp(file)
        self._owners = read_tokens(file)

    def owner(self, authorization: str | None) -> str | None:
        """The owner whose token a header has, None when it has none that is known.

        Args:
            authorization: `Bearer TOKEN`, or as browsers send it, Basic with the token as password.
        """
        token = _token_in(authorization or "")
        return None if token is None else self.owners().get(hash_of(token))

    def owners(self) -> dict[str, str]:
        """Owners by the hashes of their tokens, as the file has them now.

        Raises:
            ConfigError: It cannot be read.
        """
        with self._lock:
            stamp = _stamp(self._file)
            if stamp != self._stamp:
                self._owners = read_tokens(self._file)
                self._stamp = stamp
            return self._owners


def read_tokens(file: Path) -> dict[str, str]:
    """Owners by the hashes of their tokens.

    Raises:
        ConfigError: The file cannot be read, or a line is not understood.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the tokens in {file}: {error}") from error
    owners: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        read = _LINE.fullmatch(text)
        if read is None:  # not quoted: it may be a token that somebody has put there
            raise ConfigError(
                f"{file}, line {number}: expected 'OWNER sha256:HASH', got something else; "
                "`optformer token OWNER` makes such a line"
            )
        owners[read[2]] = checked_owner(read[1])
    return owners


def make_token(file: Path, owner: str) -> str:
    """Make a token of an owner, and add its hash to a file that only its user may read.

    Returns:
        The token, which is stored nowhere.

    Raises:
        ConfigError: The owner has another name than is allowed, or the file cannot be written.
    """
    checked_owner(owner)
    if file.exists():
        read_tokens(file)
    token = secrets.token_urlsafe(32)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as opened:
            opened.write(f"{owner} sha256:{hash_of(token)}\n")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
    return token


def checked_owner(owner: str) -> str:
    """The name of an owner, which begins the names of its studies in the storage.

    Raises:
        ConfigError: It has other characters than are allowed.
    """
    if not _OWNER.fullmatch(owner):
        raise ConfigError(f"an owner is {_EXPECTED}; got {owner!r}")
    return owner


def _token_in(authorization: str) -> str | None:
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def hash_of(token: str) -> str:
    """The hash of a token, as the file has it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise ConfigError(f"cannot read the tokens in {file}: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size
