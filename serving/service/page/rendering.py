"""Templates and static files of the page, and the headers that keep it to itself."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from optformer.serving.service.page import sketches, texts
from optformer.serving.service.page.addresses import study_address
from optformer.serving.service.page.history import WORDS

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; "
        "style-src 'self' 'unsafe-inline'; "  # plotly.js writes styles of its own
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
"""Of every page: it runs no script but its own, asks no other host, and lies in no frame."""

ASSET_HEADERS: Mapping[str, str] = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}
"""Of static files, whose addresses change with their content."""

_ASSETS = {
    "style.css": ("optformer.serving.service.page", "static/style.css", "text/css"),
    "page.js": ("optformer.serving.service.page", "static/page.js", "text/javascript"),
    "icon.svg": ("optformer.serving.service.page", "static/icon.svg", "image/svg+xml"),
    "plotly.js": ("plotly", "package_data/plotly.min.js", "text/javascript"),
}


def render(template: str, base: str, **values: Any) -> str:
    """A page as HTML; all values are escaped.

    Args:
        template: Name of its template.
        base: Where the page is mounted, ending in a slash.
        values: What it shows.
    """
    return _environment().get_template(template).render(base=base, now=datetime.now(), **values)


@cache
def asset(name: str) -> tuple[bytes, bytes, str] | None:
    """A static file, the same compressed, and its media type; None when there is none."""
    if name not in _ASSETS:
        return None
    package, path, kind = _ASSETS[name]
    content = resources.files(package).joinpath(path).read_bytes()
    return content, gzip.compress(content, 6), kind


@cache
def _asset_address(name: str) -> str:
    found = asset(name)
    assert found is not None  # noqa: S101 - templates name what there is
    return f"static/{name}?v={hashlib.sha256(found[0]).hexdigest()[:12]}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("optformer.serving.service.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    for function in (
        texts.ago,
        texts.aims,
        texts.counted,
        texts.line,
        texts.number,
        texts.percent,
        texts.span,
        texts.value_text,
        sketches.best_line,
        sketches.prediction_strip,
        sketches.shares,
        sketches.status_bar,
        study_address,
    ):
        environment.globals[function.__name__] = function
    environment.globals |= {"asset": _asset_address, "words": WORDS}
    return environment
