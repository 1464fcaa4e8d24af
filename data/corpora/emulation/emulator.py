"""A network that answers for a table of evaluations at points the table does not hold."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from scipy.stats import rankdata
from torch import Tensor, nn
from tqdm import tqdm

from optformer.data.corpora.emulation.tables import EvaluationTable
from optformer.data.runtime.threads import one_torch_thread
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.parameters import Categorical

EMBEDDING = 16  # numbers that tell a data set
HIDDEN = 160
KNOTS = 33  # points of the map from normal scores to values
BATCH, RATE = 512, 3e-3
PASSES, LEAST_STEPS = 40, 500  # of all rows, and for small tables
_FINGERPRINT = "optformer.table"
LARGEST = 1e9  # size of a value, in distances of quartiles: beyond are runs that exploded


class Emulator(nn.Module):
    """Normal scores of all metrics from a point and a data set's embedding.

    A metric's values on one data set are ranked and mapped to normal scores, which the network
    learns: then the best tenth gets as much attention as the worst, whatever the metric's tail. The
    knots map scores back.

    Args:
        choices: Number of choices of each parameter, 0 for a number, length P.
        datasets: Number of data sets D.
        metrics: Number of metrics M.
    """

    knots: Tensor

    def __init__(self, choices: tuple[int, ...], datasets: int, metrics: int):
        super().__init__()
        self.choices = choices
        self.embedding = nn.Embedding(datasets, EMBEDDING)
        nn.init.normal_(self.embedding.weight, std=0.3)
        features = sum(count or 1 for count in choices) + len(choices)
        self.layers = nn.Sequential(
            nn.Linear(features + EMBEDDING, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, metrics),
        )
        self.register_buffer("knots", torch.zeros(datasets, metrics, KNOTS))

    def forward(self, values: Tensor, active: Tensor, embedding: Tensor) -> Tensor:
        """Normal scores, larger is better.

        Args:
            values: Unit-interval numbers or choice indices, (..., P).
            active: Which parameters take part, (..., P).
            embedding: Data sets, (..., EMBEDDING).

        Returns:
            One score a metric, (..., M).
        """
        on = active.float()
        parts = [2 * on - 1, embedding]
        for slot, count in enumerate(self.choices):
            column, there = values[..., slot], on[..., slot]
            if count:
                chosen = column[..., None] == torch.arange(count, device=column.device)
                parts.append(chosen * there[..., None])
            else:
                parts.append(((2 * column - 1) * there)[..., None])
        scores: Tensor = self.layers(torch.cat(parts, -1))
        return scores


def knot_scores(like: Tensor) -> Tensor:
    """The normal scores at which knots are placed, (KNOTS,)."""
    return torch.linspace(-3.0, 3.0, KNOTS, device=like.device)


def from_scores(scores: Tensor, knots: Tensor) -> Tensor:
    """Values of normal scores, linear between the knots and beyond the last ones.

    Args:
        scores: (..., N).
        knots: Values at `knot_scores`, (..., KNOTS).
    """
    width = 6.0 / (KNOTS - 1)
    position = (scores + 3.0) / width
    below = position.floor().clamp(0, KNOTS - 2)
    low = torch.gather(knots, -1, below.long())
    high = torch.gather(knots, -1, below.long() + 1)
    return low + (position - below) * (high - low)


def fit_emulator(
    table: EvaluationTable, *, steps: int | None = None, seed: int = 0, progress: bool = False
) -> Emulator:
    """Train an emulator.

    Args:
        table: Evaluations of at least one data set.
        steps: Batches of 512 rows; as many as the table's size asks for when absent.
        seed: Seed of weights and batches.
        progress: Show a progress bar.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        emulator = _untrained(table)
    steps = steps or max(LEAST_STEPS, PASSES * len(table.values) // BATCH)
    scores, knots = _normal_scores(table)
    emulator.knots.copy_(knots)
    values = torch.from_numpy(table.values).float()
    active = torch.from_numpy(table.active)
    dataset = torch.from_numpy(table.dataset)
    optimizer = torch.optim.AdamW(emulator.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    with one_torch_thread():
        for _ in tqdm(range(steps), desc="emulator", unit="step", disable=not progress):
            rows = torch.randint(len(values), (BATCH,), generator=generator)
            embedding = emulator.embedding(dataset[rows])
            error = emulator(values[rows], active[rows], embedding) - scores[rows]
            loss = error[~error.isnan()].square().mean() + 1e-4 * embedding.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return emulator.requires_grad_(False)


def save_emulator(emulator: Emulator, table: EvaluationTable, path: Path) -> None:
    """Write the weights of an emulator with the fingerprint of its table."""
    save_file(emulator.state_dict(), path, {_FINGERPRINT: _fingerprint(table)})


def load_emulator(table: EvaluationTable, path: Path) -> Emulator:
    """Read the weights of an emulator that was fitted to this table.

    Raises:
        DatasetError: They belong to another table, or the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            fingerprint = (file.metadata() or {}).get(_FINGERPRINT)
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DatasetError(f"cannot read {path}: {error}; delete it to fit it again") from error
    if fingerprint != _fingerprint(table):
        raise DatasetError(f"{path} was fitted to another table; delete it to fit it again")
    emulator = _untrained(table)
    emulator.load_state_dict(weights)
    return emulator.requires_grad_(False)


def _fingerprint(table: EvaluationTable) -> str:
    """What a table's emulator depends on: space, data sets and metrics, not the number of rows."""
    described = [table.space.to_dict(), list(table.datasets), dict(table.goals)]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _untrained(table: EvaluationTable) -> Emulator:
    choices = tuple(
        len(parameter.choices) if isinstance(parameter, Categorical) else 0
        for parameter in table.space.values()
    )
    return Emulator(choices, len(table.datasets), len(table.gains))


def _normal_scores(table: EvaluationTable) -> tuple[Tensor, Tensor]:
    """Scores of all rows, NaN where not measured, (N, M), and all data sets' knots, (D, M, KNOTS).

    Equal values have equal scores.
    """
    scores = torch.full((len(table.values), len(table.gains)), torch.nan)
    knots = torch.zeros(len(table.datasets), len(table.gains), KNOTS)
    for number in range(len(table.datasets)):
        for column, gains in enumerate(table.gains.values()):
            rows = np.flatnonzero((table.dataset == number) & np.isfinite(gains))
            if not len(rows):
                continue
            gain = gains[rows]
            share = torch.from_numpy((rankdata(gain) - 0.5) / len(rows)).float()
            scores[rows, column] = math.sqrt(2) * torch.erfinv(2 * share - 1)
            low, median, high = np.quantile(gain, [0.25, 0.5, 0.75])
            # The quartiles', because a run that exploded would flatten all others.
            scale = float(high - low) or float(gain.std()) or 1.0
            placed = ((np.sort(gain) - median) / scale).clip(-LARGEST, LARGEST)
            ordered = torch.from_numpy(placed).float()
            levels = 0.5 * (1 + torch.erf(knot_scores(ordered) / math.sqrt(2)))
            knots[number, column] = torch.quantile(ordered, levels)
    return scores, knots
