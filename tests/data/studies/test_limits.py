from __future__ import annotations

import re
from typing import Any

import pytest

from optformer.data.studies.errors import MetricError
from optformer.data.studies.limits import Limit


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("<= 8", Limit("<=", 8.0)),
        (">=0.5", Limit(">=", 0.5)),
        ("  <=  -1e-3 ", Limit("<=", -0.001)),
    ],
)
def test_parse__written_limit__is_read_and_written_back(text: str, limit: Limit) -> None:
    assert Limit.parse(text) == limit
    assert Limit.parse(str(limit)) == limit
    assert Limit.parse(limit) is limit


@pytest.mark.parametrize(
    "text",
    ["<= many", "< 8", "8", "", "== 8", "<= nan", "<= inf", "<= 1 2", "8 <=", None, 8, ["<= 8"]],
)
def test_parse__something_else__says_how_a_limit_is_written(text: Any) -> None:
    with pytest.raises(MetricError, match=re.escape("'<= number' or '>= number'")):
        Limit.parse(text)


@pytest.mark.parametrize(
    ("relation", "bound"), [("<", 8.0), ("<=", "8"), (">=", float("nan")), (">=", True)]
)
def test_limit__relation_or_bound_that_is_none__is_refused(relation: Any, bound: Any) -> None:
    with pytest.raises(MetricError, match="a limit is written"):
        Limit(relation, bound)


def test_violation__value__is_how_far_it_is_beyond() -> None:
    assert Limit("<=", 8.0).violation(10.0) == 2.0
    assert Limit("<=", 8.0).violation(8.0) == 0.0
    assert Limit(">=", 8.0).violation(10.0) == -2.0
