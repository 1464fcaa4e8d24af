from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from optformer.data.corpora.emulation.histories import dataset_name
from optformer.data.corpora.emulation.tables import is_held_out
from optformer.data.corpora.generation import shards
from optformer.data.corpora.generation.studies import StudyKey
from optformer.data.studies.errors import ConfigError, DatasetError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.study_files import write_studies
from optformer.data.studies.trials import Trial
from optformer.tokenization.history import MetricKind, ValueKind, decode_point
from optformer.tokenization.metadata import metadata_from_text
from optformer.tokenization.symbols import NUM_BINS
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import HistoriesConfig, PolicyConfig, PriorConfig
from optformer.training.mixtures.batch import IGNORED, StudyBatch
from optformer.training.mixtures.recorded import StudyGroup, read_histories
from optformer.training.mixtures.recorded_batches import RecordedStudies

SPACE = SearchSpace(
    kind=Categorical(["tree", "line", "net"], description="what is fitted"),
    depth=Int(1, 9, when={"kind": ["tree"]}),
    rate=Float(1e-3, 1.0, log=True, description="step size"),
    width=Ordinal([8, 16, 32, 64]),
)
OTHER = SearchSpace(a=Float(0.0, 1.0), b=Float(0.0, 1.0))
METHODS = ("random", "gp-ei")


def loss(params: dict[str, Value]) -> float:
    """An objective without ties; lines fail."""
    kind = {"tree": 0.1, "line": np.nan, "net": 0.3}[str(params.get("kind", "net"))]
    numbers = [float(value) for value in params.values() if isinstance(value, float | int)]
    return float(kind + sum(number**0.5 / (place + 2) for place, number in enumerate(numbers)))


def play(space: SearchSpace, seed: int, length: int) -> list[Trial]:
    rng = np.random.default_rng(seed)
    trials = [Trial(number, space.sample(rng)) for number in range(length)]
    values = [loss(dict(trial.params)) for trial in trials]
    return [
        trial.fail("lines are out") if np.isnan(value) else trial.finish(value)
        for trial, value in zip(trials, values, strict=True)
    ]


