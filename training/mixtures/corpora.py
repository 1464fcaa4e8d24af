"""Folders of tables with an index, as one entry of a configuration for each table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from optformer.data.corpora.emulation.tables import share_held_out
from optformer.data.studies.corpus_index import INDEX, CorpusEntry, read_index
from optformer.data.studies.errors import ConfigError
from optformer.training.config import TableConfig


def expand_corpora(
    configs: Sequence[TableConfig], folder: Path, *, left_out: bool = False
) -> list[TableConfig]:
    """Put the tables of a corpus in place of the entry of its folder.

    The index tells their metrics, and in how many ways task and model are said. Each holds out
    about `held_out` of its data sets, and at least one, if any.

    Args:
        configs: Entries of a run's tables.
        folder: What their paths are relative to.
        left_out: Take the tables that an entry leaves out, too.

    Raises:
        ConfigError: A pattern of `left_out` matches no table.
        DatasetError: An index cannot be read.
    """
    expanded: list[TableConfig] = []
    for config in configs:
        index = folder / config.path / INDEX
        if config.goals or not index.is_file():
            expanded.append(config)
            continue
        entries = read_index(index)
        kept = _kept(config, entries) if not left_out else list(entries)
        expanded += [_table(config, name, entries[name], len(kept)) for name in kept]
    return expanded


def _kept(config: TableConfig, entries: dict[str, CorpusEntry]) -> list[str]:
    """Names of the tables that no pattern leaves out."""
    for pattern in config.left_out:
        if not any(fnmatchcase(name, pattern) for name in entries):
            raise ConfigError(
                f"left_out of {config.path!r}: no table matches {pattern!r}; it has {list(entries)}"
            )
    return [
        name
        for name in entries
        if not any(fnmatchcase(name, pattern) for pattern in config.left_out)
    ]


def _table(config: TableConfig, name: str, entry: CorpusEntry, tables: int) -> TableConfig:
    def ways(word: str) -> list[str]:
        texts = dict.fromkeys(about[word] for about in entry.metadata.values() if word in about)
        return list(texts) or [name]

    return replace(
        config,
        path=f"{config.path}/{name}.parquet",
        goals=entry.goals,
        tasks=ways("task"),
        models=ways("model"),
        held_out=share_held_out(list(entry.metadata), config.held_out),
        weight=config.weight / tables,
        left_out=(),
    )
