"""Optional packages: what to say where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optformer.data.studies.errors import MissingExtraError


def missing_extra(what: str, package: str, extra: str = "benchmark") -> MissingExtraError:
    """The error of a feature without its package.

    Args:
        what: The feature, as `the report on one page`.
        package: The package it needs, as it is called in the package index.
        extra: The extra of this package that installs it.
    """
    return MissingExtraError(
        f'{what}: {package} is not installed; install it with: pip install "optformer[{extra}]"'
    )


@contextmanager
def importing(what: str, package: str, extra: str = "benchmark") -> Iterator[None]:
    """A block of imports that a feature needs; arguments as for `missing_extra`.

    Raises:
        MissingExtraError: One of them fails; the message names the extra to install.
    """
    try:
        yield
    except ImportError as error:
        raise missing_extra(what, package, extra) from error
