from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from accelerate import Accelerator
from torch import Tensor

import optformer.model.checkpoint as checkpoint_module
import optformer.training.data_parallel as data_parallel
import optformer.training.train as train_module
from optformer.data.studies.errors import CheckpointError, ConfigError, DivergedError
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.model.checkpoint import RUN_CHECKPOINT_DIR, load_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import TableConfig, TrainingConfig
from optformer.training.losses import Losses, negative_log_likelihood, study_losses
from optformer.training.mixtures.batch import IGNORED
from optformer.training.run_state import STATE
from optformer.training.schedule import FINAL_RATE, make_optimizers, rate_at
from optformer.training.train import Trainer, train


def _trainer(config: TrainingConfig, directory: Path, resume: bool = False) -> Trainer:
    directory.mkdir(exist_ok=True)
    trainer = Trainer(config, directory, cpu=True)
    if resume:
        trainer.resume()
    return trainer


def _state(directory: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(directory / STATE, weights_only=True)
    return state


def _logged(directory: Path, group: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for key in value for item in _flat(value[key])]
    if isinstance(value, list | tuple):
        return [item for entry in value for item in _flat(entry)]
    return [value]


@pytest.fixture(scope="module")
def straight(training_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of six steps."""
    directory = tmp_path_factory.mktemp("straight")
    _trainer(training_config, directory).train()
    return directory


@pytest.fixture
def begun(training_config: TrainingConfig, tmp_path: Path) -> Path:
    """The first three steps of the same run."""
    _trainer(training_config, tmp_path / "run").train(until=3)
    return tmp_path / "run"


def test_update__fixed_batch__lowers_its_loss(
    training_config: TrainingConfig, tmp_path: Path
) -> None:
    trainer = _trainer(replace(training_config, warmup=1), tmp_path)
    batch = trainer.mixture.batch(0)

    def loss() -> float:
        with torch.no_grad():
            return float(study_losses(trainer.core, batch, 0.8).total)

    before = loss()
    said, _ = trainer._update([batch])
    assert 0.8 * said["metric"] + 0.2 * said["value"] == pytest.approx(before, rel=2e-2)  # bf16
    after = loss()
    assert after < before
    for _ in range(10):
        trainer._update([batch])
    assert loss() < after


def test_train__resumed_halfway__equals_a_straight_run(
    training_config: TrainingConfig, straight: Path, begun: Path
) -> None:
    assert _state(begun)["step"] == 3
    _trainer(training_config, begun, resume=True).train()
    first, second = _state(straight), _state(begun)
    for state in (first, second):
        del state["seconds"]
    assert first["step"] == 6
    for one, other in zip(_flat(first), _flat(second), strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    weights = load_checkpoint(straight / RUN_CHECKPOINT_DIR).model.state_dict()
    for name, weight in load_checkpoint(begun / RUN_CHECKPOINT_DIR).model.state_dict().items():
        assert torch.equal(weight, weights[name])


def test_resume__state_with_former_names__equals_one_with_today_s(
    training_config: TrainingConfig, begun: Path, formerly: Callable[[Any], Any], tmp_path: Path
) -> None:
    state = _state(begun)
    shutil.copytree(begun, tmp_path / "former")
    former = {part: formerly(state[part]) for part in ("weights", "average")}
    assert "star" in former["weights"]
    del state["format_version"]
    torch.save(state | former, tmp_path / "former" / STATE)
    runs = [_trainer(training_config, folder, True) for folder in (begun, tmp_path / "former")]
    for trainer in runs:
        trainer._update([trainer.mixture.batch(3)])
    new, old = (trainer.core.state_dict() for trainer in runs)
    assert all(torch.equal(old[name], weight) for name, weight in new.items())


def test_resume__optimizers__keep_their_peak_rates(
    training_config: TrainingConfig, begun: Path
) -> None:
    trainer = _trainer(training_config, begun, resume=True)
    peaks = [group["peak"] for o in trainer.optimizers for group in o.param_groups]
    assert peaks == [training_config.matrix_learning_rate, training_config.learning_rate]
    trainer._update([trainer.mixture.batch(3)])
    rates = [group["lr"] for o in trainer.optimizers for group in o.param_groups]
    assert rates == [rate_at(3, 0.0, training_config) * peak for peak in peaks]


def test_train__published_weights__are_the_average(straight: Path) -> None:
    state = _state(straight)
    published = load_checkpoint(straight / RUN_CHECKPOINT_DIR).model.state_dict()
    moved = 0
    for name, weight in state["average"].items():
        assert torch.equal(published[name], weight.half().float())  # stored in half precision
        moved += int(not torch.equal(state["weights"][name], weight))
    assert moved > 10


def test_train__record__has_no_empty_field(straight: Path, vocabulary: Vocabulary) -> None:
    run = load_checkpoint(straight / RUN_CHECKPOINT_DIR).run
    for name, value in run.items():
        assert value not in (None, "", [], {}), name
    assert run["steps"] == 6
    assert run["trials"] > 6 * 100
    assert run["vocabulary_hash"] == vocabulary.hash
    assert run["config"]["seed"] == 3
    assert run["parameters"] == sum(
        weight.numel()
        for weight in OptFormerModel(ModelConfig.named("tiny", vocabulary.size)).parameters()
    )


def test_train__log__tells_losses_every_so_many_steps(straight: Path) -> None:
    lines = _logged(straight, "train")
    assert [line["step"] for line in lines] == [2, 4, 6]
    for line in lines:
        assert 3 < line["metric"] < 10
        assert 0 < line["value"] < 10
        assert line["norm"] > 0
        assert line["tokens_per_second"] > line["trials_per_second"] > 0
        assert 0 < line["model_flop_utilisation"] < 1  # of the configured peak
    assert list((straight / "logs").iterdir())


def test_train__resumed_between_two_entries_of_the_log__averages_the_steps_it_took(
    training_config: TrainingConfig, straight: Path, tmp_path: Path
) -> None:
    _trainer(training_config, tmp_path).train(until=3)
    _trainer(training_config, tmp_path, resume=True).train()
    assert [line["step"] for line in _logged(tmp_path, "train")] == [2, 4, 6]
    whole, resumed = _logged(straight, "train"), _logged(tmp_path, "train")
    assert resumed[2]["metric"] == pytest.approx(whole[2]["metric"])
    # Of steps 3 and 4 the resumed run took the last alone.
    assert resumed[1]["metric"] == pytest.approx(whole[1]["metric"], rel=0.3)


def test_train__killed_after_its_last_state__leaves_no_entry_twice(
    training_config: TrainingConfig, straight: Path, tmp_path: Path
) -> None:
    _trainer(training_config, tmp_path).train(until=3)
    state = (tmp_path / STATE).read_bytes()
    _trainer(training_config, tmp_path, resume=True).train(until=5)
    (tmp_path / STATE).write_bytes(state)  # as if it had been killed before it wrote the next
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "sec')
    _trainer(training_config, tmp_path, resume=True).train()
    assert [line["step"] for line in _logged(tmp_path, "train")] == [2, 4, 6]
    assert _logged(tmp_path, "train")[2]["metric"] == _logged(straight, "train")[2]["metric"]


def test_trainer__no_accelerator__shares_the_work_of_processes_on_the_cpu(
    training_config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    class Recorded(Accelerator):
        def __init__(self, **settings: Any) -> None:
            asked.append(settings["cpu"])
            super().__init__(**settings)

    monkeypatch.setattr(train_module, "Accelerator", Recorded)
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available=False: None
    )
    Trainer(training_config, tmp_path)
    assert asked == [True]


def test_train__time_is_up__stops_with_a_state_to_resume(
    training_config: TrainingConfig, straight: Path, tmp_path: Path
) -> None:
    _trainer(training_config, tmp_path).train(max_seconds=0.0)
    assert _state(tmp_path)["step"] == 1
    _trainer(training_config, tmp_path, resume=True).train()
    weights = _state(straight)["weights"]
    assert all(torch.equal(w, weights[n]) for n, w in _state(tmp_path)["weights"].items())


def test_resume__other_configuration__names_what_differs(
    training_config: TrainingConfig, begun: Path
) -> None:
    other = replace(training_config, seed=4, clip=0.5)
    with pytest.raises(CheckpointError, match=r"another configuration: \['clip', 'seed'\] differ"):
        _trainer(other, begun, resume=True)


def test_resume__state_older_than_a_setting__goes_on(
    training_config: TrainingConfig, begun: Path
) -> None:
    state = _state(begun)
    config = replace(training_config, batches_per_step=1)  # the default, which it was
    del state["config"]["batches_per_step"], state["vocabulary_hash"]
    torch.save(state, begun / STATE)
    assert _trainer(config, begun, resume=True).step == 3
    with pytest.raises(CheckpointError, match=r"\['batches_per_step'\] differ"):
        _trainer(replace(config, batches_per_step=2), begun, resume=True)


def test_resume__state_of_another_release__says_so(
    training_config: TrainingConfig, begun: Path
) -> None:
    state = _state(begun)
    state["config"]["future"] = 1
    torch.save(state, begun / STATE)
    with pytest.raises(CheckpointError, match=r"this release cannot read.*'future'"):
        _trainer(training_config, begun, resume=True)


def test_resume__other_vocabulary__is_refused_by_its_hash(
    training_config: TrainingConfig, begun: Path
) -> None:
    state = _state(begun)
    state["vocabulary_hash"] = "another"
    torch.save(state, begun / STATE)
    with pytest.raises(CheckpointError, match=r"vocabulary_hash of .*'another'"):
        _trainer(training_config, begun, resume=True)


def test_train__several_batches_a_step__averages_their_gradients(
    training_config: TrainingConfig, tmp_path: Path
) -> None:
    config = replace(training_config, batches_per_step=2)
    trainer = _trainer(config, tmp_path)
    (first, second), *others = trainer._batches(3)
    assert len(others) == 2
    numbered = [trainer.mixture.batch(number) for number in range(2)]
    for drawn, expected in zip((first, second), numbered, strict=True):
        assert torch.equal(drawn.history.metric, expected.history.metric)

    losses = trainer.parallel.gradients([first, second])

    together = {n: w.grad.clone() for n, w in trainer.core.named_parameters() if w.grad is not None}
    trainer.core.zero_grad()
    apart = [trainer.parallel.gradients([batch]) for batch in (first, second)]
    torch.testing.assert_close(losses, (apart[0] + apart[1]) / 2)
    for name, weight in trainer.core.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(2 * together[name], weight.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"PK\3\4 cut"])
def test_resume__no_state__names_the_file(
    training_config: TrainingConfig, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot resume from .*state\.pt"):
        _trainer(training_config, tmp_path, resume=True)


def test_train__diverged_loss__stops_and_leaves_the_last_checkpoint(
    training_config: TrainingConfig, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (begun / STATE).read_bytes()
    trainer = _trainer(training_config, begun, resume=True)
    nan = torch.tensor(math.nan, requires_grad=True)
    monkeypatch.setattr(data_parallel, "study_losses", lambda *args: Losses(nan, nan, nan))
    with pytest.raises(DivergedError, match="the loss became nan at step 3"):
        trainer.train()
    assert (begun / STATE).read_bytes() == before
    assert load_checkpoint(begun / RUN_CHECKPOINT_DIR).run["steps"] == 3


def test_train__loss_rises__warns_while_it_is_still_a_number(
    training_config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = _trainer(replace(training_config, steps=70, checkpoint_every=100), tmp_path)
    update = trainer._update
    batch = [trainer.mixture.batch(0)]
    found, work = update(batch)
    noise = np.random.default_rng(0).normal(size=70)

    def rising(batches: Any) -> Any:
        rise = 1.2 ** max(trainer.step - 60, 0) - 1
        return {**found, "loss": found["loss"] + 0.1 * noise[trainer.step] + rise}, work

    monkeypatch.setattr(trainer, "_update", rising)
    monkeypatch.setattr(trainer, "_batches", lambda until: iter([batch] * until))
    trainer.train()
    (warning,) = _logged(tmp_path, "warning")
    assert 60 < warning["step"] <= 68
    assert "the loss rises" in warning["text"]
    assert warning["text"] in caplog.text


def test_train__infinite_gradient__stops_before_the_weights_are_touched(
    training_config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(training_config, tmp_path)

    def steep(model: torch.nn.Module, *args: Any) -> Losses:
        weight = next(model.parameters())
        loss = (weight * 0).abs().sqrt().sum()  # zero, with an infinite slope
        return Losses(loss, loss, loss)

    monkeypatch.setattr(data_parallel, "study_losses", steep)
    with pytest.raises(DivergedError, match="gradient's norm became nan"):
        trainer.train()
    assert all(weight.isfinite().all() for weight in trainer.core.parameters())


def test_save__disk_full__leaves_the_previous_state_whole(
    training_config: TrainingConfig, straight: Path, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(training_config, begun, resume=True)

    def full(state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (begun / f".{STATE}.1").write_bytes(b"half")  # of a process that was killed
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left.*before is whole: make room"):
        trainer.train()
    monkeypatch.undo()
    assert not list(begun.glob(f".{STATE}.*"))
    assert _state(begun)["step"] == 3
    _trainer(training_config, begun, resume=True).train()
    weights = _state(straight)["weights"]
    assert all(torch.equal(w, weights[n]) for n, w in _state(begun)["weights"].items())


def test_save__disk_full_while_publishing__leaves_everything_whole(
    training_config: TrainingConfig, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(training_config, begun, resume=True)
    before = sorted(begun.iterdir())

    def full(weights: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint.*No space left"):
        trainer.train()
    assert load_checkpoint(begun / RUN_CHECKPOINT_DIR).run["steps"] == _state(begun)["step"] == 3
    assert sorted(begun.iterdir()) == before  # no half a checkpoint either


def test_train__configuration_file__runs_once_and_resumes(
    training_config: TrainingConfig, tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(replace(training_config, steps=2).to_dict()))
    out = train(path, tmp_path / "out", max_seconds=0.0, cpu=True)
    assert load_checkpoint(out).run["steps"] == 1
    with pytest.raises(ConfigError, match="holds a run already; resume it"):
        train(path, tmp_path / "out", cpu=True)
    train(path, tmp_path / "out", resume=True, cpu=True)
    assert load_checkpoint(out).run["steps"] == 2
    with pytest.raises(CheckpointError, match="cannot resume"):
        train(path, tmp_path / "other", resume=True, cpu=True)


def test_rate_at__whole_run__warms_up_and_cools_down(training_config: TrainingConfig) -> None:
    config = replace(training_config, steps=1000, warmup=100)
    rates = [rate_at(step, 0.0, config) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01, rel=0.01)
    assert rates[:99] == sorted(rates[:99])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert max(rates) == pytest.approx(0.98, abs=0.02)
    assert rate_at(1000, 0.0, config) == pytest.approx(FINAL_RATE)


def test_rate_at__schedule_by_the_clock__falls_with_the_seconds(
    training_config: TrainingConfig,
) -> None:
    config = replace(training_config, warmup=1, seconds=60.0)
    rates = [rate_at(5, seconds, config) for seconds in (0.0, 30.0, 60.0, 90.0)]
    assert rates == pytest.approx([1.0, (1 + FINAL_RATE) / 2, FINAL_RATE, FINAL_RATE])
    assert rate_at(1, 30.0, config) == rates[1]


def test_train__schedule_by_the_clock__ends_with_a_checkpoint(
    training_config: TrainingConfig, tmp_path: Path
) -> None:
    config = replace(training_config, seconds=1e-3)
    trainer = _trainer(config, tmp_path)
    trainer.train()
    assert trainer.step == 1
    assert load_checkpoint(tmp_path / RUN_CHECKPOINT_DIR).run["config"]["seconds"] == 1e-3
    resumed = _trainer(config, tmp_path, resume=True)
    assert resumed.seconds == trainer.seconds >= 1e-3
    resumed.train()
    assert resumed.step == 1  # it has had its time


def test_make_optimizers__all_weights__have_one_optimizer_each(
    training_config: TrainingConfig, vocabulary: Vocabulary
) -> None:
    model = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    muon, adam = make_optimizers(model, training_config)
    ids = [[id(w) for g in o.param_groups for w in g["params"]] for o in (muon, adam)]
    assert sorted(ids[0] + ids[1]) == sorted(id(w) for w in model.parameters())
    names = {id(weight): name for name, weight in model.named_parameters()}
    assert {names[i].split(".")[1] for i in ids[0]} == {"layers"}
    assert all(w.ndim == 2 for g in muon.param_groups for w in g["params"])


def test_negative_log_likelihood__targets__are_averaged_without_the_ignored() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, IGNORED, 4], [IGNORED, 2, IGNORED]])
    logs = logits.log_softmax(-1)
    expected = -(logs[0, 0, 0] + logs[0, 2, 4] + logs[1, 1, 2]) / 3
    assert float(negative_log_likelihood(logits, target)) == pytest.approx(float(expected))
    nothing = torch.full((2, 3), IGNORED)
    assert float(negative_log_likelihood(logits, nothing)) == 0.0


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_study_losses__metric_share__weighs_both(
    training_config: TrainingConfig, tmp_path: Path, share: float
) -> None:
    trainer = _trainer(training_config, tmp_path)
    losses = study_losses(trainer.core, trainer.mixture.batch(1), share)
    expected = share * losses.metric + (1 - share) * losses.value
    torch.testing.assert_close(losses.total, expected)
    losses.total.backward()  # type: ignore[no-untyped-call]
    silent = [n for n, w in trainer.core.named_parameters() if w.grad is None]
    assert silent == []


@pytest.mark.slow
def test_train__worker_process__draws_the_same_batches(
    training_config: TrainingConfig, straight: Path, tmp_path: Path
) -> None:
    trainer = Trainer(replace(training_config, workers=1), tmp_path, cpu=True)
    trainer.train()
    weights = _state(straight)["weights"]
    for name, weight in _state(tmp_path)["weights"].items():
        assert torch.equal(weight, weights[name])


def test_start_from__checkpoint__takes_its_weights_and_history(
    training_config: TrainingConfig, straight: Path, tmp_path: Path
) -> None:
    trainer = _trainer(training_config, tmp_path)
    trainer.start_from(straight / RUN_CHECKPOINT_DIR)
    published = load_checkpoint(straight / RUN_CHECKPOINT_DIR)
    weights = published.model.state_dict()
    for name, weight in trainer.core.state_dict().items():
        assert torch.equal(weight, weights[name])
    trainer.train(until=1)
    (earlier,) = load_checkpoint(tmp_path / RUN_CHECKPOINT_DIR).run["earlier"]
    assert earlier["steps"] == published.run["steps"]
    assert (earlier["date"], earlier["device"]) == (published.run["date"], "cpu")
    assert load_checkpoint(tmp_path / RUN_CHECKPOINT_DIR).run["from"] == straight.name
    assert earlier["config"] == published.run["config"]


def test_start_from__other_size__is_refused(
    training_config: TrainingConfig, straight: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="small"):
        _trainer(replace(training_config, model="small"), tmp_path).start_from(
            straight / RUN_CHECKPOINT_DIR
        )


def test_train__weights_and_resume__is_refused(straight: Path) -> None:
    with pytest.raises(ConfigError, match="leave weights out"):
        train("small.yaml", straight, resume=True, weights=straight / RUN_CHECKPOINT_DIR)


def test_train__tables__are_learned_from_and_recorded(
    training_config: TrainingConfig, tmp_path: Path
) -> None:
    space = SearchSpace(
        kind=Categorical(["tree", "line"]),
        depth=Int(1, 9, when={"kind": ["tree"]}),
        rate=Float(1e-3, 1.0, log=True),
    )
    rng = np.random.default_rng(0)
    points = [space.sample(rng) for _ in range(120)]
    rows = [
        {"dataset": i % 3, **point, "metric.acc": -abs(point["rate"] - 0.1 * (i % 3))}
        for i, point in enumerate(points)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "toy.parquet")
    save_space(space, tmp_path / "toy.space.yaml")
    table = TableConfig(
        path="toy.parquet",
        tasks=["classification"],
        models=["a toy"],
        goals={"acc": "maximize"},
        held_out=0.0,
    )
    config = replace(
        training_config, tables=(table,), prior=replace(training_config.prior, emulated=1.0)
    )
    run = tmp_path / "run"
    run.mkdir()
    trainer = Trainer(config, run, cpu=True, tables=tmp_path)
    trainer.train(until=2)
    batch = trainer.mixture.batch(2)
    text = trainer.vocabulary.decode(batch.metadata.ids[0][batch.metadata.mask[0]].tolist())

    assert "toy" in load_checkpoint(run / RUN_CHECKPOINT_DIR).run["data"]["tables"][0]
    assert (run / "emulator-toy.safetensors").exists()
    assert "<metric> acc" in text or "accuracy" in text
    again = Trainer(config, run, cpu=True, tables=tmp_path)  # the emulator is not fitted again
    assert torch.equal(again.mixture.batch(2).metrics.target, batch.metrics.target)


def test_training_config__emulated_without_tables__is_refused(
    training_config: TrainingConfig,
) -> None:
    with pytest.raises(ConfigError, match="tables"):
        replace(training_config, prior=replace(training_config.prior, emulated=0.5))
