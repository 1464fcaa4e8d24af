"""What an agent reads about the tools: short, since it stands in its context all the time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.yaml_json import parse_yaml
from optformer.serving.study.pruning import PRUNERS

INSTRUCTIONS = (
    "Tunes hyperparameters with a pretrained model. Create a study, then repeat: suggest, run the "
    "trial, observe what came of it. Observe failures, too (failed='why'); they are learned from. "
    "Values are in the metric's own units and sign. Stop when suggest expects little gain; best "
    "has the result."
)

_Schema = Mapping[str, Any]

_GOALS = ("maximize", "minimize")
_STUDY = {"type": "string", "description": "its name; leave out if there is one study"}
_TRIAL = {"type": "integer", "minimum": 0, "description": "its number"}
_VALUE = {
    "type": ["number", "object"],
    "description": "the metric, or {name: number} of several goals or limits",
}
_MOST = 100  # points or trials in a call: more would fill the agent's context


@dataclass(frozen=True)
class ToolDescription:
    """One tool.

    Attributes:
        name: Its name.
        text: What it does, and when to call it.
        properties: JSON schemas of its arguments by name.
        required: Arguments that it needs.
        writes: Whether it changes a study.
    """

    name: str
    text: str
    properties: Mapping[str, _Schema]
    required: tuple[str, ...] = ()
    writes: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments."""
        return {
            "type": "object",
            "properties": {name: dict(schema) for name, schema in self.properties.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check what an agent gave.

        Objects and lists may be given as text of YAML or JSON, and null for what is left out, as
        some agents do.

        Args:
            arguments: Values by name.

        Raises:
            ConfigError: An argument is unknown, missing or of another kind; the message names it.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        read = {name: self._parsed(name, value) for name, value in given.items()}
        error = best_match(Draft202012Validator(self.schema).iter_errors(read))
        if error is not None:
            raise ConfigError(self._advice(error))
        return read

    def _parsed(self, name: str, value: Any) -> Any:
        kinds = self.properties.get(name, {}).get("type", ())
        if not isinstance(value, str) or "string" in kinds or not {"object", "array"} & {*kinds}:
            return value
        try:
            return parse_yaml(value)
        except ValueError as error:
            raise ConfigError(
                f"argument {name!r} of {self.name} is text that is neither YAML nor JSON: {error}"
            ) from None

    def _advice(self, error: ValidationError) -> str:
        """What is wrong with an argument, and what is expected."""
        if not error.absolute_path:
            takes = ", ".join(n if n in self.required else f"[{n}]" for n in self.properties)
            return f"{self.name}: {error.message}; it takes {takes}"
        name, *inner = error.absolute_path
        place = "".join(f"[{json.dumps(step)}]" for step in inner)
        told = self.properties[str(name)].get("description", "")
        return f"argument {name}{place} of {self.name}: {error.message}; {name} is {told}"


CATALOGUE = (
    ToolDescription(
        "create_study",
        "Begin a search.",
        {
            "space": {
                "type": ["object"],
                "description": "what to tune, name: parameter, e.g. "
                '{"lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": true}, '
                '"layers": {"type": "int", "low": 1, "high": 8}, '
                '"opt": {"type": "categorical", "choices": ["sgd", "adam"]}, '
                '"momentum": {"type": "float", "low": 0, "high": 0.99, "when": {"opt": ["sgd"]}}}; '
                'also "ordinal" with choices, "step", "description"; meaningful names help',
            },
            "metric": {"type": "string", "description": "what is measured, e.g. accuracy"},
            "goal": {"enum": list(_GOALS), "description": "maximize or minimize"},
            "metrics": {
                "type": ["object"],
                "additionalProperties": {"enum": list(_GOALS)},
                "description": "instead of metric and goal, several: "
                '{"accuracy": "maximize", "latency": "minimize"}',
            },
            "metric_range": {
                "type": ["array", "object"],
                "description": "least and most possible value, e.g. [0, 1] or [0, null]; of "
                "several metrics by name",
            },
            "limits": {
                "type": ["object"],
                "additionalProperties": {"type": "string"},
                "description": 'what must hold, e.g. {"memory_gb": "<= 8"}',
            },
            "name": {"type": "string", "description": "of the study"},
            "metadata": {
                "type": ["object"],
                "description": "about the task, which the model reads: "
                '{"task": ..., "dataset": ..., "model": ...}',
            },
            "fixed": {"type": ["object"], "description": "parameters held at one value"},
            "try_first": {
                "type": ["array"],
                "maxItems": _MOST,
                "items": {"type": "object"},
                "description": "points to try before others, whole or in part, e.g. the "
                "current values",
            },
            "pruner": {
                "type": "string",
                "description": f"stops bad trials early by their reports: {', '.join(PRUNERS)}",
            },
            "seed": {"type": "integer", "minimum": 0, "description": "a whole number"},
        },
        ("space",),
        writes=True,
    ),
    ToolDescription("list_studies", "The studies that there are, and how far they are.", {}),
    ToolDescription(
        "suggest",
        "What to try next; the trials are pending until observed.",
        {
            "study": _STUDY,
            "count": {
                "type": "integer",
                "minimum": 1,
                "maximum": _MOST,
                "description": "how many, to run side by side (1 if left out)",
            },
            "fixed": {"type": ["object"], "description": "parameters held at one value here"},
        },
        writes=True,
    ),
    ToolDescription(
        "observe",
        "Record what came of a trial, once: a value, or failed. With params instead of trial it "
        "adds a point that was measured elsewhere.",
        {
            "study": _STUDY,
            "trial": _TRIAL,
            "params": {"type": ["object"], "description": "a whole point, name: value"},
            "value": _VALUE,
            "failed": {"type": "string", "description": "why there is no value"},
            "stopped": {
                "type": "boolean",
                "description": "true if stopped early; the last report counts if value is left out",
            },
        },
        writes=True,
    ),
    ToolDescription(
        "report",
        "Tell the metric of a running trial at a step; answers whether to stop it.",
        {
            "study": _STUDY,
            "trial": _TRIAL,
            "step": {"type": "integer", "minimum": 0, "description": "e.g. the epoch"},
            "value": {"type": "number", "description": "the metric at that step, a number"},
        },
        ("trial", "step", "value"),
        writes=True,
    ),
    ToolDescription(
        "predict",
        "What the model expects of points, without running them.",
        {
            "study": _STUDY,
            "points": {
                "type": ["array"],
                "minItems": 1,
                "maxItems": _MOST,
                "items": {"type": "object"},
                "description": "a list of whole points, each name: value",
            },
        },
        ("points",),
    ),
    ToolDescription(
        "explain",
        "Why a trial was suggested, what was expected, which trials are most like it.",
        {"study": _STUDY, "trial": _TRIAL},
        ("trial",),
    ),
    ToolDescription(
        "best",
        "The result so far: the best trials, or the Pareto front; what is pending.",
        {
            "study": _STUDY,
            "top": {
                "type": "integer",
                "minimum": 1,
                "maximum": _MOST,
                "description": "how many trials (5 if left out)",
            },
        },
    ),
    ToolDescription(
        "importances",
        "How much each parameter decides about the metric.",
        {
            "study": _STUDY,
            "metric": {"type": "string", "description": "another metric of the trials"},
        },
    ),
)
"""All tools, in the order in which an agent meets them."""
