from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from optformer.data.studies.errors import CheckpointError, ConfigError
from optformer.model import checkpoint as checkpoints
from optformer.model.checkpoint import (
    CONFIG,
    FORMAT_VERSION,
    RENAMED_IN,
    RUN,
    SHIPPED,
    WEIGHTS,
    WEIGHTS_ADDED_IN,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from optformer.model.config import ModelConfig
from optformer.model.state_keys import RENAMED

Weights = dict[str, torch.Tensor]


@pytest.fixture
def saved(tmp_path: Path, tiny_checkpoint: Checkpoint) -> Path:
    target = tmp_path / "deep" / "tiny"
    save_checkpoint(target, tiny_checkpoint.model, tiny_checkpoint.vocabulary, {"steps": 3})
    return target


def _rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_checkpoint__saved_and_loaded__is_bit_exact(
    saved: Path, tiny_checkpoint: Checkpoint
) -> None:
    loaded = load_checkpoint(saved)
    assert loaded.run == {"steps": 3}
    assert loaded.vocabulary.hash == tiny_checkpoint.vocabulary.hash
    assert loaded.model.config == tiny_checkpoint.model.config
    assert not loaded.model.training
    assert not any(weight.requires_grad for weight in loaded.model.parameters())
    weights = loaded.model.state_dict()
    for name, weight in tiny_checkpoint.model.state_dict().items():
        assert torch.equal(weights[name], weight)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny"]  # nothing temporary is left
    assert len({file.stat().st_mode for file in saved.iterdir()}) == 1  # others may read all of it


def test_checkpoint__half_precision__takes_half_the_place(
    saved: Path, tmp_path: Path, tiny_checkpoint: Checkpoint
) -> None:
    half = tmp_path / "half"
    args = (tiny_checkpoint.model, tiny_checkpoint.vocabulary, {"steps": 3})
    save_checkpoint(half, *args, dtype=torch.bfloat16)
    ratio = (half / WEIGHTS).stat().st_size / (saved / WEIGHTS).stat().st_size
    assert ratio == pytest.approx(0.5, abs=0.01)
    weights = load_checkpoint(half).model.state_dict()
    for name, weight in tiny_checkpoint.model.state_dict().items():
        assert weights[name].dtype is torch.float32
        torch.testing.assert_close(weights[name], weight, rtol=1e-2, atol=1e-6)


def test_load_checkpoint__twice__is_loaded_once_until_it_changes(
    saved: Path, tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_checkpoint(saved)
    monkeypatch.chdir(saved.parent)
    assert load_checkpoint("tiny") is first
    save_checkpoint(saved, tiny_checkpoint.model, tiny_checkpoint.vocabulary, {"steps": 4})
    assert load_checkpoint(saved).run == {"steps": 4}


def test_load_checkpoint__directory_of_a_run__loads_the_run_s(
    tmp_path: Path, tiny_checkpoint: Checkpoint
) -> None:
    args = (tiny_checkpoint.model, tiny_checkpoint.vocabulary, {"steps": 5})
    save_checkpoint(tmp_path / "run" / "checkpoint", *args)
    assert load_checkpoint(tmp_path / "run").run == {"steps": 5}


def _fail_on(path: str) -> Callable[[Any, Any], None]:
    rename = os.rename

    def failing(source: Any, target: Any) -> None:
        if Path(source).name == path:
            raise OSError(28, "No space left on device")
        rename(source, target)

    return failing


@pytest.mark.parametrize("moment", ["weights", "text", "move away", "move in"])
def test_save_checkpoint__failing_midway__leaves_the_previous_one_whole(
    saved: Path, tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    if moment == "weights":
        monkeypatch.setattr(checkpoints, "save_file", full)
    elif moment == "text":
        monkeypatch.setattr(Path, "write_text", full)
    else:
        name = saved.name if moment == "move away" else "checkpoint"
        monkeypatch.setattr(os, "rename", _fail_on(name))
    with pytest.raises(CheckpointError, match=r"cannot write .*tiny: .*No space left"):
        save_checkpoint(saved, tiny_checkpoint.model, tiny_checkpoint.vocabulary, {"steps": 9})
    monkeypatch.undo()
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny"]
    assert load_checkpoint(saved).run == {"steps": 3}


def test_save_checkpoint__target_below_a_file__is_refused(
    tmp_path: Path, tiny_checkpoint: Checkpoint
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(
            tmp_path / "file" / "ck", tiny_checkpoint.model, tiny_checkpoint.vocabulary, {}
        )


def test_load_checkpoint__no_directory__says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"no checkpoint at .*none.*{WEIGHTS}"):
        load_checkpoint(tmp_path / "none")


@pytest.mark.parametrize("name", [CONFIG, RUN, WEIGHTS, "vocab.json", "tokenizer.model"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "garbage"])
def test_load_checkpoint__damaged_file__is_named(saved: Path, name: str, fault: str) -> None:
    file = saved / name
    whole = file.read_bytes()
    if fault == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2] if fault == "truncated" else b"\0\1garbage")
    with pytest.raises(CheckpointError, match=name.split(".")[0]):
        load_checkpoint(saved)


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION))
def test_load_checkpoint__older_format__answers_without_what_came_later(
    saved: Path,
    tiny_checkpoint: Checkpoint,
    formerly: Callable[[Weights], Weights],
    version: int,
) -> None:
    later = [name for first, names in WEIGHTS_ADDED_IN.items() if first > version for name in names]
    kept = {n: w for n, w in load_file(saved / WEIGHTS).items() if n not in later}
    save_file(formerly(kept) if version < RENAMED_IN else kept, saved / WEIGHTS)
    _rewrite(saved / CONFIG, format_version=version)
    weights = load_checkpoint(saved).model.state_dict()
    assert weights.keys() == tiny_checkpoint.model.state_dict().keys()
    for name, weight in tiny_checkpoint.model.state_dict().items():
        expected = torch.zeros_like(weight) if name in later else weight
        assert torch.equal(weights[name], expected)
    save_checkpoint(saved, load_checkpoint(saved).model, tiny_checkpoint.vocabulary, {})
    assert json.loads((saved / CONFIG).read_text())["format_version"] == FORMAT_VERSION


