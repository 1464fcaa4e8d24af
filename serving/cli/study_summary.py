"""What the shell shows of one study."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.cli import console
from optformer.serving.study.front import front_volume

if TYPE_CHECKING:
    from optformer.serving.study.study import Study


def write_summary(study: Study) -> None:
    """Write how a study's trials ended, why some failed, and the best one's parameters.

    With several goals there is no best one: it writes how good the Pareto front is.
    """
    trials, config = study.trials, study.config
    counts = Counter(trial.status for trial in trials)
    ended = [f"{counts[status]} {status.value}" for status in TrialStatus if counts[status]]
    console.write(f"study {study.name}: {', '.join(ended) or 'no trials'}")
    reasons = Counter(trial.reason for trial in trials if trial.status is TrialStatus.FAILED)
    for reason, count in reasons.most_common(5):
        console.write(f"  failed {'once' if count == 1 else f'{count} times'}: {reason}")
    completed = [trial for trial in trials if trial.status is TrialStatus.COMPLETED]
    if not completed:
        return
    if config.limits:
        kept = sum(map(config.keeps_limits, completed))
        limits = ", ".join(f"{name} {limit}" for name, limit in config.limits.items())
        console.write(f"{kept} of {len(completed)} completed trials keep the limits: {limits}")
    if config.further_goals:
        _write_front(study)
    elif study.best_trials:
        _write_best(study)


def _write_front(study: Study) -> None:
    found = front_volume(study.config, study.trials)
    if found is not None:
        volume, reference = found
        size = len(study.best_trials)
        worst = ", ".join(f"{n} {console.format_value(v)}" for n, v in reference.items())
        console.write(
            f"Pareto front: {size} {'trial' if size == 1 else 'trials'}, hypervolume "
            f"{console.format_value(volume)} from the worst values, {worst}"
        )
        console.write()


def _write_best(study: Study) -> None:
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
    """Write a table of the best trials, stopped ones too; with several goals of the front.

    With limits those that keep them come first.
    """
    config = study.config
    shown = study.best_trials if config.further_goals else study.trials
    ranked: list[Trial] = sorted(
        (trial for trial in shown if trial.has_value),
        key=lambda trial: (not config.keeps_limits(trial), -config.sign * (trial.value or 0.0)),
    )[:count]
    if not ranked:
        return
    names = study.config.space.names
    metrics = list(dict.fromkeys(name for trial in ranked for name in trial.metrics))
    if config.several or metrics == [config.metric]:  # the value once more
        metrics = [name for name in metrics if name != config.metric]
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