def write(out: Path, objective: str, space: SearchSpace, lengths: Sequence[int]) -> StudyConfig:
    config = StudyConfig(
        space, "validation_loss", "minimize", {"task": "toy", "dataset": objective}
    )
    for method in METHODS:
        for seed, length in enumerate(lengths):
            key = StudyKey(objective, method, seed)
            played = [(trial, 0.0) for trial in play(space, 10 * len(method) + seed, length)]
            shards.write_shard(out, key, config, played)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten studies of two objectives; `splines-phase` is a name that may be trained on."""
    out = tmp_path_factory.mktemp("histories")
    write(out, "splines-phase", SPACE, [6, 20, 30])
    write(out, "naive-bayes-iris", OTHER, [12, 14])
    return out


def source(**changes: object) -> HistoriesConfig:
    settings: dict[str, object] = {"path": ".", "held_out": 0.0, **changes}
    return HistoriesConfig(**settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def objectives(folder: Path) -> list[StudyGroup]:
    return read_histories([source()], folder)


def draw(
    folder: Path,
    prior: PriorConfig,
    vocabulary: Vocabulary,
    policy: str = "imitation",
    **changes: object,
) -> RecordedStudies:
    read = read_histories([source(**changes)], folder)
    return RecordedStudies(read, prior, PolicyConfig(objective=policy), vocabulary, 5)


def described(
    batch: StudyBatch, study: int, vocabulary: Vocabulary
) -> tuple[StudyConfig, str | None]:
    ids = batch.metadata.ids[study][batch.metadata.mask[study]].tolist()
    return metadata_from_text(vocabulary.decode(ids))


def test_read_histories__folder__studies_of_an_objective_are_together(
    objectives: list[StudyGroup],
) -> None:
    assert [o.config.metadata["dataset"] for o in objectives] == [
        "naive-bayes-iris",
        "splines-phase",
    ]
    splines = objectives[1]
    assert splines.lengths.tolist() == [6, 20, 30] * 2
    assert set(splines.methods) == {"random", "gp ei"}
    trial = play(SPACE, 60, 6)[4]  # of random search
    row = int(splines.starts[splines.methods.index("random")]) + 4
    decoded = decode_point(SPACE, splines.values[row], splines.kinds[row])
    assert decoded == pytest.approx(dict(trial.params))
    expected = np.nan if trial.value is None else -trial.value  # minimized
    np.testing.assert_equal(splines.gain[row], expected)
    assert {MetricKind.VALUE, MetricKind.FAILED} == set(splines.metric_kinds.tolist())


def test_read_histories__file_of_studies__each_is_an_objective_unless_they_tell_the_data_set(
    tmp_path: Path,
) -> None:
    named = StudyConfig(OTHER, "loss", "minimize", {"dataset": "d"})
    plain = StudyConfig(OTHER, "loss", "minimize", {"task": "toy"})
    studies = [
        RecordedStudy(f"s{number}", config, tuple(play(OTHER, number, 5)))
        for number, config in enumerate([named, plain, named, plain])
    ]
    write_studies(tmp_path / "team.studies.jsonl", studies)
    read = read_histories([source(path="team.studies.jsonl")], tmp_path)
    assert [(o.config, o.lengths.tolist()) for o in read] == [
        (named, [5, 5]),
        (plain, [5]),
        (plain, [5]),
    ]
    assert read[0].methods == (None, None)
    assert read[2].gain.tolist() == [-(trial.value or 0.0) for trial in studies[3].trials]


def test_read_histories__folder_of_folders__is_read_whole(tmp_path: Path) -> None:
    for part in ("a", "b"):
        config = write(tmp_path / part, "splines-phase", SPACE, [5])
        shards.write_manifest(tmp_path / part, {})
    (read,) = read_histories([source()], tmp_path)
    assert read.config == config
    assert len(read.methods) == 4


def test_read_histories__damaged_shard__is_named(tmp_path: Path) -> None:
    write(tmp_path, "splines-phase", SPACE, [5, 5])
    broken = shards.find_shards(tmp_path)[2]
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 0xFF
    broken.write_bytes(bytes(content))
    with pytest.raises(DatasetError, match=rf"{broken.parent.name}.{broken.name}"):
        read_histories([source()], tmp_path)


def test_read_histories__reserved_objective__is_refused(tmp_path: Path) -> None:
    write(tmp_path, "svm-digits", OTHER, [5])
    with pytest.raises(DatasetError, match=r"svm-digits.*reserved"):
        read_histories([source()], tmp_path)


def test_read_histories__held_out_data_sets__are_those_of_tables(
    folder: Path, objectives: list[StudyGroup]
) -> None:
    for share in (0.05, 0.3, 0.5):
        kept = {
            o.config.metadata["dataset"] for o in read_histories([source(held_out=share)], folder)
        }
        expected = {
            o.config.metadata["dataset"]
            for o in objectives
            if not is_held_out(dataset_name(o.config), share)
        }
        assert kept == expected


def test_read_histories__own_table__keeps_order_and_failures(tmp_path: Path) -> None:
    trials = play(SPACE, 1, 15)
    rows = [{**t.params, "dataset": "ours", "accuracy": t.value} for t in trials]
    pd.DataFrame(rows).to_csv(tmp_path / "logs.csv", index=False)
    save_space(SPACE, tmp_path / "logs.space.yaml")
    (read,) = read_histories([source(path="logs.csv", goals={"accuracy": "maximize"})], tmp_path)
    assert read.config.metadata == {"model": "logs", "dataset": "ours"}
    assert read.methods == (None,)
    values = [np.nan if t.value is None else t.value for t in trials]
    np.testing.assert_allclose(read.gain, values)
    for row, trial in enumerate(trials):
        assert decode_point(SPACE, read.values[row], read.kinds[row]) == pytest.approx(trial.params)


def test_recorded_studies__nothing_to_draw__is_refused(
    prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    with pytest.raises(ConfigError, match="histories"):
        RecordedStudies([], prior_config, PolicyConfig(), vocabulary, 0)


def test_batch__seed_and_step__are_all_it_depends_on(
    folder: Path, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    first, second = (draw(folder, prior_config, vocabulary) for _ in range(2))
    batches = [first.batch(step) for step in range(6)]
    for step in (4, 1):  # another order, other variants made before
        fresh = second.batch(step)
        assert torch.equal(fresh.metadata.ids, batches[step].metadata.ids)
        assert torch.equal(fresh.history.points.values, batches[step].history.points.values)
        assert torch.equal(fresh.metrics.target, batches[step].metrics.target)
        assert torch.equal(fresh.values.target, batches[step].values.target)
    assert len({batch.metadata.ids.numpy().tobytes() for batch in batches}) == 6


def test_batch__unit_of_the_metric__does_not_matter(
    objectives: list[StudyGroup], prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    percent = [replace(one, gain=100 * one.gain - 40) for one in objectives]
    drawn, other = (
        RecordedStudies(read, prior_config, PolicyConfig(), vocabulary, 5)
        for read in (objectives, percent)
    )
    short = 0
    for step in range(40):
        batch, same = drawn.batch(step), other.batch(step)
        short += batch.prefix <= 1
        assert torch.allclose(batch.history.metric, same.history.metric, atol=1e-5)
        assert (batch.metrics.target - same.metrics.target).abs().max() <= 1
    assert short > 1  # what a single trial, or none, says of the scale is no metric's unit


def test_batch__shapes__hold_no_padding(
    folder: Path, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    recorded = draw(folder, prior_config, vocabulary)
    sizes, shares = set(), set()
    for batch in (recorded.batch(step) for step in range(25)):
        studies, length = batch.history.metric.shape
        asked = batch.metrics.target.shape[1]
        share = studies // batch.metadata.slots.shape[0]
        assert 1 <= share <= prior_config.studies_per_space
        shares.add(share)
        assert 0 <= batch.prefix < length <= prior_config.max_trials
        assert asked == prior_config.probes + length - batch.prefix
        each = length + prior_config.probes
        assert abs(studies * each - prior_config.tokens) <= share * each / 2
        assert (batch.history.points.kinds != ValueKind.MISSING).all()
        assert (batch.history.metric_kinds != MetricKind.MISSING).all()
        assert (batch.metrics.target != IGNORED).all()  # nothing was pending when it was recorded
        assert batch.metrics.position.min() >= batch.prefix
        assert batch.metrics.position.max() <= length
        sizes.add(batch.metadata.slots.shape[1])
    assert sizes == {2, 4}
    assert shares == {1, 2}  # one where a single study of a method is long enough


def test_batch__any_variant__shows_points_and_their_values(
    folder: Path, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    recorded = draw(folder, prior_config, vocabulary, unnamed=0.0, reordered=1.0, left_out=0.5)
    orders, choices, metadata, algorithms = set(), set(), set(), set()
    for batch in (recorded.batch(step) for step in range(12)):
        history = batch.history
        for study in range(0, len(history.metric), 7):
            share = len(history.metric) // len(batch.metadata.mask)
            config, algorithm = described(batch, study // share, vocabulary)
            orders.add(tuple(config.space))
            algorithms.add(algorithm)
            metadata.add(tuple(config.metadata))
            if "kind" in config.space:
                choices.add(tuple(config.space["kind"].grid()))
            points = [
                (history.points.values[study, t], history.points.kinds[study, t])
                for t in range(history.length)
            ]
            known = []
            for t, (values, kinds) in enumerate(points):
                params = config.space.validate(decode_point(config.space, values, kinds))
                by_name = {name: params[name] for name in (*SPACE, *OTHER) if name in params}
                value = loss(by_name)
                if history.metric_kinds[study, t] == MetricKind.FAILED:
                    assert np.isnan(value)
                elif history.metric_kinds[study, t] == MetricKind.VALUE:
                    known.append((-value, float(history.metric[study, t])))
            scaled = [unit for _, unit in sorted(known)]
            assert scaled == sorted(scaled)  # larger is better, whatever the goal
            for n in range(0, batch.metrics.target.shape[1], 3):
                values = batch.metrics.points.values[study, n]
                params = decode_point(config.space, values, batch.metrics.points.kinds[study, n])
                by_name = {name: params[name] for name in (*SPACE, *OTHER) if name in params}
                failed = bool(batch.metrics.target[study, n] == NUM_BINS)
                assert failed == bool(np.isnan(loss(by_name)))
    assert len(orders) > 4
    assert len(choices) > 3
    assert {(), ("task",), ("task", "dataset")} <= metadata
    assert algorithms == {None, "random", "gp ei"}


def test_batch__without_names__mirrors_axes_and_stays_legal(
    folder: Path, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    recorded = draw(folder, prior_config, vocabulary, unnamed=1.0)
    mirrored = 0
    for batch in (recorded.batch(step) for step in range(8)):
        config, _ = described(batch, 0, vocabulary)
        assert all(name.startswith("x") for name in config.space)
        assert not config.metadata
        assert not any(parameter.description for parameter in config.space.values())
        share = len(batch.history.metric) // len(batch.metadata.slots)
        legal = batch.metadata.legal.repeat_interleave(share, 0)[:, batch.value_slots]
        answered = batch.values.target != IGNORED
        picked = torch.gather(legal, 2, batch.values.target.clamp(min=0)[..., None])[..., 0]
        assert picked[answered].all()
        inactive = batch.history.points.kinds[:, batch.values.position, batch.value_slots]
        assert torch.equal(~answered, inactive == ValueKind.INACTIVE)
        if len(config.space) == 2:  # both are above 0.5 or not, as often as they are mirrored
            mirrored += int((batch.history.points.values.mean(1) > 0.5).sum())
    assert mirrored > 0
    variants = [recorded.augmentation.variant(1, number) for number in range(20)]
    assert any(any(v.flips or ()) for v in variants)


def test_batch__queries__are_of_other_trials_half_of_them_near(
    folder: Path, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    recorded = draw(folder, prior_config, vocabulary, unnamed=0.0, reordered=0.0)
    near, anywhere = [], []
    for batch in (recorded.batch(step) for step in range(20)):
        if batch.prefix < 3 or batch.metadata.slots.shape[1] != 2:
            continue
        history, asked = batch.history, batch.metrics.points.values[:, : prior_config.probes]
        for study in range(len(history.metric)):
            shown = history.points.values[study]
            same = (asked[study][:, None] == shown[None]).all(-1)
            assert not same.any()
            measured = history.metric_kinds[study, : batch.prefix] == MetricKind.VALUE
            if measured.all():
                best = int(history.metric[study, : batch.prefix].argmax())
                gap = (asked[study] - shown[best]).norm(dim=-1).sort().values
                near.append(float(gap[: prior_config.probes // 2].mean()))
                anywhere.append(float(torch.rand(8, 2).sub(shown[best]).norm(dim=-1).mean()))
    assert len(near) > 5
    assert np.mean(near) < 0.6 * np.mean(anywhere)


def test_batch__returns__are_told_in_the_metadata(
    folder: Path, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    alone = replace(prior_config, tokens=600, studies_per_space=1)
    recorded = draw(folder, alone, vocabulary, policy="returns")
    marks: list[str | None] = []
    for batch in (recorded.batch(step) for step in range(6)):
        assert batch.value_weights is None
        for study in range(len(batch.history.metric)):
            config, _ = described(batch, study, vocabulary)
            marks.append(config.metadata.get("return"))
    assert set(marks) == {None, "worst", "poor", "fair", "good", "best"}
    assert 0.05 < marks.count(None) / len(marks) < 0.4  # 0.2 are not marked


def test_batch__advantages__weigh_value_queries_and_nothing_else(
    folder: Path, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    plain, weighted = (
        draw(folder, prior_config, vocabulary, policy=objective).batch(3)
        for objective in ("imitation", "advantages")
    )
    assert plain.value_weights is None
    assert weighted.value_weights is not None
    assert weighted.value_weights.shape == weighted.values.target.shape
    assert weighted.value_weights.std() > 0
    assert torch.equal(plain.metadata.ids, weighted.metadata.ids)
    assert torch.equal(plain.values.target, weighted.values.target)


def test_batch__one_study_of_ones_own__is_asked_about_its_later_trials(
    tmp_path: Path, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    trials = play(OTHER, 1, 15)
    rows = [{**t.params, "accuracy": t.value} for t in trials]
    pd.DataFrame(rows).to_parquet(tmp_path / "logs.parquet")
    save_space(OTHER, tmp_path / "logs.space.yaml")
    read = read_histories(
        [source(path="logs.parquet", goals={"accuracy": "maximize"}, unnamed=0.0, reordered=0.0)],
        tmp_path,
    )
    recorded = RecordedStudies(read, prior_config, PolicyConfig(), vocabulary, 0)
    asked = set()
    for batch in (recorded.batch(step) for step in range(30)):
        length = batch.history.length
        probes = batch.metrics.target.shape[1] - (length - batch.prefix)
        assert probes == min(prior_config.probes, len(trials) - length)
        later = torch.tensor([[t.params["a"], t.params["b"]] for t in trials[length:]])
        for point in batch.metrics.points.values[0, :probes].double():
            assert (later - point).abs().sum(-1).min() < 1e-6
        asked.add(probes)
    assert len(asked) > 3


def test_read_histories__everything_held_out__is_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match="held out"):
        read_histories([source(held_out=0.9999)], folder)