def test_load_checkpoint__weight_of_its_own_format_missing__is_refused(saved: Path) -> None:
    whole = load_file(saved / WEIGHTS)
    del whole[WEIGHTS_ADDED_IN[3][0]]
    save_file(whole, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match=WEIGHTS_ADDED_IN[3][0]):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format_version": 99}, r"format 99.*reads 'optformer' in formats 1 to 4"),
        ({"model_type": "t5"}, "describes 't5'"),
        ({"vocabulary_hash": "beef"}, "trained with vocabulary 'beef'"),
        ({"architecture": None}, "'architecture'"),
        ({"architecture": {"vocabulary_size": 10, "depth": 3}}, "unknown model setting 'depth'"),
        ({"architecture": {"width": 32}}, "vocabulary_size is missing"),
        ({"architecture": {"vocabulary_size": 10}}, "size mismatch|cannot be read"),
    ],
)
def test_load_checkpoint__foreign_configuration__is_refused(
    saved: Path, changes: dict[str, Any], match: str
) -> None:
    _rewrite(saved / CONFIG, **changes)
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"width": 0}, "width must be a whole number above 0, got 0"),
        ({"width": 2.5}, "width"),
        ({"heads": 5}, "heads=5 must divide width=192"),
        ({"encoder_heads": 7}, "encoder_heads=7"),
    ],
)
def test_model_config__impossible_size__is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        ModelConfig(**{"vocabulary_size": 10, **changes})


def test_model_config__unknown_name__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'huge'.*'base', 'small', 'tiny'"):
        ModelConfig.named("huge", 10)


