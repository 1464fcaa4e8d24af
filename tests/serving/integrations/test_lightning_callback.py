"""Trainings of Lightning that report to a trial, and stop where it is to stop."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import Any

import optuna
import pytest
import torch

from optformer.data.studies.errors import MetricError, MissingExtraError, StudyError

pytest.importorskip("lightning")
from optformer.serving.integrations.lightning_callback import (
    LightningPruningCallback,
)


class Curve:
    """A trial that is to stop at a step."""

    def __init__(self, stop_at: int = 99) -> None:
        self.stop_at = stop_at
        self.reported: list[tuple[int, float]] = []

    def report(self, value: float, step: int) -> None:
        self.reported.append((step, value))

    def should_prune(self) -> bool:
        return self.reported[-1][0] >= self.stop_at


def fit(package: str, trial: Any, monitor: str = "val_loss", **settings: Any) -> None:
    """Train a line for three epochs."""
    pl = import_module(package)

    class Line(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return self.layer(batch[0]).square().mean()

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.layer(batch[0]).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 2)), 4)
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[LightningPruningCallback(trial, monitor)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few workers and old names
        trainer.fit(Line(), data, data)


PACKAGES = ["lightning.pytorch", "pytorch_lightning"]


@pytest.mark.parametrize("package", PACKAGES)
def test_callback__a_whole_training__reports_each_validation(package: str) -> None:
    trial = Curve()
    fit(package, trial)
    assert [step for step, _ in trial.reported] == [0, 1, 2]  # and not the sanity check
    values = [value for _, value in trial.reported]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("package", PACKAGES)
def test_callback__trial_is_to_stop__ends_fit_at_once(package: str) -> None:
    trial = Curve(stop_at=1)
    with pytest.raises(optuna.TrialPruned, match="after 2 validations"):
        fit(package, trial)
    assert len(trial.reported) == 2


def test_callback__several_validations_an_epoch__each_is_a_step() -> None:
    trial = Curve()
    fit("lightning.pytorch", trial, val_check_interval=1)
    assert [step for step, _ in trial.reported] == [0, 1, 2, 3, 4, 5]


def test_callback__metric_that_is_not_logged__names_those_that_are() -> None:
    with pytest.raises(MetricError, match=r"'loss' is missing .*logs \['val_loss'\]"):
        fit("lightning.pytorch", Curve(), monitor="loss")


def test_callback__several_processes__is_refused() -> None:
    class Trainer:
        world_size = 2

    with pytest.raises(StudyError, match="in one process, this trainer has 2"):
        LightningPruningCallback(Curve(), "loss").on_fit_start(Trainer(), None)  # type: ignore[arg-type]


def test_callback__without_lightning__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "optformer.serving.integrations.lightning_callback"
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    monkeypatch.delitem(sys.modules, module)
    with pytest.raises(MissingExtraError, match=r"pip install \"optformer\[lightning\]\""):
        import_module(module)
