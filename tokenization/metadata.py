"""Write what a study is about as text and as token ids, and read it back.

Layout: study words (task, dataset, model, other metadata, metric, goal, algorithm, fixed values),
then one block a parameter. Keywords are single tokens; quotes, braces and field names are gone.

    <task> image classification<metric> accuracy<goal><maximize>
    <param> learning rate<float><log><low>1e-6<high>0.1
    <param> optimizer<categorical><count>2<choice> sgd<choice> adam
    <param> momentum<float><linear><low>0<high>0.99<when> optimizer<value> sgd

(in one line). Free text follows its keyword after one space; numbers follow without a space, so
the text "16" and the number 16 differ. What is dropped:

- Names of parameters, metrics and metadata keys, and choices: nothing. An underscore is written as
  a space and a space as an underscore, so that `batch_size` reads as two words, and comes back.
- Metadata texts: Unicode compatibility forms (NFKC) and repeated white space.
- Descriptions: the same, the article "the", and the full stop at the end.
- Bounds: what `float` does not need (`1e-06` is written `1e-6`, `0.0` is written `0`).
"""

from __future__ import annotations

import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.errors import OptFormerError, OptFormerWarning, TokenizationError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig, Weighted
from optformer.tokenization import symbols as sym
from optformer.tokenization.shortening import (
    MAX_CHARACTERS,
    MAX_TOKENS,
    SHORTENINGS,
    WHOLE,
    Shortening,
)
from optformer.tokenization.vocabulary import Vocabulary, escape, unescape

_KNOWN_KEYS = ("task", "dataset", "model")
_SWAP = str.maketrans("_ ", " _")
_BLANKS = re.compile(r"\s+")
_ARTICLE = re.compile(r"\bthe ", re.IGNORECASE)
_CONSTANTS: Mapping[str, Value] = {sym.TRUE: True, sym.FALSE: False, sym.NONE: None}
_CONTROL = re.compile(r"(<[a-z0-9]+>|[*|])")
_WHOLE = re.compile(r"-?[0-9]+")


@dataclass(frozen=True)
class MetadataEncoding:
    """Token ids of a study's metadata and what each token belongs to.

    Attributes:
        ids: int64 [L], token ids.
        parameter: int64 [L], slot of the parameter whose block the token is in, -1 outside.
        choice: int64 [L], flat number of the choice that the token spells, -1 elsewhere.
        choice_parameter: int64 [C], slot of every flat choice: categorical parameters in slot
            order, their choices in order. Ordinals are numeric and have none.
    """

    ids: NDArray[np.int64]
    parameter: NDArray[np.int64]
    choice: NDArray[np.int64]
    choice_parameter: NDArray[np.int64]


class _Word(NamedTuple):
    """A control symbol and the text behind it, with what both belong to."""

    symbol: str
    text: str = ""
    parameter: int = -1
    choice: int = -1


def encode_metadata(
    config: StudyConfig, vocabulary: Vocabulary, *, algorithm: str | None = None
) -> MetadataEncoding:
    """Token ids of `metadata_to_text(config)`, each with its parameter and choice.

    Args:
        config: The study.
        vocabulary: Gives the ids.
        algorithm: Search method to imitate; None writes none.

    Raises:
        TokenizationError: Too many parameters or choices, or text that is not valid Unicode; the
            message names the parameter.

    Warns:
        OptFormerWarning: There is more text than the model reads, so it was shortened.
    """
    tries = ((how, _tokens(config, vocabulary, algorithm, how)) for how in SHORTENINGS)
    shortening, (ids, owners) = next((how, found) for how, found in tries if found is not None)
    if shortening is not WHOLE:
        warnings.warn(
            f"the names, choices and metadata of this study need more than {MAX_TOKENS} tokens, so "
            f"of each text the model reads {shortening.characters} characters, and of each list "
            f"{shortening.members} members; all of them can still be suggested",
            OptFormerWarning,
            stacklevel=2,
        )
    owner = np.asarray(owners, dtype=np.int64)  # (L, 2)
    choices = [
        slot
        for slot, parameter in enumerate(config.space.values())
        if isinstance(parameter, Categorical)
        for _ in parameter.choices
    ]
    return MetadataEncoding(
        ids=np.asarray(ids, dtype=np.int64),
        parameter=owner[:, 0].copy(),
        choice=owner[:, 1].copy(),
        choice_parameter=np.asarray(choices, dtype=np.int64),
    )


