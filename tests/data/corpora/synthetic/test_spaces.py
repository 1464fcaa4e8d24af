from __future__ import annotations

import numpy as np
import pytest
import torch

from optformer.data.corpora.synthetic.spaces import SyntheticSpaces, draw_spaces
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.tokenization.history import ValueKind, decode_point, encode_points


def _sample(spaces: SyntheticSpaces, count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    number, parameters = spaces.choices.shape
    return spaces.legal(torch.rand(number, count, parameters, generator=generator))


def test_draw_spaces__many__hold_every_kind_of_parameter(spaces: SyntheticSpaces) -> None:
    parameters = [p for space in spaces.described for p in space.values()]
    assert {type(p) for p in parameters} == {Float, Int, Ordinal, Categorical}
    assert any(p.when for p in parameters)
    assert {p.log for p in parameters if isinstance(p, Float)} == {True, False}


def test_draw_spaces__description__has_the_order_and_sizes_of_the_tensors(
    spaces: SyntheticSpaces,
) -> None:
    for s, space in enumerate(spaces.described):
        assert len(space) == spaces.choices.shape[1]
        for p, (name, parameter) in enumerate(space.items()):
            choices, levels = int(spaces.choices[s, p]), int(spaces.levels[s, p])
            assert isinstance(parameter, Categorical) == (choices > 0)
            if choices or levels:
                assert parameter.num_levels == choices + levels
                assert choices * levels == 0
            parent = int(spaces.parent[s, p])
            assert (parameter.when is not None) == (parent >= 0)
            if parameter.when:
                above = space.names[parent]
                allowed = [space[above].grid()[i] for i in np.flatnonzero(spaces.allowed[s, p])]
                assert parent < p
                assert {k: list(v) for k, v in parameter.when.items()} == {above: allowed}
                assert 0 < len(allowed) < int(spaces.choices[s, parent])
            assert space.names[p] == name


def test_legal__random_points__are_points_of_the_described_space(
    spaces: SyntheticSpaces,
) -> None:
    values = _sample(spaces, 6)
    active = spaces.active(values)
    for s, space in enumerate(spaces.described):
        kinds = np.where(spaces.is_choice[s], int(ValueKind.CHOICE), int(ValueKind.NUMBER))
        for n in range(values.shape[1]):
            on = active[s, n].numpy()
            row = np.where(on, kinds, int(ValueKind.INACTIVE))
            point = decode_point(space, values[s, n].numpy(), row)
            point = space.validate(point)  # exactly the active parameters, each with a legal value
            back = encode_points(space, [point])
            assert back.kinds[0].tolist() == row.tolist()
            stepped = (spaces.levels[s] > 0).numpy() | spaces.is_choice[s].numpy()
            given = np.where(on, values[s, n].numpy(), 0.0)
            np.testing.assert_allclose(back.values[0][stepped], given[stepped], atol=1e-6)
            # A "continuous" Int of thousands of values is rounded in the described space only.
            np.testing.assert_allclose(back.values[0], given, atol=6e-4)


def test_legal__levels_and_choices__have_equal_shares() -> None:
    spaces = draw_spaces(40, 4, np.random.default_rng(3))
    values = _sample(spaces, 4000)
    for s in range(40):
        for p in range(4):
            count = int(spaces.choices[s, p] + spaces.levels[s, p])
            if count:
                _, seen = np.unique(values[s, :, p].numpy(), return_counts=True)
                assert len(seen) == count
                share = seen / 4000 * count
                assert np.abs(share - 1).max() < 6 * (count / 4000) ** 0.5


def test_snap__legal_points__stay(spaces: SyntheticSpaces) -> None:
    values = _sample(spaces, 20)
    assert torch.equal(spaces.snap(values), values)
    moved = spaces.snap(values + 0.3)
    numeric = ~spaces.is_choice[:, None].expand_as(values)
    assert moved[numeric].max() <= 1
    assert torch.equal(spaces.snap(moved), moved)


def test_mutate__small_steps__stay_near_and_legal(spaces: SyntheticSpaces) -> None:
    values = _sample(spaces, 200)
    generator = torch.Generator().manual_seed(0)
    moved = spaces.mutate(values, torch.tensor(0.02), 0.3, generator)
    assert torch.equal(spaces.snap(moved), moved)
    choice = spaces.is_choice[:, None].expand_as(values)
    assert (moved - values)[~choice].abs().max() < 0.02 * 6 + 0.5  # half a level at most beside
    continuous = ~choice & (spaces.levels == 0)[:, None].expand_as(values)
    step = (moved - values)[continuous]
    assert step.abs().max() < 0.02 * 6
    assert 0.01 < float(step.std()) < 0.021  # a little less: bounds clip
    changed = (moved != values)[choice].float().mean()
    assert 0.1 < float(changed) < 0.3  # redrawn at 0.3, sometimes to the same choice
    assert moved[choice].max() < int(spaces.choices.max())


def test_select__some_spaces__keeps_their_rows(spaces: SyntheticSpaces) -> None:
    part = spaces.select(slice(3, 7))
    assert part.described == spaces.described[3:7]
    assert torch.equal(part.allowed, spaces.allowed[3:7])


@pytest.mark.parametrize("parameters", [1, 20])
def test_draw_spaces__one_seed__is_reproducible(parameters: int) -> None:
    first, second, third = (
        draw_spaces(5, parameters, np.random.default_rng(seed)) for seed in (8, 8, 9)
    )
    assert first.described == second.described != third.described
    assert torch.equal(first.parent, second.parent)
    assert first.choices.shape == (5, parameters)
