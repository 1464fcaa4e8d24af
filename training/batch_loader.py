"""Load the batches of a run, drawn by worker processes or by the training process itself."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from optformer.training.mixtures.batch import StudyBatch
from optformer.training.mixtures.mixture import Mixture


def load_batches(
    mixture: Mixture, steps: Sequence[Sequence[int]], workers: int
) -> Iterator[Sequence[StudyBatch]]:
    """The batches of each step.

    Args:
        mixture: Draws them.
        steps: Numbers of the batches of each step, as many in all.
        workers: Processes that draw batches; 0 draws in this one.
    """
    numbers = [number for step in steps for number in step]
    loader: DataLoader[StudyBatch] = DataLoader(
        _Batches(mixture),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,
    )
    batches = iter(loader)
    return ([next(batches) for _ in step] for step in steps)


class _Batches(Dataset[StudyBatch]):
    """Batches by number.

    All workers read what they are drawn from out of one piece of shared memory. Sent to each of
    them, it would not fit into a pipe before the worker reads, so they would start one by one.
    """

    def __init__(self, mixture: Mixture):
        self.mixture = mixture

    def __getitem__(self, number: int) -> StudyBatch:
        return self.mixture.batch(number)

    def __reduce__(self) -> tuple[Callable[[Tensor], _Batches], tuple[Tensor]]:
        return _read_batches, (self._shared,)

    @cached_property
    def _shared(self) -> Tensor:
        return torch.frombuffer(bytearray(pickle.dumps(self.mixture)), dtype=torch.uint8)


def _read_batches(shared: Tensor) -> _Batches:
    return _Batches(pickle.loads(shared.numpy().data))
