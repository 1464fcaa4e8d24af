import numpy as np
import pytest

from optformer.data.corpora.emulation.naming import GROUPS, rename

NETWORK = ("learning_rate", "batch_size", "weight_decay", "momentum", "num_layers")
TREES = ("eta", "gamma", "alpha", "max_depth", "nrounds")


def _draws(names, count=300):
    return [rename(names, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("names", [NETWORK, TREES, ("x", "y"), ("depth", "num_layers")])
def test_rename__any_space__each_parameter_has_a_name_of_its_own(names):
    for called in _draws(names):
        assert list(called) == list(names)
        assert len(set(called.values())) == len(names)


def test_rename__same_seed__same_names():
    assert _draws(NETWORK, 20) == _draws(NETWORK, 20)


def test_rename__known_parameter__is_called_by_the_words_of_its_group():
    called = {draw["learning_rate"] for draw in _draws(NETWORK)}
    assert {"lr", "learning-rate", "learningRate", "eta0"} <= called
    assert any(name.startswith("--") for name in called)


def test_rename__unknown_parameter__keeps_its_word():
    assert {name.rpartition(".")[2].lower() for name in (d["x"] for d in _draws(("x",)))} == {
        "x",
        "--x",
    }


def test_rename__word_of_boosted_trees__means_that_beside_another_one_only():
    beside = {draw["gamma"] for draw in _draws(TREES)}
    alone = {draw["gamma"] for draw in _draws(("gamma", "kernel"))}
    assert any("split" in name for name in beside)
    assert not any("split" in name for name in alone)


def test_groups__words__none_stands_twice_in_one():
    assert all(len(set(group)) == len(group) for group in GROUPS)
