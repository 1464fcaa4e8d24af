"""The vocabulary: control symbols and SentencePiece text pieces under one numbering.

Control symbols are placed by code only. Free text is escaped first (`escape`), so a description
that spells `<failed> | *` stays text. Text between two symbols is one segment; each segment is cut
by the SentencePiece unigram model on its own, so the ids of a whole text are exactly the ids of
its segments one after the other, however the text was put together.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece

from optformer.data.runtime.bounded_files import read_file, read_json
from optformer.data.studies.errors import CheckpointError, TokenizationError
from optformer.tokenization import symbols as sym

MODEL_FILE = "tokenizer.model"
"""File of the SentencePiece model."""

TABLE_FILE = "vocab.json"
"""File of version, hash, symbols and corpus statistics."""

_AUTO_FILE = "tokenizer_config.json"  # how AutoTokenizer of transformers finds the class
_SPACE = "\u2581"  # SentencePiece's sign for a space
_FILE_BYTES = 16_000_000  # most of either file; those that ship have a hundredth
_CACHE_LIMIT = 50_000  # segments; names and numbers recur, descriptions hardly

_SYMBOL = re.compile(r"(<[a-z0-9]+>|[*|]|&[a-z]+;)")
_UNESCAPED = re.compile(r"[<>&\u2581]")
_ESCAPES = {ord(char): entity for entity, char in sym.ENTITIES.items()}
_ENTITY = re.compile("|".join(map(re.escape, sym.ENTITIES)))
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def escape(text: str) -> str:
    """Write free text so that it holds no control symbol; `unescape` undoes it.

    The characters `& < > * |` and U+2581 become HTML-like entities; nothing else changes.
    """
    return text.translate(_ESCAPES)


def unescape(text: str) -> str:
    """Undo `escape`."""
    return _ENTITY.sub(lambda match: sym.ENTITIES[match[0]], text)


class Vocabulary:
    """Token ids of control symbols and text pieces.

    Attributes:
        format_version: Version of the language's layout.
        size: Number of tokens V; ids are 0..V-1.
        hash: SHA-256 over the format version, the symbols and the SentencePiece model.
        bins: Token ids of the bins `<0>`..`<999>`.
        choices: Token ids of the choices `<c0>`..`<c255>`.
        corpus: What the text pieces were trained on (files, sentences, characters, versions).

    Args:
        model: A serialized SentencePiece model whose first pieces are `symbols.SYMBOLS`.
        corpus: Statistics of the training corpus, kept as they are.

    Raises:
        CheckpointError: The model is unreadable or its symbols are not ours.
    """

    def __init__(self, model: bytes, corpus: Mapping[str, Any] | None = None):
        self._model = model
        self._pieces = sentencepiece.SentencePieceProcessor()
        try:
            self._pieces.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise CheckpointError(f"not a SentencePiece model: {error}") from error
        for i, symbol in enumerate(sym.SYMBOLS):
            if i >= self._pieces.get_piece_size() or self._pieces.id_to_piece(i) != symbol:
                raise CheckpointError(
                    f"token {i} must be {symbol!r}: the SentencePiece model belongs to another "
                    "version of the language; train a vocabulary with this version"
                )
        self.corpus: Mapping[str, Any] = dict(corpus or {})
        self.format_version = sym.FORMAT_VERSION
        self.size = int(self._pieces.get_piece_size())
        self.hash = _digest(self.format_version, sym.SYMBOLS, model)
        self.bins = sym.BINS
        self.choices = sym.CHOICES
        self._segments: dict[str, tuple[int, ...]] = {}
        self._strings = [self._pieces.id_to_piece(i) for i in range(self.size)]
        self._bytes: dict[int, int] = {}
        for i in range(len(sym.SYMBOLS), self.size):
            match = _BYTE.fullmatch(self._strings[i])
            if match:
                self._bytes[i] = int(match[1], 16)

    def id(self, symbol: str) -> int:
        """Token id of a control symbol such as `<pending>`."""
        try:
            return sym.SYMBOL_IDS[symbol]
        except KeyError:
            raise TokenizationError(
                f"expected a control symbol such as '<param>', got {symbol!r}; "
                "free text goes through encode_text"
            ) from None

    def piece(self, token: int) -> str:
        """The symbol or text piece of a token id."""
        if not 0 <= token < self.size:
            raise TokenizationError(f"token ids are 0 to {self.size - 1}, got {token}")
        return self._strings[token]

    def encode(self, text: str) -> list[int]:
        """Ids of a text of the language: control symbols and escaped free text.

        Raises:
            TokenizationError: The text holds an unknown symbol or unescaped free text.
        """
        ids: list[int] = []
        for i, part in enumerate(_SYMBOL.split(text)):
            if i % 2:
                ids.append(self.id(part))
            elif part:
                ids.extend(self.encode_segment(part))
        return ids

    def encode_segment(self, text: str) -> tuple[int, ...]:
        """Ids of text without control symbols, exactly as given (cached)."""
        known = self._segments.get(text)
        if known is not None:
            return known
        stray = _UNESCAPED.search(text)
        if stray:
            raise TokenizationError(
                f"free text must be escaped, got {stray[0]!r} in {text!r}; use escape()"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TokenizationError(f"text must be valid Unicode, got {text!r}: {error}") from None
        ids = tuple(self._pieces.encode(text))
        if len(self._segments) >= _CACHE_LIMIT:
            self._segments.clear()
        self._segments[text] = ids
        return ids

    def encode_text(self, text: str) -> list[int]:
        """Ids of free text: escaped, with one leading space so that every word starts alike."""
        return self.encode(" " + escape(text))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the language behind ids; `encode` gives the ids of that text."""
        parts: list[str] = []
        pending = bytearray()
        for token in ids:
            byte = self._bytes.get(int(token))
            if byte is not None:
                pending.append(byte)
                continue
            if pending:
                parts.append(pending.decode("utf-8", errors="replace"))
                pending.clear()
            parts.append(self.piece(int(token)).replace(_SPACE, " "))
        parts.append(pending.decode("utf-8", errors="replace"))
        return "".join(parts)

    def decode_text(self, ids: Sequence[int]) -> str:
        """Undo `encode_text`."""
        return unescape(self.decode(ids).removeprefix(" "))

    def files(self) -> dict[str, bytes]:
        """Contents of `tokenizer.model` and `vocab.json`, by name."""
        table = {
            "format_version": self.format_version,
            "hash": self.hash,
            "size": self.size,
            "corpus": dict(self.corpus),
            "symbols": dict(sym.SYMBOL_IDS),
        }
        return {MODEL_FILE: self._model, TABLE_FILE: (json.dumps(table, indent=1) + "\n").encode()}

    def save(self, directory: str | Path) -> None:
        """Write `tokenizer.model` and `vocab.json` into a directory.

        A third file, `tokenizer_config.json`, names the class that `AutoTokenizer` shall load.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        auto = json.dumps({"tokenizer_class": "OptFormerTokenizer"}) + "\n"
        for name, content in {**self.files(), _AUTO_FILE: auto.encode()}.items():
            (folder / name).write_bytes(content)

    @classmethod
    def load(cls, directory: str | Path) -> Vocabulary:
        """Read a vocabulary written by `save`.

        Raises:
            CheckpointError: A file is missing, unreadable, of another format version, or does not
                agree with the other file or with the code.
        """
        folder = Path(directory)
        table_file, model_file = folder / TABLE_FILE, folder / MODEL_FILE
        try:
            table = read_json(table_file, limit=_FILE_BYTES)
            version, digest = table["format_version"], table["hash"]
            known, corpus = table["symbols"], table["corpus"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{table_file} is missing or unreadable ({error!r}); "
                "copy it again from where the checkpoint came from"
            ) from error
        if version != sym.FORMAT_VERSION:
            raise CheckpointError(
                f"{table_file} has format_version {version!r}, this code reads "
                f"{sym.FORMAT_VERSION}; install the version of optformer that wrote it"
            )
        if known != dict(sym.SYMBOL_IDS):
            raise CheckpointError(
                f"{table_file} lists other control symbols than this code; "
                "install the version of optformer that wrote it"
            )
        try:
            vocabulary = cls(read_file(model_file, limit=_FILE_BYTES), corpus)
        except (OSError, CheckpointError) as error:
            raise CheckpointError(
                f"{model_file} is missing or unreadable ({error}); "
                "copy it again from where the checkpoint came from"
            ) from error
        if vocabulary.hash != digest:
            raise CheckpointError(
                f"{model_file} does not belong to {table_file}: expected hash {digest}, got "
                f"{vocabulary.hash}; copy both files again from one checkpoint"
            )
        return vocabulary


@functools.cache
def default_vocabulary() -> Vocabulary:
    """The vocabulary that ships with the package."""
    return Vocabulary.load(Path(__file__).parent / "assets")


def _digest(version: int, symbols: Sequence[str], model: bytes) -> str:
    digest = hashlib.sha256(f"{version}\n".encode())
    digest.update("\n".join(symbols).encode())
    digest.update(b"\n")
    digest.update(model)
    return digest.hexdigest()
