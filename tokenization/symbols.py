"""Every control symbol of the language of studies, with its meaning and its id.

Ids are append-only: a new symbol takes the first reserved place, nothing moves. Kinds lie one
after the other, each contiguous, so that a model can slice its logits by kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FORMAT_VERSION = 1
"""Version of symbols, text layout and escaping; a change of any of them raises it."""

NUM_BINS = 1000
"""Bins of the unit interval; one token each, shared by parameters and the metric."""

MAX_CHOICES = 256
"""Most choices of a `Categorical`."""

MAX_PARAMETERS = 64
"""Most parameters of a space."""

UNKNOWN, PAD, START = "<unk>", "<pad>", "<start>"
PARAMETERS_END, TRIAL_END = "*", "|"
MAXIMIZE, MINIMIZE = "<maximize>", "<minimize>"
TRUE, FALSE, NONE = "<true>", "<false>", "<none>"
INACTIVE, MISSING, PENDING, FAILED = "<inactive>", "<missing>", "<pending>", "<failed>"

SPECIAL: Mapping[str, str] = MappingProxyType(
    {
        UNKNOWN: "never written (unknown characters become bytes); SentencePiece wants it",
        PAD: "fills a batch; no meaning",
        START: "opens the trials of a study, after the metadata",
    }
)
SEPARATORS: Mapping[str, str] = MappingProxyType(
    {
        PARAMETERS_END: "between the parameters of a trial and its metric: asks for the metric",
        TRIAL_END: "closes a trial",
    }
)
KEYWORDS: Mapping[str, str] = MappingProxyType(
    {
        "<task>": "metadata 'task': what is learned",
        "<dataset>": "metadata 'dataset': on which data",
        "<model>": "metadata 'model': what is tuned",
        "<meta>": "any other metadata: its key, then <text> and its text",
        "<text>": "the text that belongs to the key before it",
        "<metric>": "name of the metric, or weights and names when several are added",
        "<weight>": "weight of one metric in a weighted sum",
        "<name>": "name of one metric in a weighted sum",
        "<goal>": "whether the metric is maximized or minimized",
        "<algorithm>": "search method whose choices the trials follow",
        "<fixed>": "name of a parameter held at one value",
        "<value>": "a value of the parameter named before it",
        "<param>": "opens the block of one parameter, with its name",
        "<low>": "smallest legal number",
        "<high>": "largest legal number",
        "<step>": "distance between legal numbers",
        "<count>": "number of choices",
        "<choice>": "one choice",
        "<when>": "parent of a conditional parameter; <value>s under which it is active follow",
        "<desc>": "free description of a parameter",
    }
)
TYPES: Mapping[str, str] = MappingProxyType(
    {
        "<float>": "real number",
        "<int>": "whole number",
        "<categorical>": "one of several values without order",
        "<ordinal>": "one of several values in order",
    }
)
SCALES: Mapping[str, str] = MappingProxyType(
    {"<linear>": "searched as it is", "<log>": "searched on the logarithm"}
)
GOALS: Mapping[str, str] = MappingProxyType(
    {MAXIMIZE: "larger is better", MINIMIZE: "smaller is better"}
)
CONSTANTS: Mapping[str, str] = MappingProxyType(
    {TRUE: "the value True", FALSE: "the value False", NONE: "the value None"}
)
STATUSES: Mapping[str, str] = MappingProxyType(
    {
        INACTIVE: "parameter whose condition does not hold in this trial",
        MISSING: "parameter or metric that nobody recorded",
        PENDING: "metric of a trial that still runs",
        FAILED: "metric of a trial that failed: the point is infeasible",
    }
)
ENTITIES: Mapping[str, str] = MappingProxyType(
    {
        "&amp;": "&",
        "&lt;": "<",
        "&gt;": ">",
        "&ast;": "*",
        "&vert;": "|",
        "&block;": "\u2581",  # SentencePiece writes a space so
    }
)
"""How free text writes the characters that control symbols are made of."""

_NUM_RESERVED = 48


def bin_symbol(index: int) -> str:
    """Symbol of a bin, `<0>` to `<999>`."""
    return f"<{index}>"


def choice_symbol(index: int) -> str:
    """Symbol of a choice, `<c0>` to `<c255>`."""
    return f"<c{index}>"


SYMBOLS: tuple[str, ...] = (
    *SPECIAL,
    *SEPARATORS,
    *KEYWORDS,
    *TYPES,
    *SCALES,
    *GOALS,
    *CONSTANTS,
    *STATUSES,
    *ENTITIES,
    *(f"<reserved{i}>" for i in range(_NUM_RESERVED)),
    *(bin_symbol(i) for i in range(NUM_BINS)),
    *(choice_symbol(i) for i in range(MAX_CHOICES)),
)
"""All control symbols; a symbol's position is its token id."""

SYMBOL_IDS: Mapping[str, int] = MappingProxyType({s: i for i, s in enumerate(SYMBOLS)})
"""Symbol to token id."""

BINS = range(SYMBOL_IDS[bin_symbol(0)], SYMBOL_IDS[bin_symbol(0)] + NUM_BINS)
"""Token ids of the bins, in order."""

CHOICES = range(SYMBOL_IDS[choice_symbol(0)], SYMBOL_IDS[choice_symbol(0)] + MAX_CHOICES)
"""Token ids of the choices, in order."""
