"""Trainings of Lightning that report to a trial, and stop where it is to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from optuna import TrialPruned

from optformer.data.studies.errors import MetricError, StudyError
from optformer.data.studies.extras import importing

with importing("LightningPruningCallback", "lightning", extra="lightning"):
    try:
        from lightning.pytorch import Callback
    except ImportError:
        from pytorch_lightning import Callback  # type: ignore[assignment]

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class ReportingTrial(Protocol):
    """A trial of ours or of Optuna's."""

    def report(self, value: float, step: int) -> None:
        """Tell what was measured at a step."""

    def should_prune(self) -> bool:
        """Whether to stop early."""


class LightningPruningCallback(Callback):
    """Reports a metric to a trial after each validation, and ends a training that is to stop.

        trainer = Trainer(callbacks=[optformer.LightningPruningCallback(trial, "val_loss")])

    The steps are the validations, from 0. It works with the trainers of `lightning` and of
    `pytorch_lightning`, in one process.

    Args:
        trial: The trial that is trained, ours or one of Optuna's.
        monitor: Name of the metric, as the module logs it.

    Raises:
        MissingExtraError: Neither package is installed.
        MetricError: The module does not log the metric in its validation.
        StudyError: The trainer uses several processes.
        TrialPruned: Out of `fit`, when the trial is to stop early.
    """

    def __init__(self, trial: ReportingTrial, monitor: str) -> None:
        self._trial = trial
        self._monitor = monitor
        self._validations = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what would report several times."""
        if trainer.world_size > 1:
            raise StudyError(
                "LightningPruningCallback works in one process, this trainer has "
                f"{trainer.world_size}; set devices=1"
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report; stop where the trial says so."""
        if trainer.sanity_checking:
            return
        metrics: dict[str, Any] = dict(trainer.callback_metrics)
        if self._monitor not in metrics:
            raise MetricError(
                f"metric {self._monitor!r} is missing after validation; "
                f"the module logs {sorted(metrics)}"
            )
        self._trial.report(float(metrics[self._monitor]), self._validations)
        self._validations += 1
        if self._trial.should_prune():
            raise TrialPruned(f"after {self._validations} validations")
