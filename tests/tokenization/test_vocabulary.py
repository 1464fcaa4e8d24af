"""The vocabulary: free text stays text, files are checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import CheckpointError, TokenizationError
from optformer.tokenization import symbols as sym
from optformer.tokenization.vocabulary import Vocabulary, escape, unescape


@given(data=st.data())
def test_encode_text__any_text__comes_back_without_control_symbols(
    data: st.DataObject, texts: st.SearchStrategy[str], vocabulary: Vocabulary
) -> None:
    text = data.draw(texts)
    ids = vocabulary.encode_text(text)
    assert vocabulary.decode_text(ids) == text
    controls = set(range(len(sym.SYMBOLS))) - {sym.SYMBOL_IDS[e] for e in sym.ENTITIES}
    assert not controls.intersection(ids)


@given(st.text())
def test_escape__any_text__is_undone(text: str) -> None:
    assert unescape(escape(text)) == text


def test_encode_text__spelled_control_symbols__stay_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode_text("<failed> | *")
    pieces = [vocabulary.piece(i) for i in ids]
    assert {"&lt;", "&gt;", "&vert;", "&ast;"} <= set(pieces)
    assert vocabulary.id("<failed>") not in ids
    assert vocabulary.decode_text(ids) == "<failed> | *"


def test_encode_text__unknown_characters__survive_as_bytes(vocabulary: Vocabulary) -> None:
    text = "学習率 \U0001f600 \x00\n\t\ufffd"
    ids = vocabulary.encode_text(text)
    assert vocabulary.id(sym.UNKNOWN) not in ids
    assert any(vocabulary.piece(i).startswith("<0x") for i in ids)
    assert vocabulary.decode_text(ids) == text


def test_encode_text__digits__stand_alone(vocabulary: Vocabulary) -> None:
    assert [vocabulary.piece(i) for i in vocabulary.encode("1e-06")] == ["1", "e", "-", "0", "6"]


def test_encode_text__usual_names__take_a_piece_a_word(vocabulary: Vocabulary) -> None:
    for name in ("learning rate", "batch size", "weight decay", "num layers", "max depth"):
        assert len(vocabulary.encode_text(name)) == 2


def test_encode_text__lone_surrogate__is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(TokenizationError, match="valid Unicode"):
        vocabulary.encode_text("\ud800")


@pytest.mark.parametrize("text", ["<nonsense>", "a < b", "R&D", "<c256>", "<1000>"])
def test_encode__unescaped_text__is_refused(text: str, vocabulary: Vocabulary) -> None:
    with pytest.raises(TokenizationError, match=r"escape|symbol"):
        vocabulary.encode(text)


def test_encode__a_text_and_its_segments__give_the_same_ids(vocabulary: Vocabulary) -> None:
    parts = ["<param>", " learning rate", "<float>", "<log>", "<low>", "1e-6", "*", "<12>", "|"]
    together = vocabulary.encode("".join(parts))
    assert together == [i for part in parts for i in vocabulary.encode(part)]
    assert vocabulary.decode(together) == "".join(parts)


def test_id_and_piece__out_of_range__say_what_is_expected(vocabulary: Vocabulary) -> None:
    with pytest.raises(TokenizationError, match="control symbol"):
        vocabulary.id("learning")
    with pytest.raises(TokenizationError, match=f"0 to {vocabulary.size - 1}"):
        vocabulary.piece(vocabulary.size)
    assert vocabulary.piece(vocabulary.bins[7]) == "<7>"
    assert vocabulary.piece(vocabulary.choices[255]) == "<c255>"


def test_default_vocabulary__size_and_corpus__are_recorded(vocabulary: Vocabulary) -> None:
    assert vocabulary.size == len(sym.SYMBOLS) + 256 + 4000
    assert vocabulary.corpus["files"] > 1000
    assert vocabulary.corpus["characters"] > 10_000_000


def test_save__load__gives_the_same_vocabulary(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path)
    loaded = Vocabulary.load(tmp_path)
    assert loaded.hash == vocabulary.hash
    assert loaded.size == vocabulary.size
    assert loaded.corpus == vocabulary.corpus
    assert loaded.encode_text("dropout rate") == vocabulary.encode_text("dropout rate")
    assert json.loads((tmp_path / "vocab.json").read_text())["symbols"] == dict(sym.SYMBOL_IDS)


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer.model"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"nonsense"])
def test_load__missing_or_broken_file__names_it(
    name: str, content: bytes | None, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    vocabulary.save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} is missing or unreadable.*copy it again"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", 99, "format_version 99.*install the version"),
        ("hash", "0" * 64, "expected hash 000.*copy both files"),
        ("symbols", {"<0>": 0}, "other control symbols.*install the version"),
    ],
)
def test_load__mismatch__says_what_to_do(
    key: str, value: object, message: str, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    vocabulary.save(tmp_path)
    table = json.loads((tmp_path / "vocab.json").read_text())
    table[key] = value
    (tmp_path / "vocab.json").write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match=message):
        Vocabulary.load(tmp_path)


@settings(max_examples=20)
@given(ids=st.lists(st.integers(0, 5605), max_size=20))
def test_decode__any_ids__give_a_text(ids: list[int], vocabulary: Vocabulary) -> None:
    assert isinstance(vocabulary.decode(ids), str)
