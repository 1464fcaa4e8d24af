"""Several processes: sharing batches, and stages of a pipeline."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from optformer.data.studies.errors import ConfigError
from optformer.model.checkpoint import RUN_CHECKPOINT_DIR, load_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import TrainingConfig
from optformer.training.data_parallel import DataParallel
from optformer.training.losses import study_losses
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.pipeline import Pipeline, micro_batches
from optformer.training.run_state import STATE
from optformer.training.stage_model import StageModel
from optformer.training.train import Trainer

SCRIPT = Path(__file__).parent / "two_processes.py"
WAYS = ("shared", "pipeline")


@pytest.fixture(scope="module")
def config(training_config: TrainingConfig) -> TrainingConfig:
    """Two batches a step, for two processes."""
    prior = replace(training_config.prior, mining=0.0)
    return replace(training_config, prior=prior, batches_per_step=2, steps=4, checkpoint_every=4)


@pytest.fixture(scope="module")
def done(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes did, see `two_processes.py`."""
    directory = tmp_path_factory.mktemp("processes")
    (directory / "run.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    for name in ("shared/straight", "shared/halves", "pipeline/straight", "pipeline/halves"):
        (directory / name).mkdir(parents=True)
    (directory / "late").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(SCRIPT), str(port), str(directory)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return directory


def _saved(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


@pytest.mark.parametrize("way", WAYS)
def test_gradients__two_processes__are_those_of_one(
    config: TrainingConfig, vocabulary: Vocabulary, done: Path, way: str
) -> None:
    torch.manual_seed(config.seed)
    core = OptFormerModel(ModelConfig.named(config.model, vocabulary.size))
    prior = SyntheticPrior(config.prior, vocabulary, config.seed)
    losses = torch.zeros(3)
    for number in range(2):
        found = study_losses(core, prior.batch(number), config.metric_share)
        (found.total / 2).backward()  # type: ignore[no-untyped-call]
        losses += torch.stack([found.total, found.metric, found.value]).detach() / 2
    ours = _saved(done / f"{way}.pt")
    torch.testing.assert_close(ours["losses"], losses)
    expected = {name: weight.grad for name, weight in core.named_parameters()}
    assert ours["gradients"].keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient is not None
        torch.testing.assert_close(ours["gradients"][name], gradient, rtol=1e-3, atol=1e-6)
    norm = torch.nn.utils.get_total_norm([g for g in expected.values() if g is not None])
    torch.testing.assert_close(ours["norm"], norm, rtol=1e-4, atol=0.0)


def test_pipeline__first_stage__holds_a_part_of_the_model(done: Path) -> None:
    whole, part = (_saved(done / f"{way}.pt")["held"] for way in WAYS)
    assert part < 0.9 * whole


@pytest.mark.parametrize("way", WAYS)
def test_train__two_processes_resumed__equal_a_straight_run(done: Path, way: str) -> None:
    straight, halves = (_saved(done / way / name / STATE) for name in ("straight", "halves"))
    assert straight["step"] == halves["step"] == 4
    assert straight["trials"] == halves["trials"]
    for part in ("weights", "average"):
        for name, weight in straight[part].items():
            assert torch.equal(weight, halves[part][name]), name
    for one, other in zip(straight["optimizers"], halves["optimizers"], strict=True):
        assert one["state"].keys() == other["state"].keys()
        for index, entry in one["state"].items():
            for key, value in entry.items():
                assert torch.equal(
                    torch.as_tensor(value), torch.as_tensor(other["state"][index][key])
                )


@pytest.mark.parametrize("way", WAYS)
def test_train__two_processes__go_where_one_goes(
    config: TrainingConfig, done: Path, tmp_path: Path, way: str
) -> None:
    alone = Trainer(config, tmp_path, cpu=True)
    alone.train()
    state = _saved(done / way / "straight" / STATE)
    assert state["trials"] == alone.trials
    begun = Trainer(config, tmp_path, cpu=True).core.state_dict()
    moved = torch.cat([(w - begun[n]).flatten() for n, w in alone.core.state_dict().items()])
    apart = torch.cat(
        [(w - state["weights"][n]).flatten() for n, w in alone.core.state_dict().items()]
    )
    assert apart.norm() < 0.1 * moved.norm()  # bf16 rounds otherwise in other shapes


@pytest.mark.parametrize("way", WAYS)
def test_resume__state_of_two_processes__goes_on_in_one(
    config: TrainingConfig, done: Path, way: str
) -> None:
    directory = done / way / "straight"
    trainer = Trainer(config, directory, cpu=True)
    trainer.resume()
    assert trainer.step == 4
    state = _saved(directory / STATE)
    assert all(torch.equal(w, state["weights"][n]) for n, w in trainer.core.state_dict().items())
    trainer._update([trainer.mixture.batch(8), trainer.mixture.batch(9)])
    run = load_checkpoint(directory / RUN_CHECKPOINT_DIR).run
    assert run["parameters"] == sum(weight.numel() for weight in trainer.core.parameters())
    steps = [json.loads(line)["step"] for line in (directory / "log.jsonl").open()]
    assert steps == [2, 4]  # once, not by each process


def test_train__one_process_out_of_time__stops_both_at_the_same_step(done: Path) -> None:
    assert _saved(done / "late" / STATE)["step"] == 1


def test_micro_batches__parts__hold_every_study_once(
    config: TrainingConfig, vocabulary: Vocabulary
) -> None:
    batch = SyntheticPrior(config.prior, vocabulary, 0).batch(1)
    spaces = len(batch.metadata.ids)
    first, second = micro_batches(batch, 2)
    grouped: Tensor = batch.metrics.target.reshape(spaces, 2, -1)
    assert torch.equal(first.metrics.target, grouped[:, 0])
    assert torch.equal(second.metrics.target, grouped[:, 1])
    assert torch.equal(first.value_slots, batch.value_slots)
    assert torch.equal(first.metrics.position, batch.metrics.position)
    with pytest.raises(ConfigError, match=r"2 studies of a space.*evenly.*got 3"):
        micro_batches(batch, 3)


def test_stage_model__stages__share_the_layers_between_them(vocabulary: Vocabulary) -> None:
    config = ModelConfig.named("small", vocabulary.size)
    stages = [StageModel(config, stage, 4) for stage in range(4)]
    assert [list(stage.decoder.own) for stage in stages] == [[0], [1, 2], [3], [4, 5]]
    held = [set(dict(stage.named_parameters())) for stage in stages]
    assert set().union(*held) == set(dict(OptFormerModel(config).named_parameters()))
    twice = {name for name in held[0] if name in held[3]}
    assert {".".join(name.split(".")[:2]) for name in twice} == {"decoder.bias", "decoder.norm"}


def _processes(count: int) -> Any:
    return SimpleNamespace(num_processes=count, process_index=0)


def test_data_parallel__batches_not_divisible__names_the_setting(
    config: TrainingConfig, vocabulary: Vocabulary
) -> None:
    core = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    with pytest.raises(ConfigError, match="batches_per_step must be a multiple of the 3 processes"):
        DataParallel(_processes(3), core, config)


@pytest.mark.parametrize(
    ("processes", "parts", "mining", "match"),
    [
        (1, 2, 0.0, "2 to 2 processes.*got 1"),
        (3, 2, 0.0, "2 to 2 processes.*got 3"),
        (2, 3, 0.0, "prior.studies_per_space.*got 3"),
        (2, 0, 0.0, "prior.studies_per_space.*got 0"),
        (2, 2, 0.5, "prior.mining must be 0 in a pipeline, got 0.5"),
    ],
)
def test_pipeline__impossible_split__names_the_setting(
    config: TrainingConfig,
    vocabulary: Vocabulary,
    processes: int,
    parts: int,
    mining: float,
    match: str,
) -> None:
    core = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    other = replace(config, prior=replace(config.prior, mining=mining))
    with pytest.raises(ConfigError, match=match):
        Pipeline(_processes(processes), core, other, parts)
