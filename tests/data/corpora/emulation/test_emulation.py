"""Tables, their emulators, and the functions drawn from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from optformer.data.corpora.emulation.emulator import (
    KNOTS,
    Emulator,
    fit_emulator,
    from_scores,
    knot_scores,
    load_emulator,
    save_emulator,
)
from optformer.data.corpora.emulation.functions import EmulatedTable, SpaceVariation
from optformer.data.corpora.emulation.tables import EvaluationTable, load_table
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace


def test_load_table__conditional_space__marks_what_is_inactive(table: EvaluationTable) -> None:
    line = table.values[:, 0] == 1

    assert table.values.shape == (900, 4)
    assert not table.active[line, 1].any()
    assert table.active[~line].all()
    assert ((table.values[:, 2] >= 0) & (table.values[:, 2] <= 1)).all()


def test_load_table__goal__turns_gains_up(table: EvaluationTable) -> None:
    assert np.allclose(table.gains["error"], table.gains["auc"])


def test_split__data_sets__are_on_one_side_only(table: EvaluationTable) -> None:
    first, second = table.split(0.5)

    assert {*first.datasets} | {*second.datasets} == {*table.datasets}
    assert not {*first.datasets} & {*second.datasets}
    assert len(first.values) + len(second.values) == len(table.values)
    assert set(first.dataset) == set(range(len(first.datasets)))


def test_load_table__missing_column__is_named(table_path: Path) -> None:
    with pytest.raises(DatasetError, match="no column of the metric 'loss'"):
        load_table(table_path, {"loss": "minimize"})


def test_load_table__value_out_of_range__is_named(table_path: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(table_path)
    frame.loc[3, "rate"] = 7.0
    frame.to_parquet(tmp_path / "toy.parquet")
    space = table_path.with_suffix(".space.yaml").read_text()
    (tmp_path / "toy.space.yaml").write_text(space)

    with pytest.raises(DatasetError, match="rate"):
        load_table(tmp_path / "toy.parquet", {"error": "minimize"})


def test_load_table__kept_for_choosing_or_without_data_sets__is_refused(
    table_path: Path, tmp_path: Path
) -> None:
    space = table_path.with_suffix(".space.yaml").read_text()
    (tmp_path / "toy.space.yaml").write_text(space)
    frame = pd.read_parquet(table_path)
    frame.to_parquet(tmp_path / "toy.parquet")
    entry = "- {file: toy, metric: error, goal: minimize, role: dev}\n"
    (tmp_path / "corpus.yaml").write_text(entry)
    with pytest.raises(DatasetError, match=r"toy\.parquet is there to choose by"):
        load_table(tmp_path / "toy.parquet", {"error": "minimize"})
    (tmp_path / "corpus.yaml").write_text(entry.replace("dev", "train"))
    assert len(load_table(tmp_path / "toy.parquet", {"error": "minimize"}).values) == len(frame)
    frame.drop(columns="dataset").to_parquet(tmp_path / "toy.parquet")
    with pytest.raises(DatasetError, match="no column that tells its data sets"):
        load_table(tmp_path / "toy.parquet", {"error": "minimize"})


def test_from_scores__knots__are_met_and_extended() -> None:
    knots = torch.linspace(0.0, 1.0, KNOTS).square()

    assert torch.allclose(from_scores(knot_scores(knots), knots), knots, atol=1e-6)
    assert from_scores(torch.tensor([4.0]), knots) > knots[-1]


def test_emulator__table__ranks_as_the_table_does(
    table: EvaluationTable, emulator: Emulator
) -> None:
    embedding = emulator.embedding(torch.from_numpy(table.dataset))
    scores = emulator(
        torch.from_numpy(table.values).float(), torch.from_numpy(table.active), embedding
    )

    for number in range(len(table.datasets)):
        rows = table.dataset == number
        assert spearmanr(scores[rows, 0], table.gains["error"][rows]).statistic > 0.9


def test_emulator__saved__comes_back(
    table: EvaluationTable, emulator: Emulator, tmp_path: Path
) -> None:
    save_emulator(emulator, table, tmp_path / "emulator.safetensors")

    again = load_emulator(table, tmp_path / "emulator.safetensors")

    assert all(
        torch.equal(value, again.state_dict()[name])
        for name, value in emulator.state_dict().items()
    )
    with pytest.raises(DatasetError, match="another table"):
        load_emulator(table.split(0.5)[0], tmp_path / "emulator.safetensors")
    wider = {**table.space, "rate": Float(1e-4, 1.0, log=True)}
    with pytest.raises(DatasetError, match="another table"):
        load_emulator(replace(table, space=SearchSpace(wider)), tmp_path / "emulator.safetensors")
    (tmp_path / "emulator.safetensors").write_bytes(b"half")
    with pytest.raises(DatasetError, match="delete it"):
        load_emulator(table, tmp_path / "emulator.safetensors")


def test_fit_emulator__same_seed__is_the_same(table: EvaluationTable) -> None:
    one, other = (fit_emulator(table, steps=3, seed=5).state_dict() for _ in range(2))

    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("parameters", [1, 2, 3, 4])
def test_draw__sub_space__is_closed_under_conditions(
    table: EvaluationTable, emulator: Emulator, parameters: int
) -> None:
    functions, metrics, goals, told = EmulatedTable(table, emulator).draw(
        40, parameters, 2, np.random.default_rng(parameters)
    )
    generator = torch.Generator().manual_seed(0)
    values = functions.spaces.legal(torch.rand(40, 2, 16, parameters, generator=generator))
    gain = functions.observe(values, generator)

    assert gain.shape == (40, 2, 16)
    assert gain.isfinite().all()
    assert all(goal == table.goals[metric] for metric, goal in zip(metrics, goals, strict=True))
    assert all(len(space) == parameters for space in functions.spaces.described)
    assert told == [{}] * 40
    assert functions.select(slice(3, 5)).observe(values[3:5], generator).shape == (2, 2, 16)


def test_draw__depth_under_its_parent__matters_only_when_active(
    table: EvaluationTable, emulator: Emulator
) -> None:
    functions, *_ = EmulatedTable(table, emulator).draw(30, 4, 1, np.random.default_rng(3))
    for s, space in enumerate(functions.spaces.described):
        kind, depth = (functions.columns[s].tolist().index(column) for column in (0, 1))
        assert list(space.values())[depth].when
        one = functions.select(slice(s, s + 1))
        values = torch.full((1, 1, 4, 4), 0.5)
        values[..., kind] = torch.tensor([0.0, 0.0, 1.0, 1.0])
        values[..., depth] = torch.tensor([0.0, 1.0, 0.0, 1.0])
        mean = one.expected(values)[0, 0]
        assert mean[0] != mean[1]
        assert mean[2] == mean[3]


def test_draw__part_of_a_range__has_the_values_of_the_whole(
    table: EvaluationTable, emulator: Emulator
) -> None:
    functions, *_ = EmulatedTable(table, emulator).draw(60, 4, 1, np.random.default_rng(5))
    whole = replace(
        functions, start=torch.zeros_like(functions.start), span=torch.ones_like(functions.span)
    )
    kinds = set()
    for s, space in enumerate(functions.spaces.described):
        values, places = torch.zeros(4), torch.zeros(4)
        for p, parameter in enumerate(space.values()):
            original = table.space[table.space.names[int(functions.columns[s, p])]]
            if isinstance(parameter, Categorical) or isinstance(original, Categorical):
                continue
            value = parameter.from_unit(0.3)
            mirrored = bool(functions.span[s, p] < 0)
            unit = parameter.to_unit(value)
            values[p] = 1 - unit if mirrored else unit
            # The values of a list are rounded.
            place = float(functions.start[s, p] + functions.span[s, p] * values[p])
            assert original.to_unit(value) == pytest.approx(place, abs=0.03)
            places[p] = place
            kinds.add((type(parameter), mirrored, parameter == original))
        part = functions.select(slice(s, s + 1)).expected(values[None, None, None])
        same = whole.select(slice(s, s + 1)).expected(places[None, None, None])
        assert torch.allclose(part, same, atol=1e-4)
    assert len(kinds) >= 6  # whole ranges, parts and lists, on either axis


def test_draw__same_seed__is_the_same(table: EvaluationTable, emulator: Emulator) -> None:
    drawer = EmulatedTable(table, emulator)
    one, other = (drawer.draw(3, 3, 2, np.random.default_rng(9))[0] for _ in range(2))

    assert one.spaces.described == other.spaces.described
    assert torch.equal(one.embedding, other.embedding)
    assert torch.equal(one.noise, other.noise)


def test_fit_emulator__a_run_that_exploded__flattens_no_function(table: EvaluationTable) -> None:
    gains = table.gains["auc"].copy()
    gains[table.dataset == 0] = np.where(np.arange(150) < 3, -1e40, gains[table.dataset == 0])
    exploded = replace(table, gains={"auc": gains}, goals={"auc": "maximize"})

    knots = fit_emulator(exploded, steps=1).knots

    assert (knots[:, 0, -1] - knots[:, 0, KNOTS // 2] > 0.1).all()
    assert (knots[0, 0, :-1] <= knots[0, 0, 1:]).all()


def test_fit_emulator__metrics_of_different_data_sets__each_is_learned(
    table: EvaluationTable,
) -> None:
    even = table.dataset % 2 == 0
    gains = {
        "auc": np.where(even, table.gains["auc"], np.nan),
        "error": np.where(even, np.nan, table.gains["error"]),
    }
    mixed = replace(table, gains=gains, goals={"auc": "maximize", "error": "minimize"})
    emulator = fit_emulator(mixed, steps=300)
    scores = emulator(
        torch.from_numpy(mixed.values).float(),
        torch.from_numpy(mixed.active),
        emulator.embedding(torch.from_numpy(mixed.dataset)),
    )
    assert mixed.measured.tolist() == [[True, False], [False, True]] * 3
    for number in range(6):
        rows, metric = mixed.dataset == number, number % 2
        found = spearmanr(scores[rows, metric], list(gains.values())[metric][rows])
        assert found.statistic > 0.85

    drawer = EmulatedTable(mixed, emulator)
    functions, metrics, goals, _ = drawer.draw(20, 2, 3, np.random.default_rng(0))
    assert dict(zip(metrics, goals, strict=True)) == {"auc": "maximize", "error": "minimize"}
    values = functions.spaces.legal(torch.rand(20, 3, 50, 2, generator=torch.Generator()))
    assert (functions.expected(values).std(-1) > 0).all()  # knots of the metric that was measured


def test_draw__no_variation__the_spaces_are_parts_of_the_table_s(
    table: EvaluationTable, emulator: Emulator
) -> None:
    plain = SpaceVariation(unnamed=0.0, renamed=0.0, undescribed=0.0, reranged=0.0, listed=0.0)
    functions, *_ = EmulatedTable(table, emulator).draw(20, 3, 1, np.random.default_rng(7), plain)

    assert (functions.start == 0).all()
    assert (functions.span == 1).all()
    for space in functions.spaces.described:
        for name, parameter in space.items():
            assert replace(parameter, when=None) == replace(table.space[name], when=None)
