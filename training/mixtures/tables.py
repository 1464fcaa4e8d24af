"""The tables of a run with their emulators, which are fitted once and kept in its directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from optformer.data.corpora.emulation.emulator import (
    Emulator,
    fit_emulator,
    load_emulator,
    save_emulator,
)
from optformer.data.corpora.emulation.functions import EmulatedTable
from optformer.data.corpora.emulation.histories import load_history_tables
from optformer.data.corpora.emulation.tables import EvaluationTable, load_table
from optformer.data.studies.corpus_index import find_entry
from optformer.data.studies.errors import DatasetError
from optformer.training.config import TableConfig
from optformer.training.mixtures.corpora import expand_corpora
from optformer.training.mixtures.prior import EmulatedSource


def load_tables(
    configs: Sequence[TableConfig], folder: Path, directory: Path, device: torch.device
) -> list[EmulatedSource]:
    """Read the tables of a run, and fit the emulators that its directory does not hold yet.

    Args:
        configs: Which tables.
        folder: What their paths are relative to.
        directory: Folder of the emulators, `emulator-<table>.safetensors`.
        device: Where functions are evaluated.

    Raises:
        ConfigError: An entry leaves out a table that is not there.
        DatasetError: A table or history cannot be read, or an emulator belongs to another table.
    """
    loaded = []
    for config in expand_corpora(configs, folder):
        tables = _read(config, folder)
        for name, table in tqdm(tables.items(), desc=config.path, unit="table"):
            kept, _ = table.split(config.held_out)
            emulated = EmulatedTable(kept, _emulator(kept, name, directory), device)
            weight = config.weight / len(tables)
            loaded.append(EmulatedSource(emulated, config.tasks, config.models, weight))
    return loaded


def describe_table(config: TableConfig) -> str:
    """What a reader of the weights should know of a table."""
    without = f", without {', '.join(config.left_out)}" if config.left_out else ""
    return (
        f"{Path(config.path).stem}{without}: emulated, {100 * config.held_out:.0f} % of its data "
        "sets held out by a hash of their names"
    )


def _read(config: TableConfig, folder: Path) -> dict[str, EvaluationTable]:
    path = folder / config.path
    _check_licence(config, path)
    if config.goals:
        return {path.stem: load_table(path, config.goals)}
    return load_history_tables(path)


def _check_licence(config: TableConfig, path: Path) -> None:
    """Raise `DatasetError` when an index tells another licence than the configuration."""
    entry = find_entry(path)
    if config.licence is None or (entry is not None and entry.licence == config.licence):
        return
    told = "none" if entry is None or entry.licence is None else repr(entry.licence)
    raise DatasetError(
        f"{path}: the configuration states the licence {config.licence!r}, its corpus.yaml tells "
        f"{told}; find out which is right before you train on it"
    )


def _emulator(table: EvaluationTable, name: str, directory: Path) -> Emulator:
    fitted = directory / f"emulator-{name}.safetensors"
    if fitted.exists():
        return load_emulator(table, fitted)
    emulator = fit_emulator(table)
    save_emulator(emulator, table, fitted)
    return emulator
