"""Score predictions on the prefixes of real histories.

Everything is averaged within a task first, because its histories are not independent; intervals are
over tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from optformer.data.studies.errors import ConfigError, StudyError
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.training.bootstrap import Array, Estimate, mean
from optformer.training.evaluation.predictions.predictors import PredictionQuery, Predictor

PREFIXES = (10, 20, 40)
"""Numbers of known trials."""

TARGETS = 16
"""Most trials after a prefix that are predicted."""

MIN_TARGETS = 5
"""Fewer are not predicted: they have no rank correlation to speak of."""

MIN_KNOWN = 3
"""Measured trials that a prefix needs."""

LEVELS = np.linspace(0.05, 0.95, 19)
"""Probabilities at which calibration is looked at."""


@dataclass(frozen=True)
class PredictionScore:
    """One predictor on the histories of one source at one length.

    Attributes:
        source: Where the histories are from.
        known: Trials of each prefix.
        predictor: Who predicted.
        tasks: Different tasks among the histories.
        targets: Trials predicted.
        nll: Negative log-likelihood of the values' bins, in nats.
        nll_above_reference: `nll` less that of the reference on the same targets.
        coverage_50: Share of values inside the central 50 % interval.
        coverage_90: Share of values inside the central 90 % interval.
        calibration_error: Estimate over `LEVELS` of the distance between the level and the share of
            values below the predicted quantile of that level (Kuleshov et al. 2018).
        rank_correlation: Spearman's of predictions and values after one prefix; 0 when the
            predictions are all equal. Prefixes whose values are all equal do not count.
        observed: Share of values below the predicted quantile at each of `LEVELS`.
    """

    source: str
    known: int
    predictor: str
    tasks: int
    targets: int
    nll: Estimate
    nll_above_reference: Estimate
    coverage_50: Estimate
    coverage_90: Estimate
    calibration_error: float
    rank_correlation: Estimate | None
    observed: tuple[float, ...]


@dataclass(frozen=True)
class _Prefix:
    """What one predictor did after one prefix of one history."""

    source: str
    task: str
    known: int
    predictor: str
    targets: int
    nll: float
    coverage_50: float
    coverage_90: float
    observed: Array  # share of values below each level
    rank_correlation: float  # NaN when the values are all equal


def score_predictions(
    histories: Sequence[RecordedStudy],
    predictors: Mapping[str, Predictor],
    reference: str,
    *,
    seed: int = 0,
    progress: bool = False,
) -> list[PredictionScore]:
    """Let all predictors answer the same queries.

    Args:
        histories: What is predicted.
        predictors: Name to predictor.
        reference: The name of the one whose likelihood the others are compared with.
        seed: Seed of where a value lies inside its bin, which makes exact predictions exactly
            calibrated.
        progress: Show a progress bar on standard error.

    Returns:
        By source, length and predictor.

    Raises:
        ConfigError: The reference is no predictor.
        StudyError: No history is long enough.
    """
    if reference not in predictors:
        raise ConfigError(f"reference must be one of {sorted(predictors)}, got {reference!r}")
    rng = np.random.default_rng(seed)
    answers: dict[tuple[str, int, str], list[_Prefix]] = {}
    for history in tqdm(histories, unit="history", disable=not progress):
        for known, query in _queries(history):
            inside = rng.random(len(query.values))
            for name, predictor in predictors.items():
                found = _score(history, known, query, name, predictor, inside)
                answers.setdefault((history.source, known, name), []).append(found)
    if not answers:
        raise StudyError(
            f"no history has {PREFIXES[0]} trials and {MIN_TARGETS} measured ones after them, "
            "or all are without values; give longer histories"
        )
    order = {source: i for i, source in enumerate(dict.fromkeys(key[0] for key in answers))}
    return [
        _summary(answers[key], answers[key[0], key[1], reference])
        for key in sorted(answers, key=lambda key: (order[key[0]], key[1]))
    ]


def _queries(history: RecordedStudy) -> Iterator[tuple[int, PredictionQuery]]:
    for known in PREFIXES:
        prefix, ahead = history.trials[:known], history.trials[known : known + TARGETS]
        measured = [(trial.params, trial.value) for trial in ahead if trial.value is not None]
        points = [point for point, _ in measured]
        enough = sum(trial.has_value for trial in prefix) >= MIN_KNOWN
        if len(prefix) == known and enough and len(measured) >= MIN_TARGETS:
            values = np.array([value for _, value in measured], dtype=np.float64)
            yield (
                known,
                PredictionQuery(history.config, prefix, points, values),
            )


def _score(
    history: RecordedStudy,
    known: int,
    query: PredictionQuery,
    name: str,
    predictor: Predictor,
    inside: Array,
) -> _Prefix:
    answer = predictor(query)
    pit = answer.below + inside * answer.inside  # uniform when the predictions are right
    gains = history.config.sign * query.values
    correlation = np.nan
    if np.ptp(gains) > 0:
        varied = np.ptp(answer.centre) > 0
        correlation = float(spearmanr(answer.centre, gains).statistic) if varied else 0.0
    return _Prefix(
        source=history.source,
        task=history.task,
        known=known,
        predictor=name,
        targets=len(gains),
        nll=float(-np.log(answer.inside).mean()),
        coverage_50=float((np.abs(pit - 0.5) <= 0.25).mean()),
        coverage_90=float((np.abs(pit - 0.5) <= 0.45).mean()),
        observed=(pit[:, None] <= LEVELS).mean(axis=0),
        rank_correlation=correlation,
    )


def _summary(found: Sequence[_Prefix], reference: Sequence[_Prefix]) -> PredictionScore:
    tasks = list(dict.fromkeys(prefix.task for prefix in found))
    owner = np.array([tasks.index(prefix.task) for prefix in found])

    def by_task(values: Sequence[float] | Sequence[Array]) -> Array:
        rows = np.array(values, dtype=np.float64)
        return np.stack([rows[owner == k].mean(axis=0) for k in range(len(tasks))])

    nll = by_task([prefix.nll for prefix in found])
    observed = by_task([prefix.observed for prefix in found]).mean(axis=0)
    ranked = [prefix for prefix in found if not np.isnan(prefix.rank_correlation)]
    first = found[0]
    return PredictionScore(
        source=first.source,
        known=first.known,
        predictor=first.predictor,
        tasks=len(tasks),
        targets=sum(prefix.targets for prefix in found),
        nll=mean(nll),
        nll_above_reference=mean(nll - by_task([prefix.nll for prefix in reference])),
        coverage_50=mean(by_task([prefix.coverage_50 for prefix in found])),
        coverage_90=mean(by_task([prefix.coverage_90 for prefix in found])),
        calibration_error=float(np.abs(observed - LEVELS).mean()),
        rank_correlation=_mean_rank_correlation(ranked),
        observed=tuple(observed.tolist()),
    )


def _mean_rank_correlation(ranked: Sequence[_Prefix]) -> Estimate | None:
    """None when no prefix has values that differ."""
    tasks = dict.fromkeys(prefix.task for prefix in ranked)
    means = [np.mean([p.rank_correlation for p in ranked if p.task == task]) for task in tasks]
    return mean(np.array(means, dtype=np.float64)) if means else None
