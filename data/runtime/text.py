"""Text from elsewhere, made harmless: it is shown, it does nothing to a terminal."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*+://[^\s:/?#@'\"]*+):[^\s'\"]*@")
_SECRET_OPTION = re.compile(
    r"([?&;](?:[\w.-]*(?:password|passwd|pwd|passphrase|secret|token)[\w.-]*)=)[^\s&;'\"]*",
    re.IGNORECASE,
)


def visible(text: str) -> str:
    r"""Write out what cannot be seen: `\x1b` for an escape, `\n` for a line break.

    Escapes of terminals, marks that reverse the direction of reading and lone surrogates become
    text that every terminal and encoding of Unicode shows as it is.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def visible_lines(text: str) -> str:
    """Like `visible`, with line breaks kept."""
    return "\n".join(map(visible, text.split("\n")))


def shorten(text: str, length: int) -> str:
    """Cut a long text in its middle, and say how much is missing.

    Args:
        text: Any text.
        length: Characters to keep, at least 1.
    """
    if len(text) <= length:
        return text
    head = (length + 1) // 2
    tail = length - head
    return f"{text[:head]} ... ({len(text) - length} characters) ... {text[len(text) - tail :]}"


def hide_passwords(text: str) -> str:
    """Replace the passwords of all addresses in a text, `scheme://user:password@host`, by `***`.

    What is given as an option of an address, as in `?password=...`, is hidden, too. A password with
    white space or quotes in it is not recognized as one.
    """
    return _SECRET_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
