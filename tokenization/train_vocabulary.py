"""Train the SentencePiece model of the vocabulary.

Run as `python -m optformer.tokenization.train_vocabulary --out DIR`.

Kudo (2018), "Subword Regularization", unigram model. Control symbols are user-defined symbols,
characters outside the learned pieces are written as bytes, digits stand alone so that numbers are
compositional, and nothing is normalized: what is dropped is dropped by `metadata`.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import sentencepiece

from optformer.data.studies.errors import ConfigError
from optformer.tokenization import symbols as sym
from optformer.tokenization.corpus import Corpus, build_corpus
from optformer.tokenization.vocabulary import Vocabulary

NUM_TEXT_PIECES = 4000
"""Learned pieces, beside the symbols and the 256 bytes."""

_NUM_BYTES = 256


def train_vocabulary(corpus: Corpus, num_text_pieces: int | None = None) -> Vocabulary:
    """Fit the text pieces on a corpus; deterministic for one SentencePiece version.

    Args:
        corpus: Training sentences.
        num_text_pieces: Pieces to learn; `NUM_TEXT_PIECES` when absent.

    Raises:
        ConfigError: The corpus is too small, or has too many characters, for that many pieces.
    """
    if num_text_pieces is None:
        num_text_pieces = NUM_TEXT_PIECES
    buffer = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus.sentences),
            model_writer=buffer,
            model_type="unigram",
            vocab_size=len(sym.SYMBOLS) + _NUM_BYTES + num_text_pieces,
            unk_id=sym.SYMBOL_IDS[sym.UNKNOWN],
            unk_piece=sym.UNKNOWN,
            pad_id=sym.SYMBOL_IDS[sym.PAD],
            pad_piece=sym.PAD,
            bos_id=-1,
            eos_id=-1,
            user_defined_symbols=list(sym.SYMBOLS[2:]),
            byte_fallback=True,
            split_digits=True,
            character_coverage=0.9995,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            max_sentence_length=20_000,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"{num_text_pieces} text pieces cannot be learned from {len(corpus.sentences)} "
            f"sentences: {error}"
        ) from error
    statistics = {
        "files": corpus.files,
        "sentences": len(corpus.sentences),
        "characters": corpus.characters,
        "libraries": corpus.versions,
        "sentencepiece": sentencepiece.__version__,
        "text_pieces": num_text_pieces,
    }
    return Vocabulary(buffer.getvalue(), statistics)


def main(arguments: list[str] | None = None) -> int:
    """Train on the installed libraries and write the vocabulary to a directory."""
    parser = argparse.ArgumentParser(prog="train_vocabulary", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write to")
    parser.add_argument("--studies", type=int, default=20_000, help="generated descriptions")
    parser.add_argument("--seed", type=int, default=0, help="seed of the generated descriptions")
    options = parser.parse_args(arguments)
    vocabulary = train_vocabulary(build_corpus(options.studies, options.seed))
    vocabulary.save(options.out)
    sys.stdout.write(
        f"{vocabulary.size} tokens from {vocabulary.corpus['files']} files, "
        f"{vocabulary.corpus['characters']} characters: {options.out}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
