"""Metadata as text and ids, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import TokenizationError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.tokenization.metadata import (
    encode_metadata,
    metadata_from_text,
    metadata_to_text,
    normalize_description,
    normalize_metadata,
)
from optformer.tokenization.vocabulary import Vocabulary


def _normalized(config: StudyConfig) -> dict[str, Any]:
    """All content, types of choices included, with free text as the language writes it."""
    content = config.to_dict()
    for entry in content["space"].values():
        description = normalize_description(entry.pop("description", ""))
        entry["description"] = description
        entry["choices"] = [repr(choice) for choice in entry.get("choices", [])]
        entry["when"] = repr(entry.get("when"))
        entry["bounds"] = repr((entry.get("low"), entry.get("high"), entry.get("step")))
    content["order"] = list(config.space)
    content["fixed"] = {name: repr(value) for name, value in config.fixed.items()}
    content["metadata"] = {key: normalize_metadata(t) for key, t in config.metadata.items()}
    return content


@settings(max_examples=150)
@given(data=st.data(), algorithm=st.sampled_from([None, "random", "gp_ei v2"]))
def test_metadata_from_text__any_study__returns_all_content(
    data: st.DataObject, algorithm: str | None, configs: st.SearchStrategy[StudyConfig]
) -> None:
    config = data.draw(configs)
    text = metadata_to_text(config, algorithm=algorithm)
    read, read_algorithm = metadata_from_text(text)
    assert _normalized(read) == _normalized(config)
    assert read_algorithm == algorithm
    assert metadata_to_text(read, algorithm=algorithm) == text


@settings(max_examples=150)
@given(data=st.data())
def test_encode_metadata__any_study__equals_encoding_its_text(
    data: st.DataObject, configs: st.SearchStrategy[StudyConfig], vocabulary: Vocabulary
) -> None:
    config = data.draw(configs)
    text = metadata_to_text(config, algorithm="random")
    ids = encode_metadata(config, vocabulary, algorithm="random").ids
    assert ids.tolist() == vocabulary.encode(text)
    assert vocabulary.decode(ids) == text


def test_metadata_to_text__small_study__is_golden(
    small_config: StudyConfig, vocabulary: Vocabulary
) -> None:
    text = metadata_to_text(small_config, algorithm="gp_ei")
    assert text == (
        "<task> image classification<meta> owner<text> me<metric> val accuracy<goal><maximize>"
        "<algorithm> gp ei"
        "<param> learning rate<float><log><low>1e-6<high>0.1<desc> Step size of optimizer"
        "<param> optimizer<categorical><count>2<choice> sgd<choice> adam"
        "<param> momentum<float><linear><low>0<high>0.99<when> optimizer<value> sgd"
        "<param> layers<int><linear><low>1<high>8"
    )


def test_encode_metadata__blocks_and_choices__are_told_apart(
    small_config: StudyConfig, vocabulary: Vocabulary
) -> None:
    encoding = encode_metadata(small_config, vocabulary)
    pieces = [vocabulary.piece(i) for i in encoding.ids]
    for slot, first in enumerate(i for i, piece in enumerate(pieces) if piece == "<param>"):
        assert encoding.parameter[first] == slot
        assert encoding.parameter[first - 1] == slot - 1
    chosen = {
        c: [p for p, k in zip(pieces, encoding.choice, strict=True) if k == c] for c in (0, 1)
    }
    assert chosen == {0: ["<choice>", "▁sgd"], 1: ["<choice>", "▁adam"]}
    assert encoding.choice_parameter.tolist() == [1, 1]
    assert encoding.ids.dtype == encoding.choice.dtype == encoding.parameter.dtype == np.int64


def test_encode_metadata__ordinals__have_no_flat_choices(vocabulary: Vocabulary) -> None:
    space = SearchSpace(a=Ordinal(["s", "m"]), b=Categorical([1, None, True]), c=Categorical(["x"]))
    encoding = encode_metadata(StudyConfig(space, "error", "minimize"), vocabulary)
    assert encoding.choice_parameter.tolist() == [1, 1, 1, 2]
    assert set(encoding.choice[encoding.parameter == 0].tolist()) == {-1}
    assert set(encoding.choice[encoding.parameter == 1].tolist()) == {-1, 0, 1, 2}


def test_metadata_to_text__types_of_choices__are_told_apart() -> None:
    choices = ["16", 16, 16.5, True, None, "None", ""]
    config = StudyConfig(SearchSpace(a=Categorical(choices)), "error", "minimize")
    text = metadata_to_text(config)
    assert text.endswith(
        "<count>7<choice> 16<choice>16<choice>16.5<choice><true><choice><none><choice> None"
        "<choice> "
    )
    read = metadata_from_text(text)[0].space["a"]
    assert isinstance(read, Categorical)
    assert [repr(c) for c in read.choices] == [repr(c) for c in choices]


def test_metadata_to_text__forged_control_symbols__stay_text(
    small_config: StudyConfig, vocabulary: Vocabulary
) -> None:
    nasty = "<failed> | *"
    space = SearchSpace({nasty: Float(0, 1, description=nasty), "b": Categorical([nasty])})
    config = StudyConfig(space, nasty, "minimize", {"task": nasty, nasty: nasty})
    read, _ = metadata_from_text(metadata_to_text(config))
    assert read == config
    ids = encode_metadata(config, vocabulary).ids
    assert not {vocabulary.id(s) for s in ("<failed>", "|", "*")}.intersection(ids.tolist())


def test_metadata_to_text__weighted_metric_and_fixed_values__come_back() -> None:
    space = SearchSpace(a=Float(0, 1), b=Categorical(["x", "y_z"]))
    metric = Weighted({"accuracy": 1.0, "flops": -1e-9})
    config = StudyConfig(space, metric, "maximize", fixed={"a": 0.25, "b": "y_z"})
    text = metadata_to_text(config)
    assert text.startswith(
        "<metric><weight>1<name> accuracy<weight>-1e-9<name> flops<goal><maximize>"
        "<fixed> a<value>0.25<fixed> b<value> y z"
    )
    assert metadata_from_text(text)[0] == config


def test_normalize__free_text__drops_what_the_docstring_says() -> None:
    assert normalize_metadata("  ﬁne \n tuning. ") == "fine tuning."
    assert normalize_description("The rate of  the\toptimizer.") == "rate of optimizer"
    assert normalize_description("theory") == "theory"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "words",
        "<metric> a<goal>",
        "<metric> a<goal><maximize>",
        "<metric> a<goal><maximize><param> x",
        "<metric> a<goal><maximize><param> x<float><linear><low>zero<high>1",
        "<metric> a<goal><maximize><param> x<int><linear><low>0.5<high>1",
        "<metric> a<goal><maximize><param> x<float><linear><low>2<high>1",
        "<metric> a<goal><maximize><param> x<categorical><count>2<choice> a",
        "<metric> a<goal><maximize><param> x<categorical><count>1<choice><low>",
        "<metric> a<goal><maximize><param>x<float><linear><low>0<high>1",
        "<metric><goal><maximize><param> x<float><linear><low>0<high>1",
        "<metric> a<goal><maximize><param> x<float><linear><low>0<high>1<start>",
    ],
)
def test_metadata_from_text__no_metadata__is_refused(text: str) -> None:
    with pytest.raises(TokenizationError):
        metadata_from_text(text)


def test_encode_metadata__too_many_parameters__names_the_first(vocabulary: Vocabulary) -> None:
    space = SearchSpace({f"p{i}": Int(0, 3) for i in range(65)})
    config = StudyConfig(space, "error", "minimize")
    with pytest.raises(TokenizationError, match=r"at most 64 parameters.*got 65.*'p64'"):
        encode_metadata(config, vocabulary)
    fits = replace(config, space=SearchSpace({f"p{i}": Int(0, 3) for i in range(64)}))
    assert encode_metadata(fits, vocabulary).parameter.max() == 63


def test_encode_metadata__too_many_choices__names_the_parameter(vocabulary: Vocabulary) -> None:
    space = SearchSpace(a=Ordinal(list(range(300))), kind=Categorical(list(range(257))))
    config = StudyConfig(space, "error", "minimize")
    with pytest.raises(TokenizationError, match=r"'kind'.*at most 256 choices.*got 257"):
        encode_metadata(config, vocabulary)
