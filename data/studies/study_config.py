"""What a study is about: the space, the metric and its goal, and free metadata."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, cast

from optformer.data.studies.errors import MetricError, StudyError
from optformer.data.studies.limits import Limit, read_limits
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial

Goal = Literal["maximize", "minimize"]

MetricRange = Sequence[float | None]
"""Least and most value of a metric; None is an open end."""


class Weighted:
    """A measure that adds several metrics with weights, such as accuracy against cost.

    `Weighted(accuracy=1.0, flops=-1e-9)` is 1.0 x accuracy - 1e-9 x flops. Metrics whose names
    are no identifiers go into a mapping: `Weighted({"val/acc": 1.0})`.

    Raises:
        MetricError: There is no weight, or one is not a finite number.
    """

    def __init__(self, weights: Mapping[str, float] | None = None, /, **named: float):
        if weights is not None and not isinstance(weights, Mapping):
            raise MetricError(f"Weighted needs a mapping of metrics to weights, got {weights!r}")
        self.weights: dict[str, float] = {
            name: _finite(f"weight of {name!r}", weight)
            for name, weight in {**(weights or {}), **named}.items()
        }
        if not self.weights:
            raise MetricError("Weighted needs at least one metric, got none")

    def __repr__(self) -> str:
        return f"Weighted({self.weights!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weighted) and self.weights == other.weights

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.weights.items())))


@dataclass(frozen=True)
class StudyConfig:
    """Everything about a study but its history.

    A trial's `value` is the metric. With several goals or limits its `metrics` hold the value of
    every metric by name.

    Attributes:
        space: What is searched.
        metric: Name of the metric, or a weighted sum of several; of several goals the first.
        goal: "maximize" or "minimize".
        metadata: Free text about the task (task, data set, model, anything).
        fixed: Parameters held at one value for the whole study.
        further_goals: Goals of more metrics by name, where there are several.
        limits: Limits by the name of the metric. A metric may have a goal and a limit.
        metric_ranges: Least and most possible value by the name of the metric, such as
            `{"accuracy": (0, 1)}`; an end that is None is open. Predictions keep to them. What is
            observed beyond them stands.

    Raises:
        StudyError: A goal is unknown, or metadata is not text.
        MetricError: A metric's name is empty, a metric has two goals, or a limit or a range is not
            one.
        SearchSpaceError: A fixed value is not legal.
    """

    space: SearchSpace
    metric: str | Weighted
    goal: Goal
    metadata: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Value] = field(default_factory=dict)
    further_goals: Mapping[str, Goal] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    metric_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.space, SearchSpace):
            raise StudyError(f"space must be a SearchSpace, got {type(self.space).__name__}")
        _check_goal("goal", self.goal)
        if not isinstance(self.metric, str | Weighted):
            raise MetricError(
                f"metric must be a name or a Weighted, got {type(self.metric).__name__}"
            )
        if isinstance(self.metric, str):
            _check_name(self.metric)
        for name in ("metadata", "fixed", "further_goals", "metric_ranges"):
            if not isinstance(getattr(self, name), Mapping):
                raise StudyError(f"{name} must be a mapping, got {getattr(self, name)!r}")
        for key, text in self.metadata.items():
            if not isinstance(key, str) or not isinstance(text, str | int | float | bool):
                raise StudyError(f"metadata[{key!r}] must be text or a number, got {text!r}")
        object.__setattr__(self, "metadata", {k: str(v) for k, v in self.metadata.items()})
        fixed = {name: self.space.validate_value(name, v) for name, v in self.fixed.items()}
        object.__setattr__(self, "fixed", fixed)
        for name, goal in self.further_goals.items():
            _check_name(name)
            _check_goal(f"the goal of {name!r}", goal)
            if name == self.metric_name:
                raise MetricError(f"metric {name!r} has two goals: {self.goal!r} and {goal!r}")
        object.__setattr__(self, "further_goals", dict(self.further_goals))
        object.__setattr__(self, "limits", read_limits(self.limits))
        for name in self.limits:
            _check_name(name)
        object.__setattr__(self, "metric_ranges", self._checked_ranges())

    def _checked_ranges(self) -> dict[str, tuple[float, float]]:
        known = [self.metric_name, *self.further_goals, *self.limits]
        for name in self.metric_ranges:
            if name not in known:
                raise MetricError(f"metric_ranges names {name!r}; this study has {known}")
        return {name: _range(name, ends) for name, ends in self.metric_ranges.items()}

    @property
    def goals(self) -> dict[str, Goal]:
        """Every goal by its metric's name, the first one first."""
        return {self.metric_name: self.goal, **self.further_goals}

    @property
    def several(self) -> bool:
        """Whether a trial has several metrics: there are further goals, or limits."""
        return bool(self.further_goals or self.limits)

    @cached_property
    def views(self) -> tuple[StudyConfig, ...]:
        """This study as one of each metric: of each goal in order, then of what only has a limit.

        A metric that only has a limit is minimized below it, or maximized above it.
        """
        if not self.several:
            return (self,)
        only_limited = {
            name: ("maximize" if limit.sign > 0 else "minimize")
            for name, limit in self.limits.items()
            if name not in self.goals
        }
        rest = {**self.further_goals, **only_limited}
        return tuple(
            StudyConfig(
                self.space,
                metric,
                cast(Goal, goal),
                self.metadata,
                self.fixed,
                metric_ranges={n: ends for n, ends in self.metric_ranges.items() if n == name},
            )
            for name, metric, goal in [
                (self.metric_name, self.metric, self.goal),
                *((name, name, goal) for name, goal in rest.items()),
            ]
        )

    def view_history(self, view: StudyConfig, history: Sequence[Trial]) -> list[Trial]:
        """The trials of this study as those of one of its views.

        Failed and pending trials are the same in every view; a trial without the view's metric is
        left out.

        Args:
            view: One of `views`.
            history: Trials of this study.
        """
        known = [(trial, self.metrics_of(trial).get(view.metric_name)) for trial in history]
        return [
            replace(trial, value=value) if trial.has_value else trial
            for trial, value in known
            if not trial.has_value or value is not None
        ]

    def gains(self, trials: Sequence[Trial]) -> list[float | None]:
        """Values of the metric with its sign, larger is better; None where a trial has none."""
        return [None if trial.value is None else self.sign * trial.value for trial in trials]

    def metrics_of(self, trial: Trial) -> dict[str, float]:
        """What is known of a trial's metrics, by the names of the views; empty if it failed."""
        if trial.value is None:
            return {}
        return {**trial.metrics, self.metric_name: trial.value}

    def keeps_limits(self, trial: Trial) -> bool:
        """Whether a trial has the metrics that are limited, and all keep their limits."""
        metrics = self.metrics_of(trial)
        return all(
            name in metrics and limit.violation(metrics[name]) <= 0
            for name, limit in self.limits.items()
        )

    @property
    def metric_name(self) -> str:
        """The metric in words: its name, or the weighted sum spelled out."""
        return metric_name(self.metric)

    @property
    def sign(self) -> float:
        """1.0 when the metric is maximized, -1.0 when it is minimized."""
        return 1.0 if self.goal == "maximize" else -1.0

    @property
    def needed(self) -> list[str]:
        """Names of the metrics that a trial must have."""
        first = self.metric.weights if isinstance(self.metric, Weighted) else [self.metric]
        return list(dict.fromkeys([*first, *self.further_goals, *self.limits]))

    def measure(self, value: float | Mapping[str, float]) -> tuple[float, dict[str, float]]:
        """Turn what was observed into the one searched value and all stored metrics.

        Args:
            value: The metric's value, or a mapping of several metrics by name.

        Returns:
            The searched value (maybe NaN or infinite), and the metrics given by name.

        Raises:
            MetricError: A needed metric is missing, or something is not a number.
        """
        weights = self.metric.weights if isinstance(self.metric, Weighted) else {self.metric: 1.0}
        if not isinstance(value, Mapping):
            if isinstance(self.metric, Weighted) or self.several:
                verb = "has" if self.several else "weighs"
                raise MetricError(
                    f"this study {verb} {sorted(self.needed)}; "
                    f"observe a mapping with these metrics, got {value!r}"
                )
            return _number(f"metric {self.metric!r}", value), {}
        metrics = {str(name): _number(f"metric {name!r}", v) for name, v in value.items()}
        for name in self.needed:
            if name not in metrics:
                raise MetricError(f"metric {name!r} is missing; got {sorted(metrics)}")
        return sum(weight * metrics[name] for name, weight in weights.items()), metrics

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON-ready values; `from_dict` reads them back."""
        metric: Any = self.metric
        if isinstance(metric, Weighted):
            metric = {"weighted": dict(metric.weights)}
        ranges = {
            name: [end if math.isfinite(end) else None for end in ends]
            for name, ends in self.metric_ranges.items()
        }
        return {
            "space": self.space.to_dict(),
            "metric": metric,
            "goal": self.goal,
            "metadata": dict(self.metadata),
            "fixed": dict(self.fixed),
            **({"further_goals": dict(self.further_goals)} if self.further_goals else {}),
            **({"limits": {n: str(v) for n, v in self.limits.items()}} if self.limits else {}),
            **({"metric_ranges": ranges} if ranges else {}),
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> StudyConfig:
        """Read a configuration written by `to_dict`.

        Raises:
            StudyError: A field is unknown or missing.
        """
        fields = dict(described)
        missing = {"space", "metric", "goal"} - fields.keys()
        known = {"space", "metric", "goal", "metadata", "fixed"}
        known |= {"further_goals", "limits", "metric_ranges"}
        unknown = fields.keys() - known
        if missing or unknown:
            raise StudyError(
                f"a study's description lacks {sorted(missing)} and has unknown {sorted(unknown)}"
            )
        metric = fields["metric"]
        if isinstance(metric, Mapping):
            metric = Weighted(metric.get("weighted", {}))
        return cls(
            space=SearchSpace.from_dict(fields["space"]),
            metric=metric,
            goal=fields["goal"],
            metadata=fields.get("metadata", {}),
            fixed=fields.get("fixed", {}),
            further_goals=fields.get("further_goals", {}),
            limits=read_limits(fields.get("limits", {})),
            metric_ranges=fields.get("metric_ranges", {}),
        )


def ranges_by_name(
    given: MetricRange | Mapping[str, MetricRange] | None, metric: str | Weighted
) -> Mapping[str, Any]:
    """The ranges of metrics by name: given so, or that of the one metric."""
    if given is None or isinstance(given, Mapping):
        return given or {}
    return {metric_name(metric): given}


def metric_name(metric: str | Weighted) -> str:
    """A metric in words: its name, or the weighted sum spelled out."""
    if isinstance(metric, str):
        return metric
    return " + ".join(f"{weight:g} {name}" for name, weight in metric.weights.items())


def _range(name: str, ends: Any) -> tuple[float, float]:
    """The ends of a metric's range; None is an open one."""
    if isinstance(ends, str) or not isinstance(ends, Sequence) or len(ends) != 2:
        raise MetricError(
            f"the range of metric {name!r} is a pair such as (0, 1) or (0, None), got {ends!r}"
        )
    low, high = (
        infinite if end is None else _number(f"the range of metric {name!r}", end)
        for end, infinite in zip(ends, (-math.inf, math.inf), strict=True)
    )
    if not low < high:
        raise MetricError(f"the range of metric {name!r} must go upwards, got {ends!r}")
    return low, high


def _check_goal(what: str, goal: object) -> None:
    if goal not in ("maximize", "minimize"):
        raise StudyError(f"{what} must be 'maximize' or 'minimize', got {goal!r}")


def _check_name(metric: object) -> None:
    if not isinstance(metric, str):
        raise MetricError(f"a metric's name must be text, got {metric!r}")
    if not metric.strip():
        raise MetricError("metric must be a name, got an empty one")


def _number(what: str, value: Any) -> float:
    """A number as a float: of Python, NumPy and torch, one in an array or tensor, a decimal."""
    if not isinstance(value, numbers.Real) and callable(getattr(value, "item", None)):
        try:
            value = value.item()
        except (RuntimeError, TypeError, ValueError):  # several elements, or none
            raise MetricError(
                f"{what} must be one number, got {type(value).__name__} of shape "
                f"{tuple(getattr(value, 'shape', ()))}"
            ) from None
    if isinstance(value, Decimal) and not value.is_snan():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise MetricError(f"{what} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise MetricError(f"{what} must be a number below 1e308, got a larger one") from None


def _finite(what: str, value: Any) -> float:
    number = _number(what, value)
    if not math.isfinite(number):
        raise MetricError(f"{what} must be finite, got {value!r}")
    return number
