"""Training of the text pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from optformer.data.studies.errors import ConfigError
from optformer.tokenization import corpus as corpus_module
from optformer.tokenization import train_vocabulary
from optformer.tokenization.corpus import Corpus, build_corpus
from optformer.tokenization.vocabulary import Vocabulary

_SOURCE = '''"""Tools to fit a model.

    A second paragraph of the module.
"""

def fit_model(self, learning_rate, batch_size):
    """Fit the :class:`~sklearn.Model` with <angle> brackets."""
'''


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package of two files, one of them no source."""
    package = tmp_path / "tinylib"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text(_SOURCE)
    (package / "broken.py").write_text("def (")
    (package / "tests" / "test_it.py").write_text('"""Skipped test module."""')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(corpus_module, "LIBRARIES", {"tinylib": "numpy"})
    return package


def test_build_corpus__a_library__gives_docstrings_and_signatures(library: Path) -> None:
    corpus = build_corpus(num_studies=0)
    assert corpus.sentences == [
        " Tools to fit a model.",
        " A second paragraph of the module.",
        " Fit the sklearn.Model with &lt;angle&gt; brackets.",
        " fit model learning rate batch size",
    ]
    assert corpus.files == 1
    assert corpus.characters == sum(map(len, corpus.sentences))
    assert set(corpus.versions) == {"numpy"}


def test_build_corpus__same_seed__is_the_same(library: Path) -> None:
    first, second = build_corpus(num_studies=20), build_corpus(num_studies=20)
    assert first == second
    assert first.sentences[4].count("<param>") >= 1
    assert build_corpus(num_studies=20, seed=1) != first


def test_build_corpus__library_missing__is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "LIBRARIES", {"no_such_library": "no-such-library"})
    with pytest.raises(ConfigError, match="no-such-library, which is not installed"):
        build_corpus(num_studies=0)


def test_train_vocabulary__small_corpus__works_and_repeats() -> None:
    words = ["learning rate", "batch size", "weight decay", "dropout", "momentum 0.9"]
    corpus = Corpus([f" {a} of {b}" for a in words for b in words] * 5, 1, {})
    first = train_vocabulary.train_vocabulary(corpus, num_text_pieces=30)
    second = train_vocabulary.train_vocabulary(corpus, num_text_pieces=30)
    assert isinstance(first, Vocabulary)
    assert first.hash == second.hash
    assert first.decode_text(first.encode_text("learning <rate> 学")) == "learning <rate> 学"
    assert first.corpus["sentences"] == 125


def test_train_vocabulary__corpus_too_small__says_so() -> None:
    with pytest.raises(ConfigError, match="4000 text pieces cannot be learned"):
        train_vocabulary.train_vocabulary(Corpus([" a b"], 1, {}))


def test_main__out_directory__gets_both_files(
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train_vocabulary, "NUM_TEXT_PIECES", 200)
    assert train_vocabulary.main(["--out", str(tmp_path / "out"), "--studies", "300"]) == 0
    vocabulary = Vocabulary.load(tmp_path / "out")
    assert capsys.readouterr().out.startswith(f"{vocabulary.size} tokens from 1 files")
