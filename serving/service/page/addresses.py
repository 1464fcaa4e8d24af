"""Addresses on the page. Any text may be the name of a study."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def study_address(name: str, **query: object) -> str:
    """The address of a study, relative to where the page is mounted.

    A path would lose or turn some names, such as `..` or `a/b`, on the way through browsers and
    proxies: these go into the query.

    Args:
        name: Its name.
        query: What of it is wanted; None is left out.
    """
    wanted = {key: str(value) for key, value in query.items() if value is not None}
    if _survives(name):
        path = f"studies/{quote(name, safe='', errors='replace')}"
    else:
        path, wanted = "study", {"name": name, **wanted}
    return f"{path}?{urlencode(wanted, errors='replace')}" if wanted else path


def _survives(name: str) -> bool:
    return name.strip(".") != "" and not set(name) & set("/\\") and name.isprintable()
