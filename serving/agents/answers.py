"""What the tools answer, in text that an agent can act on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus

_SOURCES = {
    "start": "one of the first points, which complement each other",
    "space": "one of many points all over the space",
    "optimum": "drawn from where the model believes that the best lies",
    "mutation": "a variation of a good trial",
    "local": "a refinement of a good point",
}


def number(value: float) -> str:
    """A number as agents read it: six significant digits."""
    return f"{value:.6g}"


def point(params: Mapping[str, Any]) -> str:
    """A point in full, as JSON."""
    return json.dumps(dict(params), ensure_ascii=False)


def aims(config: StudyConfig) -> str:
    """Goals and limits."""
    goals = [f"{goal} {name}" for name, goal in config.goals.items()]
    return ", ".join([*goals, *(f"{name} {limit}" for name, limit in config.limits.items())])


def counts(trials: Sequence[Trial]) -> str:
    """How many trials ended in which way."""
    found = Counter(trial.status for trial in trials)
    ended = [f"{found[status]} {status.value}" for status in TrialStatus if found[status]]
    return ", ".join(ended) or "no trials"


def outcome(config: StudyConfig, trial: Trial) -> str:
    """What became of a trial."""
    if trial.value is None:
        return f"failed: {trial.reason}" if trial.status is TrialStatus.FAILED else "pending"
    measured = ", ".join(f"{name} {number(v)}" for name, v in config.metrics_of(trial).items())
    early = "stopped early at " if trial.status is TrialStatus.STOPPED else ""
    beyond = "" if config.keeps_limits(trial) else " (beyond the limits)"
    return f"{early}{measured}{beyond}"


def how_to_observe(study: str, config: StudyConfig, trial: str, *, prunes: bool) -> str:
    """What to do with a suggested trial.

    Args:
        study: Name of the study.
        config: Its configuration.
        trial: The trial's number, or a word for it.
        prunes: Whether a pruner is to be asked.
    """
    names = config.needed
    single = len(names) == 1 and not config.several and config.metric == names[0]
    values = ", ".join(f"{json.dumps(name)}: ..." for name in names)
    value = f"value=<{names[0]}>" if single else f"value={{{values}}}"
    steps = f" At every step call report(trial={trial}, step, value)." if prunes else ""
    return (
        f"Run it.{steps} Then call observe(study={json.dumps(study, ensure_ascii=False)}, "
        f'trial={trial}, {value}), or failed="why" if it fails.'
    )


def expectation(config: StudyConfig, prediction: Any, best: Trial | None) -> str:
    """What the model expects of a point.

    Args:
        config: The study's configuration.
        prediction: The model's prediction.
        best: The best trial so far, if there is one.
    """
    each = prediction.metrics or {config.metric_name: prediction}
    told = [
        f"{name} {number(one.mean)} expected (90 % between {number(one.quantiles[0.05])} and "
        f"{number(one.quantiles[0.95])})"
        for name, one in each.items()
    ]
    if best is not None:
        told.append(
            f"{prediction.probability_of_improvement:.0%} chance to beat trial {best.number}, "
            f"expected gain {number(prediction.expected_improvement)}"
        )
    if config.limits:
        told.append(f"{prediction.probability_of_keeping:.0%} chance to keep the limits")
    if prediction.probability_of_failure >= 0.01:
        told.append(f"{prediction.probability_of_failure:.0%} chance to fail")
    return "; ".join(told)


def source(name: str) -> str:
    """How a suggestion was found."""
    return _SOURCES.get(name, name)


def ranking(config: StudyConfig, trials: Sequence[Trial], count: int) -> list[Trial]:
    """The best trials with a value, those that keep the limits first."""
    measured = [trial for trial in trials if trial.value is not None]
    return sorted(
        measured,
        key=lambda trial: (not config.keeps_limits(trial), -config.sign * (trial.value or 0.0)),
    )[:count]
