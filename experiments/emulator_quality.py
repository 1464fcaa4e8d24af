"""How well emulators rank trials that they were not fitted to.

    python experiments/emulator_quality.py histories/ --out quality.md

A fifth of the trials of every data set is held out; what is reported is the rank correlation of the
emulator's scores with the held-out values, mean and least over the data sets of a table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from tqdm import tqdm

from optformer.data.corpora.emulation.emulator import fit_emulator
from optformer.data.corpora.emulation.histories import load_history_tables
from optformer.data.corpora.emulation.tables import EvaluationTable

HELD_OUT = 0.2


def main() -> None:
    """Fit and report, a table at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", type=Path, help="folder that `optformer generate` wrote")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file of the result")
    args = parser.parse_args()
    lines = [
        "| Table | Parameters | Data sets | Trials | Mean | Least |",
        "|---|---|---|---|---|---|",
    ]
    means = []
    for name, table in tqdm(load_history_tables(args.histories).items(), unit="table"):
        ranks = list(held_out_ranks(table))
        means.append(np.mean(ranks))
        size = f"{len(table.space)} | {len(table.datasets)} | {len(table.values):,}"
        lines.append(f"| {name} | {size} | {np.mean(ranks):.2f} | {np.min(ranks):.2f} |")
    lines.append(f"| mean | | | | {np.mean(means):.2f} | |")
    args.out.write_text("\n".join(lines) + "\n")


def held_out_ranks(table: EvaluationTable) -> Iterator[float]:
    """Rank correlation on held-out trials, of each data set and metric."""
    held = np.random.default_rng(0).random(len(table.values)) < HELD_OUT
    emulator = fit_emulator(_rows(table, ~held))
    test = _rows(table, held)
    scores = emulator(
        torch.from_numpy(test.values).float(),
        torch.from_numpy(test.active),
        emulator.embedding(torch.from_numpy(test.dataset)),
    ).numpy()
    for column, gains in enumerate(test.gains.values()):
        for number in range(len(test.datasets)):
            rows = (test.dataset == number) & np.isfinite(gains)
            if rows.any():
                yield float(spearmanr(scores[rows, column], gains[rows]).statistic)


def _rows(table: EvaluationTable, kept: np.ndarray) -> EvaluationTable:
    return replace(
        table,
        values=table.values[kept],
        active=table.active[kept],
        dataset=table.dataset[kept],
        gains={metric: gains[kept] for metric, gains in table.gains.items()},
    )


if __name__ == "__main__":
    main()
