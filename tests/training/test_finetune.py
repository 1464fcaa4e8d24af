"""What a fine-tuning run holds out, learns, and measures."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from optformer.data.studies.errors import CheckpointError, ConfigError, DatasetError
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.study_files import read_studies
from optformer.data.studies.trials import INTERRUPTED, Trial
from optformer.model.checkpoint import Checkpoint, save_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.planning.planner import ALGORITHM
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.study_encoder import StudyEncoder
from optformer.training.config import TrainingConfig
from optformer.training.finetune import (
    CONFIG,
    HELD_OUT,
    LEARNED,
    prediction_losses,
    prepare,
)
from optformer.training.run_state import STATE

SPACE = SearchSpace(rate=Float(1e-3, 1.0, log=True), depth=Int(1, 9))


def study(name: str, length: int, dataset: str | None = None, seed: int = 0) -> RecordedStudy:
    rng = np.random.default_rng(seed)
    points = [SPACE.sample(rng) for _ in range(length)]
    trials = [
        Trial(i, point, study=name).finish(math.log(float(point["rate"])) + rng.normal())
        for i, point in enumerate(points)
    ]
    metadata = {} if dataset is None else {"dataset": dataset}
    return RecordedStudy(name, StudyConfig(SPACE, "loss", "minimize", metadata), tuple(trials))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Checkpoint) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(path, tiny_checkpoint.model, tiny_checkpoint.vocabulary, {})
    return path


def names(path: Path) -> list[str]:
    return [found.name for found in read_studies(path)]


def test_prepare__studies__a_share_of_the_data_sets_is_held_out(
    tmp_path: Path, model: Path
) -> None:
    studies = [study(f"{data}-{i}", 8, data) for data in "abcdefg" for i in range(2)]
    wide = SearchSpace(x=Categorical(list(map(str, range(300)))))
    trials = tuple(Trial(n, {"x": str(n)}).finish(0.0) for n in range(8))
    odd = RecordedStudy("wide", StudyConfig(wide, "loss", "minimize"), trials, "team.db")
    studies += [study("short", 5), study("z", 6)]
    for out in ("one", "two"):
        left_out = prepare([*studies, odd], tmp_path / out, model=model, held_out=0.3, seed=4)
    assert list(left_out) == ["'short' of ", "'wide' of team.db"]
    assert left_out["'short' of "].startswith("too few trials have ended: 5")
    assert "at most 256 choices" in left_out["'wide' of team.db"]
    learned, held_out = names(tmp_path / "one" / LEARNED), names(tmp_path / "one" / HELD_OUT)
    assert sorted(learned + held_out) == sorted(s.name for s in studies if s.name != "short")
    assert {name[0] for name in learned}.isdisjoint({name[0] for name in held_out})
    assert len({name[0] for name in held_out}) == 3  # of eight
    assert names(tmp_path / "two" / HELD_OUT) == held_out
    config = TrainingConfig.load(tmp_path / "one" / CONFIG)
    assert (config.model, config.seed, config.histories[0].path) == ("tiny", 4, LEARNED)


def test_prepare__three_data_sets__holds_none_out(tmp_path: Path, model: Path) -> None:
    prepare([study(name, 8) for name in "abc"], tmp_path, model=model, held_out=0.9)
    assert names(tmp_path / LEARNED) == list("abc")
    assert names(tmp_path / HELD_OUT) == []


def test_prepare__bad_input__is_refused(
    tmp_path: Path, model: Path, tiny_checkpoint: Checkpoint
) -> None:
    with pytest.raises(ConfigError, match=r"held_out must be in \[0, 1\), got 1"):
        prepare([study("a", 8)], tmp_path, model=model, held_out=1.0)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        prepare([study("a", 8)], tmp_path, model=model, steps=0)
    with pytest.raises(
        DatasetError, match=r"none of 2 studies can be learned from.*ended: 5, and 6"
    ):
        prepare([study("a", 5), study("b", 3)], tmp_path, model=model)
    assert not any(tmp_path.iterdir())
    (tmp_path / STATE).touch()
    with pytest.raises(ConfigError, match="holds a run already"):
        prepare([study("a", 8)], tmp_path, model=model)
    size = ModelConfig.named("tiny", tiny_checkpoint.vocabulary.size)
    odd = OptFormerModel(replace(size, layers=1))
    save_checkpoint(tmp_path / "odd", odd, tiny_checkpoint.vocabulary, {})
    with pytest.raises(CheckpointError, match="architecture is none of"):
        prepare([study("a", 8)], tmp_path / "new", model=tmp_path / "odd")


def test_prediction_losses__study__is_that_of_the_bins_after_each_context(
    tiny_checkpoint: Checkpoint,
) -> None:
    given = study("a", 7, seed=3)
    trials = given.trials
    encoder, space = (
        StudyEncoder(tiny_checkpoint, given.config, ALGORITHM),
        SpaceTransform(SPACE, {}),
    )
    expected = []
    for told in (1, 5):
        read = encoder.encode(trials[:told])
        points = space.points(space.encode([trial.params for trial in trials[told:]]))
        chances = read.predict(points).logits.log_softmax(-1)
        values = torch.tensor([-(trial.value or 0.0) for trial in trials[told:]])
        bins = (read.scale.to_unit(values.double()) * 1000).long().clamp(0, 999)
        expected.append(-float(chances.gather(1, bins[:, None]).mean()))
    settled = pytest.approx(np.mean(expected), rel=1e-5)
    assert prediction_losses(tiny_checkpoint, [given]) == settled
    silent = (Trial(7, trials[0].params), Trial(8, trials[1].params).fail(INTERRUPTED))
    more = RecordedStudy("a", given.config, (*silent, *trials))
    assert prediction_losses(tiny_checkpoint, [more, given]) == settled


def test_prediction_losses__failed_trial__counts_as_failed(tiny_checkpoint: Checkpoint) -> None:
    given = study("a", 6)
    last = given.trials[-1]
    failed = (*given.trials[:-1], Trial(5, last.params).fail("diverged"))
    both = [given, RecordedStudy("b", given.config, failed)]
    read = StudyEncoder(tiny_checkpoint, given.config, ALGORITHM).encode(given.trials[:5])
    space = SpaceTransform(SPACE, {})
    chances = read.predict(space.points(space.encode([last.params]))).logits.log_softmax(-1)[0]
    bin_of = int((read.scale.to_unit(torch.tensor([-(last.value or 0.0)]).double()) * 1000).long())
    difference = np.diff(prediction_losses(tiny_checkpoint, both))[0]
    read_one = StudyEncoder(tiny_checkpoint, given.config, ALGORITHM).encode(given.trials[:1])
    first = read_one.predict(space.points(space.encode([last.params]))).logits.log_softmax(-1)[0]
    bin_one = (read_one.scale.to_unit(torch.tensor([-(last.value or 0.0)]).double()) * 1000).long()
    after_five = float(chances[min(max(bin_of, 0), 999)] - chances[1000])
    after_one = float(first[int(bin_one.clamp(0, 999))] - first[1000]) / 5
    assert difference == pytest.approx((after_five + after_one) / 2, rel=1e-4)
