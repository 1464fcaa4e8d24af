"""The vocabulary as a tokenizer of transformers.

Importing this module registers `OptFormerTokenizer`, so that `AutoTokenizer.from_pretrained` reads
any directory written by `Vocabulary.save` (with a `config.json` beside it, as every checkpoint
has). The tokenizer takes text of the language, such as `study_codec.to_text` writes; free text must
be escaped first. Nothing is added around a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizer

from optformer.tokenization import symbols as sym
from optformer.tokenization.vocabulary import MODEL_FILE, TABLE_FILE, Vocabulary


class OptFormerTokenizer(PreTrainedTokenizer):
    """Cuts text of the language of studies into the tokens of a `Vocabulary`.

    `|` is the end-of-sequence token: `generate` writes one trial and stops.

    Attributes:
        vocabulary: What gives the ids.

    Args:
        vocab_file: Path of `vocab.json`.
        model_file: Path of `tokenizer.model`, in the same directory.
        settings: Settings of `PreTrainedTokenizer` that `from_pretrained` read from disk.

    Raises:
        CheckpointError: A file is missing, unreadable or of another version.
    """

    vocab_files_names = {"vocab_file": TABLE_FILE, "model_file": MODEL_FILE}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file: str, model_file: str, **settings: Any):
        self.vocabulary = Vocabulary.load(Path(vocab_file).parent)
        self._ids = {self.vocabulary.piece(i): i for i in range(self.vocabulary.size)}
        defaults = {
            "unk_token": sym.UNKNOWN,
            "pad_token": sym.PAD,
            "bos_token": sym.START,
            "eos_token": sym.TRIAL_END,
            "clean_up_tokenization_spaces": False,
        }
        super().__init__(**(defaults | settings))  # type: ignore[no-untyped-call]

    @property
    def vocab_size(self) -> int:
        """Number of tokens V."""
        return self.vocabulary.size

    def get_vocab(self) -> dict[str, int]:
        """Piece to token id."""
        return dict(self._ids)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The ids as they are: a text of the language holds its own control symbols."""
        return token_ids_0 + (token_ids_1 or [])

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text behind pieces."""
        return self.vocabulary.decode(self._ids[token] for token in tokens)

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write both files of the vocabulary; returns their paths."""
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        written = []
        for name, content in self.vocabulary.files().items():
            target = Path(save_directory) / f"{prefix}{name}"
            target.write_bytes(content)
            written.append(str(target))
        return tuple(written)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return [self.vocabulary.piece(i) for i in self.vocabulary.encode(text)]

    def _convert_token_to_id(self, token: str) -> int:
        return self._ids.get(token, self._ids[sym.UNKNOWN])

    def _convert_id_to_token(self, index: int) -> str:
        return self.vocabulary.piece(index)


class OptFormerTokenizerConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """Under what the tokenizer is registered while no model's configuration is known."""

    model_type = "optformer_tokenizer"


def register(config_class: type[PretrainedConfig]) -> None:
    """Let `AutoTokenizer` use `OptFormerTokenizer` for a model's configuration class."""
    AutoTokenizer.register(  # type: ignore[no-untyped-call]
        config_class, slow_tokenizer_class=OptFormerTokenizer, exist_ok=True
    )


register(OptFormerTokenizerConfig)
