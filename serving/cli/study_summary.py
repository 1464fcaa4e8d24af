"""What the shell shows of one study."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.cli import console

if TYPE_CHECKING:
    from optformer.serving.study.study import Study


def write_summary(study: Study) -> None:
    """Write how a study's trials ended, why some failed, and the best one's parameters."""
    trials = study.trials
    counts = Counter(trial.status for trial in trials)
    ended = [f"{counts[status]} {status.value}" for status in TrialStatus if counts[status]]
    console.write(f"study {study.name}: {', '.join(ended) or 'no trials'}")
    reasons = Counter(trial.reason for trial in trials if trial.status is TrialStatus.FAILED)
    for reason, count in reasons.most_common(5):
        console.write(f"  failed {'once' if count == 1 else f'{count} times'}: {reason}")
    if not counts[TrialStatus.COMPLETED]:
        return
    best = study.best_trial
    console.write(
        f"best {study.config.metric_name}: {console.format_value(best.value)} (trial {best.number})"
    )
    console.write()
    console.table(  # values in full, to be copied
        ["parameter", "value"], [(name, str(value)) for name, value in best.params.items()]
    )
    console.write()


def write_ranking(study: Study, count: int) -> None:
    """Write a table of the best trials, stopped ones too."""
    ranked: list[Trial] = sorted(
        (trial for trial in study.trials if trial.has_value),
        key=lambda trial: -study.config.sign * (trial.value or 0.0),
    )[:count]
    if not ranked:
        return
    names = study.config.space.names
    metrics = list(dict.fromkeys(name for trial in ranked for name in trial.metrics))
    if metrics == [study.config.metric]:  # the value once more
        metrics = []
    console.table(
        ["trial", study.config.metric_name, *metrics, *names],
        [
            [
                trial.number,
                trial.value,
                *(trial.metrics.get(name) for name in metrics),
                *(trial.params.get(name) for name in names),
            ]
            for trial in ranked
        ],
    )
