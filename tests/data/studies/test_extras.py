"""Optional packages."""

from __future__ import annotations

import pytest

from optformer.data.studies.errors import MissingExtraError
from optformer.data.studies.extras import importing


def test_importing__package_missing__names_feature_package_and_extra() -> None:
    expected = r'tea: no-such-leaf is not installed; .*pip install "optformer\[kitchen\]"'
    with (
        pytest.raises(MissingExtraError, match=expected),
        importing("tea", "no-such-leaf", extra="kitchen"),
    ):
        import no_such_leaf  # noqa: F401


def test_importing__package_there__says_nothing() -> None:
    with importing("tea", "json"):
        import json
    assert json.loads("1") == 1
