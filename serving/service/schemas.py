"""What requests and answers look like; unknown fields of a request are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from optformer.planning.acquisition import STRATEGIES
from optformer.serving.service.wire import number_from_wire
from optformer.serving.study.study import Study

MAX_COUNT = 256
"""Trials of one request."""

MAX_POINTS = 1000
"""Points of one request for predictions."""

MAX_ATTRIBUTE = 10_000
"""Characters of a user attribute, as JSON."""

MAX_LEASE = 30 * 86_400.0
"""Seconds of the longest lease."""

_NAME_CHARACTERS = 200

_Whole = Annotated[int, Field(ge=0, le=2**63 - 1)]
_Lease = Annotated[float, Field(gt=0, le=MAX_LEASE)]
_Number = float | Literal["NaN", "Infinity", "-Infinity"]
_Scalar = bool | int | float | str | None
_Params = dict[str, _Scalar]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewStudy(_Request):
    """A study to create.

    Attributes:
        name: Its name; drawn when absent.
        config: Space, metric, goal and more, as `StudyConfig.to_dict` writes it.
        seed: Seed of its suggestions; drawn when absent.
        strategy: How suggestions are chosen.
        pruner: Which trials stop early, as in "median(n_warmup_steps=3)".
    """

    name: str | None = Field(None, min_length=1, max_length=_NAME_CHARACTERS)
    config: dict[str, Any]
    seed: _Whole | None = None
    strategy: str = "ei"
    pruner: str | None = Field(None, max_length=200)

    @field_validator("strategy")
    @classmethod
    def _is_a_strategy(cls, strategy: str) -> str:
        if strategy not in STRATEGIES:
            raise PydanticCustomError("strategy", f"one of {list(STRATEGIES)}")
        return strategy

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and (not name.isprintable() or not name.strip(" .")):
            raise PydanticCustomError("name", "characters that can be seen, not dots alone")
        return name


class Ask(_Request):
    """A request for suggestions.

    Attributes:
        count: How many trials.
        fixed: Parameters held at one value for this request.
        budget: How many trials the study is to have; a request for one trial is answered with none
            when there are enough.
        worker: Who runs the trials, for people to read.
        lease: Seconds after the last sign of life of whoever runs a trial when it is given up; the
            server's own number when absent.
    """

    count: int = Field(1, ge=1, le=MAX_COUNT)
    fixed: _Params = {}
    budget: _Whole | None = None
    worker: str | None = Field(None, max_length=200)
    lease: _Lease | None = None

    @model_validator(mode="after")
    def _one_within_a_budget(self) -> Ask:
        if self.budget is not None and (self.count != 1 or self.fixed):
            raise PydanticCustomError(
                "budget", "with a budget a request is for one trial with nothing fixed"
            )
        return self


class Outcome(_Request):
    """What became of a trial.

    Attributes:
        value: The metric, or several metrics by name.
        failed: Why there is none, if it failed.
        stopped: Whether it was stopped early; without a value, with what it reported last.
    """

    value: _Number | dict[str, _Number] | None = None
    failed: str | None = None
    stopped: bool = False

    @model_validator(mode="after")
    def _value_or_failure(self) -> Outcome:
        if self.failed is not None and (self.value is not None or self.stopped):
            raise PydanticCustomError("outcome", "give a value or why it failed, not both")
        if self.failed is None and self.value is None and not self.stopped:
            raise PydanticCustomError("outcome", "give a value or why it failed")
        return self

    @property
    def measured(self) -> float | dict[str, float] | None:
        """The value as `Study.observe` takes it."""
        return None if self.value is None else _numbers(self.value)


class Evaluated(Outcome):
    """A point that was evaluated elsewhere, and what became of it."""

    params: _Params


class Report(_Request):
    """What a trial measured at a step."""

    value: _Number | dict[str, _Number]
    step: _Whole

    @property
    def measured(self) -> float | dict[str, float]:
        """The value as `Trial.report` takes it."""
        measured: float | dict[str, float] = _numbers(self.value)
        return measured


class Enqueued(_Request):
    """Values of some or all parameters of a trial that is to be handed out first."""

    params: _Params


class UserAttribute(_Request):
    """Something else about a trial, anything that JSON can hold."""

    key: str = Field(min_length=1, max_length=200)
    value: Any

    @field_validator("value")
    @classmethod
    def _is_short(cls, value: Any) -> Any:
        if len(json.dumps(value)) > MAX_ATTRIBUTE:
            raise PydanticCustomError(
                "attribute", f"JSON of at most {MAX_ATTRIBUTE} characters, as one text"
            )
        return value


class Beat(_Request):
    """A sign of life of whoever runs a trial.

    Attributes:
        worker: Who takes the trial over, with a lease.
        lease: Another lease, in seconds; the trial keeps its own when absent.
    """

    worker: str | None = Field(None, max_length=200)
    lease: _Lease | None = None


class Points(_Request):
    """Complete points of the space."""

    points: list[_Params] = Field(max_length=MAX_POINTS)


class Stale(_Request):
    """Which pending trials are given up.

    Attributes:
        older_than: Seconds since their start, for trials whose owner is not known.
    """

    older_than: float | None = Field(None, ge=0, allow_inf_nan=False)


class StudyAnswer(BaseModel):
    """What is known about a study besides its trials.

    Attributes:
        lease: Seconds that a client has a trial for after its last sign of life, unless it asks for
            others.
    """

    name: str
    config: dict[str, Any]
    seed: int
    strategy: str
    pruner: str | None
    lease: float

    @classmethod
    def of(cls, study: Study, name: str, lease: float) -> StudyAnswer:
        """Describe a study by the name that its owner gave it."""
        record = study.record
        return cls(
            name=name,
            config=record.config.to_dict(),
            seed=record.seed,
            strategy=record.strategy,
            pruner=record.pruner,
            lease=lease,
        )


class Names(BaseModel):
    """The names of the studies, sorted."""

    names: list[str]


class Prediction(BaseModel):
    """What the model expects of a point; numbers in the metric's units and sign."""

    mean: _Number
    std: _Number
    quantiles: dict[str, _Number]
    probability_of_improvement: _Number
    probability_of_failure: _Number
    expected_improvement: _Number
    probability_of_keeping: _Number
    metrics: dict[str, Prediction]


