"""Searches by name."""

from __future__ import annotations

import pytest

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.registry import RULE_SEARCHES


class TestRegistry:
    def test_names__every_search__is_described(self) -> None:
        assert RULE_SEARCHES.names() == sorted(RULE_SEARCHES.names())
        assert all(RULE_SEARCHES.describe(name).endswith(".") for name in RULE_SEARCHES.names())

    def test_create__unknown__lists_the_known(self) -> None:
        with pytest.raises(ConfigError, match=r"update rules 'x'; known are \['random-rules'"):
            RULE_SEARCHES["x"]
