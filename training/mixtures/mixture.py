"""Which source each batch of a run comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import TrainingConfig
from optformer.training.mixtures.batch import StudyBatch
from optformer.training.mixtures.prior import EmulatedSource, SyntheticPrior
from optformer.training.mixtures.recorded import read_histories
from optformer.training.mixtures.recorded_batches import RecordedStudies

_STREAM = 1  # of the run's seed; the prior and the histories have others


class Mixture:
    """Draws every batch of a run; its source depends on the seed and the step alone.

    Args:
        config: The run.
        vocabulary: Encodes the metadata.
        device: Where synthetic studies are drawn.
        tables: Tables that emulated batches come from.
        folder: What the paths of histories are relative to.
        progress: Show a progress bar on standard error while histories are read.

    Raises:
        ConfigError: A method is unknown, or a source has nothing to draw from.
        DatasetError: A history cannot be read; the message names the file.
    """

    def __init__(
        self,
        config: TrainingConfig,
        vocabulary: Vocabulary,
        device: torch.device | str = "cpu",
        tables: Sequence[EmulatedSource] = (),
        folder: Path = Path(),
        *,
        progress: bool = False,
    ):
        self.config = config
        self.prior = SyntheticPrior(
            config.prior, vocabulary, config.seed, device, tables, config.policy
        )
        self.recorded = None
        if config.histories:
            objectives = read_histories(config.histories, folder, progress=progress)
            self.recorded = RecordedStudies(
                objectives, config.prior, config.policy, vocabulary, config.seed
            )

    def batch(self, number: int) -> StudyBatch:
        """One batch of the run.

        Args:
            number: Which batch; a step has `batches_per_step` of them.
        """
        if self.config.mixture is None:
            return self.prior.batch(number)
        shares = self.config.shares(number / self.config.batches_per_step)
        draw = np.random.default_rng([self.config.seed, number, _STREAM]).random()
        if self.recorded is not None and draw < shares["histories"]:
            return self.recorded.batch(number)
        drawn = shares["synthetic"] + shares["emulated"]
        return self.prior.batch(number, shares["emulated"] / drawn)

    @property
    def methods(self) -> list[str]:
        """Names, as metadata tells them, of the methods whose searches the policy learns from."""
        objectives = self.recorded.objectives if self.recorded is not None else ()
        recorded = {method for objective in objectives for method in objective.methods if method}
        return sorted({*self.config.prior.methods, *recorded})
