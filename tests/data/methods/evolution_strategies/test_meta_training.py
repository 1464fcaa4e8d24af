"""The outer evolution strategy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from optformer.data.methods.evolution_strategies.meta_training import main, meta_train
from optformer.data.methods.evolution_strategies.network import flatten, load_weights
from optformer.data.studies.errors import ConfigError, MissingExtraError


def test_meta_train__same_seed__repeats_itself() -> None:
    first, again, other = (
        flatten(meta_train(2, seed, networks=4, functions=3)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_meta_train__few_generations__already_improve() -> None:
    losses: list[float] = []
    meta_train(30, 0, networks=8, functions=6, report=lambda _, loss: losses.append(loss))
    assert sum(losses[-10:]) < sum(losses[:10])


def test_main__short__writes_weights(tmp_path: Path) -> None:
    main(["--generations", "1", "--out", str(tmp_path / "w.safetensors")])
    load_weights(tmp_path / "w.safetensors")


def test_meta_train__bad_setting_or_missing_library__says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="generations must be at least 1, got 0"):
        meta_train(0, 0)
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(MissingExtraError, match=r"optformer\[benchmark\]"):
        meta_train(1, 0)
