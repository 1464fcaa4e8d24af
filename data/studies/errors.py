"""Every error this project raises on purpose.

`OptFormerError` is the root. Each child also inherits the built-in exception that a caller would
expect, so `except ValueError` keeps working. `OptFormerWarning` is the category of all warnings.
"""

from __future__ import annotations

from optformer.data.runtime.text import shorten

_LONGEST = 2000  # characters of a message: what it quotes may be a whole file
_SLACK = 100  # more than that are not worth a cut, which itself takes some


class OptFormerError(Exception):
    """Root of all errors raised by OptFormer. A very long message is cut in its middle."""

    def __init__(self, *args: object):
        super().__init__(*(_cut(arg) if isinstance(arg, str) else arg for arg in args))


def _cut(message: str) -> str:
    return shorten(message, _LONGEST) if len(message) > _LONGEST + _SLACK else message


class ConfigError(OptFormerError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class SearchSpaceError(OptFormerError, ValueError):
    """A search space, or a value for it, is not legal."""


class TrialError(OptFormerError, ValueError):
    """A trial is not one that can be observed or read as asked."""


class MetricError(OptFormerError, ValueError):
    """A metric is unknown, missing or not a number."""


class StudyError(OptFormerError, ValueError):
    """A study cannot do what was asked in its present state."""


class SpaceExhaustedError(StudyError):
    """Every point of a finite search space has been tried."""


class StorageError(OptFormerError, RuntimeError):
    """A storage could not be read or written."""


class TokenizationError(OptFormerError, ValueError):
    """Something cannot be written in, or read from, the language of studies."""


class CheckpointError(OptFormerError, ValueError):
    """A checkpoint is missing, unreadable, or does not match the code or vocabulary."""


class MissingExtraError(OptFormerError, ImportError):
    """A feature needs an optional dependency; the message names the extra to install."""


class ObjectiveError(OptFormerError, RuntimeError):
    """An objective or a tuned script did not deliver a metric."""


class DatasetError(OptFormerError, ValueError):
    """A table of evaluations or histories cannot be read, or does not fit its space."""


class OptFormerWarning(UserWarning):
    """Something was accepted but not as the caller may have meant it."""


class DivergedError(OptFormerError, ArithmeticError):
    """The loss stopped being a number."""
