"""What weights were and are called."""

from __future__ import annotations

from optformer.model.checkpoint import Checkpoint
from optformer.model.state_keys import RENAMED, in_order, rename


def test_renamed__names_of_today__are_all_weights_once(tiny_checkpoint: Checkpoint) -> None:
    names = list(tiny_checkpoint.model.state_dict())
    assert len(set(RENAMED.values())) == len(RENAMED)
    for today in RENAMED.values():
        assert any(f"{name}.".startswith(f"{today}.") for name in names), today
    for name in names:
        assert any(f"{name}.".startswith(f"{today}.") for today in RENAMED.values()), name


def test_rename__former_names__keep_what_is_inside_a_module() -> None:
    former = {"star": 0, "metric_head.weight": 1, "encoder.1.norm.weight": 2, "new.weight": 3}
    assert rename(former) == {
        "tokens.star": 0,
        "metric_head.linear.weight": 1,
        "encoder.layers.1.norm.weight": 2,
        "new.weight": 3,
    }


def test_in_order__weights_of_a_model__follow_the_former_names() -> None:
    named = {"decoder.layers.10.output.weight": 0, "other": 1, "encoder.norm.weight": 2}
    named |= {"tokens.star": 3, "decoder.layers.9.output.weight": 4}
    assert [number for _, number in in_order(named.items())] == [3, 2, 0, 4, 1]
