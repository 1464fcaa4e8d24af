"""The studies of a visitor, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import HTTPException

from optformer.data.studies.errors import OptFormerError
from optformer.serving.service.page.addresses import study_address
from optformer.serving.service.page.history import History
from optformer.serving.service.page.texts import line
from optformer.serving.study.study import Study

ROWS = 20
"""Studies on one page; opening a stored one for the first time takes some ten milliseconds."""


@dataclass(frozen=True)
class Entry:
    """A study in the list: its history, or why it cannot be opened."""

    name: str
    address: str
    history: History | None
    fault: str = ""


@dataclass(frozen=True)
class Overview:
    """One page of the list of studies."""

    entries: Sequence[Entry]
    wanted: str
    page: int
    pages: int
    found: int
    total: int


def overview(
    names: Sequence[str], open_study: Callable[[str], Study], wanted: str, page: int
) -> Overview:
    """One page of the list.

    Args:
        names: All studies that the visitor may see.
        open_study: Opens one.
        wanted: Words that must be in the name, in any order; capitals do not matter.
        page: Which page, from 1; one beyond an end is the last or first one.
    """
    words = wanted.casefold().split()
    found = [name for name in names if all(word in name.casefold() for word in words)]
    pages = max(1, -(-len(found) // ROWS))
    page = min(max(page, 1), pages)
    entries = [_entry(name, open_study) for name in found[(page - 1) * ROWS : page * ROWS]]
    return Overview(entries, wanted, page, pages, len(found), len(names))


def _entry(name: str, open_study: Callable[[str], Study]) -> Entry:
    address = study_address(name)
    try:
        return Entry(name, address, History.of(open_study(name), name))
    except HTTPException:
        return Entry(name, address, None, "It was deleted at this moment.")
    except OptFormerError as error:  # another tool's study, which is none for us
        return Entry(name, address, None, line(error, 200))