def _tokens(
    config: StudyConfig, vocabulary: Vocabulary, algorithm: str | None, shortening: Shortening
) -> tuple[list[int], list[tuple[int, int]]] | None:
    """Ids with the parameter and choice of each; None when they are too many."""
    words, characters = [], 0
    for word in _words(config, algorithm, shortening):
        words.append(word)
        characters += 1 + len(word.text)
        if characters > MAX_CHARACTERS:
            return None
    ids: list[int] = []
    owners: list[tuple[int, int]] = []
    for word in words:
        start = len(ids)
        ids.append(sym.SYMBOL_IDS[word.symbol])
        if word.text:
            ids.extend(vocabulary.encode(word.text))
        if len(ids) > MAX_TOKENS:
            return None
        owners.extend([(word.parameter, word.choice)] * (len(ids) - start))
    return ids, owners


def metadata_to_text(config: StudyConfig, *, algorithm: str | None = None) -> str:
    """The metadata as text of the language; see the module for the layout."""
    words = _words(config, algorithm, Shortening(sys.maxsize, sys.maxsize))
    return "".join(word.symbol + word.text for word in words)


def normalize_metadata(text: str) -> str:
    """Metadata text as it is written: NFKC, white space collapsed."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", text)).strip()


def normalize_description(text: str) -> str:
    """A description as it is written: NFKC, white space, "the" and the last full stop dropped."""
    text = _ARTICLE.sub("", normalize_metadata(text))
    return text.rstrip(". ")


def check_limits(space: SearchSpace) -> None:
    """Raise `TokenizationError` when a space has more than the language can write."""
    if len(space) > sym.MAX_PARAMETERS:
        raise TokenizationError(
            f"at most {sym.MAX_PARAMETERS} parameters can be written, got {len(space)}; the first "
            f"too many is {space.names[sym.MAX_PARAMETERS]!r}: fix or drop some"
        )
    for name, parameter in space.items():
        if isinstance(parameter, Categorical) and len(parameter.choices) > sym.MAX_CHOICES:
            raise TokenizationError(
                f"parameter {name!r}: at most {sym.MAX_CHOICES} choices can be written, got "
                f"{len(parameter.choices)}; use an Ordinal or an Int, or split the parameter"
            )


def _words(config: StudyConfig, algorithm: str | None, shortening: Shortening) -> Iterator[_Word]:
    check_limits(config.space)

    def free(text: str) -> str:
        return " " + escape(normalize_metadata(shortening.text(text)))

    def name_of(name: str) -> str:
        return _name(shortening.text(name))

    for key in _KNOWN_KEYS:
        if key in config.metadata:
            yield _Word(f"<{key}>", free(config.metadata[key]))
    others = {k: text for k, text in config.metadata.items() if k not in _KNOWN_KEYS}
    for key, text in _some(others, shortening):
        yield _Word("<meta>", name_of(key))
        yield _Word("<text>", free(text))
    if isinstance(config.metric, Weighted):
        yield _Word("<metric>")
        for name, weight in _some(config.metric.weights, shortening):
            yield _Word("<weight>", _compact(weight))
            yield _Word("<name>", name_of(name))
    else:
        yield _Word("<metric>", name_of(config.metric))
    yield _Word("<goal>")
    yield _Word(sym.MAXIMIZE if config.goal == "maximize" else sym.MINIMIZE)
    if algorithm is not None:
        yield _Word("<algorithm>", _name(algorithm))
    for name, value in config.fixed.items():
        yield _Word("<fixed>", name_of(name))
        yield from _value("<value>", value, shortening)
    flat = 0
    for slot, (name, parameter) in enumerate(config.space.items()):
        yield _Word("<param>", name_of(name), slot)
        choice = flat if isinstance(parameter, Categorical) else -1
        for word in _block(parameter, shortening):
            owner = -1
            if choice >= 0 and word.choice >= 0:
                owner = choice + word.choice
            yield _Word(word.symbol, word.text, slot, owner)
        if isinstance(parameter, Categorical):
            flat += len(parameter.choices)


def _some(mapping: Mapping[str, Any], shortening: Shortening) -> list[tuple[str, Any]]:
    """The entries of a mapping that are read."""
    items = list(mapping.items())
    return [items[position] for position in shortening.kept(len(items))]


def _block(parameter: Parameter, shortening: Shortening) -> Iterator[_Word]:
    """Words of one parameter after its name; choices carry their index."""
    if isinstance(parameter, Float | Int):
        whole = isinstance(parameter, Int)
        yield _Word("<int>" if whole else "<float>")
        yield _Word("<log>" if parameter.log else "<linear>")
        yield _Word("<low>", _compact(parameter.low))
        yield _Word("<high>", _compact(parameter.high))
        if parameter.step is not None and not (whole and parameter.step == 1):
            yield _Word("<step>", _compact(parameter.step))
    else:
        yield _Word("<ordinal>" if isinstance(parameter, Ordinal) else "<categorical>")
        yield _Word("<count>", str(len(parameter.choices)))
        for index in shortening.kept(len(parameter.choices)):
            yield from _value("<choice>", parameter.choices[index], shortening, index)
    for parent, values in _some(parameter.when or {}, shortening):
        yield _Word("<when>", _name(shortening.text(parent)))
        for position in shortening.kept(len(values)):
            yield from _value("<value>", values[position], shortening)
    description = normalize_description(shortening.text(parameter.description))
    if description:
        yield _Word("<desc>", " " + escape(description))


def _value(symbol: str, value: Value, shortening: Shortening, choice: int = -1) -> Iterator[_Word]:
    """A typed value: constants as symbols, text after a space, numbers without one."""
    if value is None or isinstance(value, bool):
        yield _Word(symbol, choice=choice)
        constant = {True: sym.TRUE, False: sym.FALSE, None: sym.NONE}[value]
        yield _Word(constant, choice=choice)
    elif isinstance(value, str):
        yield _Word(symbol, _name(shortening.text(value)), choice=choice)
    else:
        yield _Word(symbol, repr(value), choice=choice)


def _name(name: str) -> str:
    return " " + escape(name.translate(_SWAP))


def _compact(number: float) -> str:
    """The shortest usual text that `float` (or `int`) reads back exactly."""
    if isinstance(number, int):
        return str(number)
    text = repr(float(number)).removesuffix(".0")
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else mantissa


def metadata_from_text(text: str) -> tuple[StudyConfig, str | None]:
    """Read what `metadata_to_text` wrote.

    Args:
        text: Metadata text, nothing after the last parameter's block.

    Returns:
        The study and the algorithm to imitate, if one was written.

    Raises:
        TokenizationError: The text is not the metadata of a study; the message says where.
    """
    try:
        return _read_study(_Reader(text))
    except TokenizationError:
        raise
    except OptFormerError as error:
        raise TokenizationError(f"the text describes an impossible study: {error}") from error


class _Reader:
    """Walks over control symbols, each with the text behind it."""

    def __init__(self, text: str):
        before, *parts = _CONTROL.split(text)
        self._words = [(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
        self._next = 0
        if before:
            raise TokenizationError(f"metadata starts with a control symbol, got {before!r}")

    @property
    def symbol(self) -> str | None:
        """The next symbol, None at the end."""
        return self._words[self._next][0] if self._next < len(self._words) else None

    @property
    def text(self) -> str:
        """The text behind the next symbol, empty at the end."""
        return self._words[self._next][1] if self._next < len(self._words) else ""

    def take(self, symbol: str) -> str:
        """Step over a symbol that must come now; returns the text behind it as it stands."""
        if self.symbol != symbol:
            raise TokenizationError(
                f"expected {symbol} as word {self._next} of the metadata, got {self.symbol}"
            )
        self._next += 1
        return self._words[self._next - 1][1]

    def take_text(self, symbol: str) -> str:
        """Take free text."""
        text = self.take(symbol)
        if not text.startswith(" "):
            raise TokenizationError(f"expected text after {symbol}, got {text!r}")
        return unescape(text[1:])

    def take_name(self, symbol: str) -> str:
        """Take text in which underscores and spaces are exchanged."""
        return self.take_text(symbol).translate(_SWAP)

    def take_number(self, symbol: str) -> float:
        """Take a real number."""
        text = self.take(symbol)
        try:
            return float(text)
        except ValueError:
            raise TokenizationError(f"expected a number after {symbol}, got {text!r}") from None

    def take_whole(self, symbol: str) -> int:
        """Take a whole number."""
        text = self.take(symbol)
        if not _WHOLE.fullmatch(text):
            raise TokenizationError(f"expected a whole number after {symbol}, got {text!r}")
        return int(text)

    def take_value(self, symbol: str) -> Value:
        """Take a typed value: a constant, text, a whole or a real number."""
        if self.text.startswith(" "):
            return self.take_name(symbol)
        if self.text:
            whole = _WHOLE.fullmatch(self.text)
            return self.take_whole(symbol) if whole else self.take_number(symbol)
        self.take(symbol)
        constant = self.symbol
        if constant is None or constant not in _CONSTANTS:
            raise TokenizationError(f"expected a value after {symbol}, got {constant}")
        self.take(constant)
        return _CONSTANTS[constant]


def _read_study(reader: _Reader) -> tuple[StudyConfig, str | None]:
    metadata: dict[str, str] = {}
    for key in _KNOWN_KEYS:
        if reader.symbol == f"<{key}>":
            metadata[key] = reader.take_text(f"<{key}>")
    while reader.symbol == "<meta>":
        key = reader.take_name("<meta>")
        metadata[key] = reader.take_text("<text>")
    metric = _read_metric(reader)
    reader.take("<goal>")
    goal: Goal = "maximize" if reader.symbol == sym.MAXIMIZE else "minimize"
    reader.take(sym.MAXIMIZE if goal == "maximize" else sym.MINIMIZE)
    algorithm = reader.take_name("<algorithm>") if reader.symbol == "<algorithm>" else None
    fixed: dict[str, Value] = {}
    while reader.symbol == "<fixed>":
        name = reader.take_name("<fixed>")
        fixed[name] = reader.take_value("<value>")
    parameters: dict[str, Parameter] = {}
    while reader.symbol is not None:
        name = reader.take_name("<param>")
        parameters[name] = _read_block(reader)
    return StudyConfig(SearchSpace(parameters), metric, goal, metadata, fixed), algorithm


def _read_metric(reader: _Reader) -> str | Weighted:
    if reader.text:
        return reader.take_name("<metric>")
    reader.take("<metric>")
    weights: dict[str, float] = {}
    while reader.symbol == "<weight>":
        weight = reader.take_number("<weight>")
        weights[reader.take_name("<name>")] = weight
    return Weighted(weights)


def _read_block(reader: _Reader) -> Parameter:
    """One parameter after its name."""
    kind = reader.symbol
    if kind in ("<float>", "<int>"):
        reader.take(kind)
        log = reader.symbol == "<log>"
        reader.take("<log>" if log else "<linear>")
        take = reader.take_number if kind == "<float>" else reader.take_whole
        low, high = take("<low>"), take("<high>")
        step = take("<step>") if reader.symbol == "<step>" else None
        when, description = _read_rest(reader)
        if kind == "<float>":
            return Float(low, high, log, step, when, description)
        return Int(int(low), int(high), log, 1 if step is None else int(step), when, description)
    if kind in ("<categorical>", "<ordinal>"):
        reader.take(kind)
        count = reader.take_whole("<count>")
        choices = [reader.take_value("<choice>") for _ in range(count)]
        when, description = _read_rest(reader)
        return (Categorical if kind == "<categorical>" else Ordinal)(choices, when, description)
    raise TokenizationError(f"expected a parameter's type after its name, got {kind}")


def _read_rest(reader: _Reader) -> tuple[dict[str, list[Value]] | None, str]:
    """Condition and description."""
    when: dict[str, list[Value]] = {}
    while reader.symbol == "<when>":
        values = when.setdefault(reader.take_name("<when>"), [])
        while reader.symbol == "<value>":
            values.append(reader.take_value("<value>"))
    description = reader.take_text("<desc>") if reader.symbol == "<desc>" else ""
    return when or None, description
