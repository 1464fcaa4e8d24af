"""Histories of search methods on objectives, written as Parquet and read back.

`generate(GenerationConfig(...))` writes a folder, `load_histories(folder)` reads it.
"""

from __future__ import annotations

from optformer.data.corpora.generation.generate import GenerationConfig, GenerationSummary, generate
from optformer.data.corpora.generation.reading import load_histories

__all__ = [
    "GenerationConfig",
    "GenerationSummary",
    "generate",
    "load_histories",
]