def test_model_config__plain_values__come_back() -> None:
    config = ModelConfig.named("tiny", 10)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_shipped_checkpoint__record__has_no_empty_field() -> None:
    checkpoint = load_checkpoint()
    assert checkpoint.run["vocabulary_hash"] == checkpoint.vocabulary.hash
    for name, value in checkpoint.run.items():
        assert value not in (None, "", [], {}), name
    sizes = [path.stat().st_size for path in SHIPPED.glob("*.safetensors")]
    assert max(sizes) < 16 * 2**20  # safetensors stay below 16 MiB each


def test_shipped_checkpoint__weights__are_those_of_the_small_model() -> None:
    model = load_checkpoint().model
    assert model.config == ModelConfig.named("small", model.config.vocabulary_size)
    assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "weight .* must be finite"),
        ("infinity", "weight .* must be finite"),
        ("bytes", "weight .* must be of floats, got torch.int8"),
        ("missing", "cannot be read"),
    ],
)
def test_load_checkpoint__weights_that_are_none__are_refused(
    saved: Path, fault: str, message: str
) -> None:
    weights = load_file(saved / WEIGHTS)
    name = max(weights)
    if fault == "missing":
        del weights[name]
    elif fault == "bytes":
        weights[name] = weights[name].to(torch.int8)
    else:
        weights[name].view(-1)[-1] = float("nan" if fault == "nan" else "inf")
    save_file(weights, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    "size",
    ["layers", "frequencies", "max_choices", "num_bins", "vocabulary_size", "encoder_layers"],
)
def test_load_checkpoint__huge_architecture__is_refused_before_it_is_built(
    saved: Path, size: str
) -> None:
    described = json.loads((saved / CONFIG).read_text())
    described["architecture"][size] = 10**9
    (saved / CONFIG).write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="the architecture has at least"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", [CONFIG, RUN, "vocab.json"])
def test_load_checkpoint__deeply_nested_file__is_refused(saved: Path, name: str) -> None:
    (saved / name).write_text("[" * 100_000)
    with pytest.raises(CheckpointError):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", [CONFIG, RUN, "vocab.json", "tokenizer.model"])
def test_load_checkpoint__huge_file__is_refused_with_the_limit(saved: Path, name: str) -> None:
    with (saved / name).open("ab") as file:
        file.truncate(300_000_000)
    started = time.process_time()
    with pytest.raises(CheckpointError, match=f"{name}.*more than 16,000,000 bytes"):
        load_checkpoint(saved)
    assert time.process_time() - started < 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
@pytest.mark.parametrize("name", [CONFIG, RUN, WEIGHTS, "vocab.json", "tokenizer.model"])
def test_load_checkpoint__pipe_instead_of_a_file__is_refused(saved: Path, name: str) -> None:
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(CheckpointError, match=f"{name}.*no regular file"):
        load_checkpoint(saved)


def test_load_checkpoint__dangling_link_beside_it__is_passed_over(saved: Path) -> None:
    (saved / ".#lock").symlink_to("user@host.1234")
    assert load_checkpoint(saved).run == {"steps": 3}


def test_load_checkpoint__any__leaves_the_random_numbers_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    load_checkpoint(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_load_checkpoint__weights_of_a_later_format__are_refused(saved: Path) -> None:
    former = {new: old for old, new in RENAMED.items()}
    weights = {}
    for name, weight in load_file(saved / WEIGHTS).items():
        module = name
        while module not in former:
            module = module.rpartition(".")[0]
        weights[former[module] + name.removeprefix(module)] = weight
    save_file(weights, saved / WEIGHTS)
    _rewrite(saved / CONFIG, format_version=3)
    load_checkpoint(saved)
    _rewrite(saved / CONFIG, format_version=1)
    with pytest.raises(CheckpointError, match="it is of a later format"):
        load_checkpoint(saved)