class Explanation(BaseModel):
    """Why a trial was suggested."""

    prediction: Prediction | None
    nearest: list[int]
    source: str


class TrialAnswer(BaseModel):
    """A trial; times are in UTC."""

    number: int
    params: _Params
    status: Literal["pending", "completed", "failed", "stopped"]
    value: float | None
    reason: str | None
    metrics: dict[str, float]
    explanation: Explanation | None
    intermediate_values: dict[str, _Number]
    user_attrs: dict[str, Any]
    datetime_start: str | None
    datetime_complete: str | None


class Trials(BaseModel):
    """Trials in order."""

    trials: list[TrialAnswer]


class Observed(BaseModel):
    """A trial as recorded, and what its observer should be warned of."""

    trial: TrialAnswer
    warnings: list[str]


class Warned(BaseModel):
    """What whoever reported should be warned of."""

    warnings: list[str]


class ShouldPrune(BaseModel):
    """Whether a trial is to stop early."""

    should_prune: bool


class Predictions(BaseModel):
    """One prediction a point."""

    predictions: list[Prediction]


class Explained(BaseModel):
    """Why a trial was suggested; null where that is not known."""

    explanation: Explanation | None


class Importances(BaseModel):
    """Parameters and their shares in what the metric depends on, the largest first."""

    importances: dict[str, float]


class Health(BaseModel):
    """Whether the server and its storage answer."""

    status: Literal["ok"]
    version: str


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    field: str
    expected: str
    got: str


class ErrorAnswer(BaseModel):
    """Why a request was refused.

    Attributes:
        error: Kind of error: the name of the exception that the library raises.
        message: What was wrong, what was given and what to do.
        faults: The fields that are wrong.
    """

    error: str
    message: str
    faults: list[Fault]


def _numbers(value: float | str | Mapping[str, float | str]) -> Any:
    if isinstance(value, Mapping):
        return {name: number_from_wire(number) for name, number in value.items()}
    return number_from_wire(value)
