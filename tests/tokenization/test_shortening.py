"""What is read of studies whose text is very long."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from optformer.data.studies.errors import OptFormerWarning
from optformer.data.studies.parameters import Categorical, Float, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.shortening import MAX_TOKENS, Shortening
from optformer.tokenization.vocabulary import Vocabulary

_WORDS = [f"choice {i}" for i in range(256)]
_LONG: dict[str, dict[str, Any]] = {
    "lists": {"space": {f"c{i}": Categorical(_WORDS) for i in range(64)}},
    "long choices": {"space": {"c": Categorical([f"{i} " + "🦜" * 9999 for i in range(9)])}},
    "order": {"space": {"n": Ordinal(list(range(100_000)))}},
    "metadata": {"metadata": {"log": "step 1: loss 0.5, " * 100_000}},
    "entries": {"metadata": {f"key {i}": i for i in range(30_000)}},
    "metrics": {"metric": Weighted({f"metric {i}": 1.0 for i in range(9000)})},
    "names": {"space": {"x" * 10**6: Float(0, 1, description="word " * 10**6)}},
    "conditions": {
        "space": {
            "p": Categorical(_WORDS),
            **{f"x{i}": Float(0, 1, when={"p": _WORDS[1:]}) for i in range(40)},
        }
    },
}


@pytest.mark.parametrize("name", list(_LONG))
def test_encode_metadata__very_long__is_shortened_with_a_warning(
    vocabulary: Vocabulary, name: str
) -> None:
    fields = {"space": {"x": Float(0, 1)}, "metric": "m", "goal": "maximize", **_LONG[name]}
    fields["space"] = SearchSpace(fields["space"])
    with pytest.warns(OptFormerWarning, match="can still be suggested"):
        encoding = encode_metadata(StudyConfig(**fields), vocabulary)
    assert MAX_TOKENS / 40 < len(encoding.ids) <= MAX_TOKENS
    assert set(range(len(fields["space"]))) <= set(encoding.parameter.tolist())
    owned = sum(len(p.choices) for p in fields["space"].values() if isinstance(p, Categorical))
    assert len(encoding.choice_parameter) == owned  # those that are not read, too


def test_encode_metadata__worst_space__always_fits(vocabulary: Vocabulary) -> None:
    parameters: dict[str, Any] = {}
    for i in range(64):
        when = {name: ["🦜" * 50, "b"] for name in parameters}
        parameters[f"{i:02}" + "🦜" * 99] = Categorical(
            ["🦜" * 50, "b", *_WORDS[:200]], when=when or None, description="🦜" * 999
        )
    space = SearchSpace(parameters)
    point = dict.fromkeys(parameters, "🦜" * 50)
    config = StudyConfig(space, "🦜" * 99, "maximize", {"🦜" * 99: "🦜" * 999}, fixed=point)
    with pytest.warns(OptFormerWarning):
        assert len(encode_metadata(config, vocabulary).ids) <= MAX_TOKENS


def test_encode_metadata__ordinary_study__is_read_whole(vocabulary: Vocabulary) -> None:
    config = StudyConfig(
        SearchSpace({f"c{i}": Categorical(_WORDS) for i in range(5)}), "m", "maximize"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoding = encode_metadata(config, vocabulary)
    assert set(encoding.choice.tolist()) == set(range(-1, 5 * 256))


def test_shortening__long_list__keeps_its_ends() -> None:
    assert Shortening(5, 3).kept(4) == [0, 1, 2, 3]
    assert Shortening(5, 3).kept(101) == [0, 25, 50, 75, 100]
    assert Shortening(1, 3).kept(10) == [0]
    assert Shortening(5, 3).text("abcdef") == "abc"
