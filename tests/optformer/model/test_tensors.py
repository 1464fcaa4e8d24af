"""Points and histories as tensors."""

from __future__ import annotations

import torch

from optformer.model.tensors import UNSET, HistoryTensors, MetadataTensors, PointTensors


def points(count: int) -> PointTensors:
    values = torch.arange(2.0 * count * 3).reshape(2, count, 3) / 100
    return PointTensors(values, torch.zeros(2, count, 3, dtype=torch.int64))


def test_partial__slots__are_unset_from_the_given_one_on() -> None:
    whole = points(4)
    partial = whole.partial(torch.tensor([3, 3, 0]), torch.tensor([0, 2, 1]))
    unset = [[True] * 3, [False, False, True], [False, True, True]]
    assert (partial.kinds == UNSET).tolist() == [unset, unset]
    assert (partial.values[partial.kinds == UNSET] == 0).all()
    assert torch.equal(partial.values[:, 1, :2], whole.values[:, 3, :2])


def test_visible__prefix__sees_itself_and_later_trials_what_is_before_them() -> None:
    history = HistoryTensors(points(4), torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.int64))
    assert history.visible(3).int().tolist() == [
        [1, 1, 1, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
    ]
    assert torch.equal(history.visible(0), torch.ones(4, 4).tril().bool())


def test_join__first_and_later_trials__are_the_whole() -> None:
    whole = points(5)
    joined = whole.select(slice(2)).join(whole.select(slice(2, 5)))
    assert torch.equal(joined.values, whole.values)
    assert torch.equal(joined.kinds, whole.kinds)


def test_max_choices__padding__is_not_counted(metadata_tensors: MetadataTensors) -> None:
    assert metadata_tensors.max_choices == 2
