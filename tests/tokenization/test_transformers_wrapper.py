"""The vocabulary behind the interface of transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PretrainedConfig

from optformer.data.studies.errors import CheckpointError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.tokenization.study_codec import encode_study, to_text
from optformer.tokenization.transformers_wrapper import OptFormerTokenizer, register
from optformer.tokenization.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def directory(vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint directory, as far as a tokenizer is concerned."""
    folder = tmp_path_factory.mktemp("checkpoint")
    vocabulary.save(folder)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> OptFormerTokenizer:
    loaded: object = AutoTokenizer.from_pretrained(directory)
    assert isinstance(loaded, OptFormerTokenizer)
    return loaded


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_tokenizer__any_study__gives_the_ids_of_the_fast_path(
    data: st.DataObject,
    studies: st.SearchStrategy[tuple[StudyConfig, list[Trial]]],
    vocabulary: Vocabulary,
    tokenizer: OptFormerTokenizer,
) -> None:
    config, trials = data.draw(studies)
    text = to_text(config, trials)
    ids = tokenizer(text)["input_ids"]
    assert ids == encode_study(config, trials, vocabulary).ids.tolist()
    assert tokenizer.decode(ids) == text


def test_tokenizer__batch__is_padded(tokenizer: OptFormerTokenizer) -> None:
    batch = tokenizer(["<param> lr<float>", "<param> batch size<int><linear>"], padding=True)
    assert np.asarray(batch["input_ids"]).shape == np.asarray(batch["attention_mask"]).shape
    assert batch["input_ids"][0][-1] == tokenizer.pad_token_id == 1
    assert "token_type_ids" not in batch


def test_tokenizer__special_tokens__are_control_symbols(tokenizer: OptFormerTokenizer) -> None:
    assert len(tokenizer) == tokenizer.vocab_size == tokenizer.vocabulary.size
    assert tokenizer.bos_token == "<start>"
    assert tokenizer.eos_token == "|"
    assert tokenizer.eos_token_id == tokenizer.vocabulary.id("|")
    assert tokenizer.convert_tokens_to_ids(["<999>", "*"]) == [
        tokenizer.vocabulary.bins[999],
        tokenizer.vocabulary.id("*"),
    ]


def test_tokenizer__free_text__is_refused_or_escaped(tokenizer: OptFormerTokenizer) -> None:
    assert tokenizer.decode(tokenizer("&lt;failed&gt; 学")["input_ids"]) == "&lt;failed&gt; 学"
    with pytest.raises(ValueError, match="escape"):
        tokenizer("a < b")


def test_save_pretrained__load_again__is_the_same(
    tokenizer: OptFormerTokenizer, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = OptFormerTokenizer.from_pretrained(tmp_path)
    assert again.vocabulary.hash == tokenizer.vocabulary.hash
    text = "<param> learning rate<float><log><low>1e-6<high>0.1<start><5>*<7>|"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert len(again) == len(tokenizer)
    again.save_pretrained(tmp_path)  # onto itself
    (tmp_path / "config.json").write_text("{}")
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path), OptFormerTokenizer)


def test_from_pretrained__broken_files__raise_checkpoint_error(
    directory: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    vocabulary.save(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"vocab\.json"):
        OptFormerTokenizer.from_pretrained(tmp_path)


def test_register__configuration_of_a_model__finds_the_tokenizer(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    class ToyConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
        model_type = "toy_optformer"

    register(ToyConfig)
    register(ToyConfig)  # twice does no harm
    vocabulary.save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    loaded: object = AutoTokenizer.from_pretrained(tmp_path, config=ToyConfig())
    assert isinstance(loaded, OptFormerTokenizer)


def test_tokenization__its_other_modules__do_not_import_transformers() -> None:
    code = (
        "import sys, optformer.tokenization.study_codec, optformer.tokenization.legality;"
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tokenization__points_and_metadata__do_not_import_torch() -> None:
    code = (
        "import sys, optformer.tokenization.legality, optformer.tokenization.augment;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
