"""Studies: suggest points, observe what became of them, predict.

A `Study` is a thin shell. Its history, kept in a store, is the only state: a suggestion is a pure
function of configuration, history, count and seed.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from optformer.data.runtime.forks import freed_by_fork
from optformer.data.runtime.random_numbers import random_untouched
from optformer.data.studies.errors import (
    OptFormerWarning,
    StorageError,
    StudyError,
    TrialError,
)
from optformer.data.studies.limits import read_limits
from optformer.data.studies.parameters import Categorical, Ordinal, Value, is_whole
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import (
    Goal,
    MetricRange,
    StudyConfig,
    Weighted,
    ranges_by_name,
)
from optformer.data.studies.study_tables import trial_columns
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.planning.acquisition import STRATEGIES
from optformer.serving.study.front import pareto_front
from optformer.serving.study.optimization import Callback, Objective, optimize
from optformer.serving.study.outcomes import decide_outcome
from optformer.serving.study.owners import LEASE_SECONDS
from optformer.serving.study.planning_ahead import plan_ahead
from optformer.serving.study.reporting import Reporter, checked_pruner
from optformer.serving.study.storage import StorageLike, create_store, open_store
from optformer.serving.study.suggesting import StudyPlanner, Suggester
from optformer.serving.study.trial_store import StudyRecord, TrialStore, unknown_trial
from optformer.tokenization.metadata import check_limits

if TYPE_CHECKING:
    import pandas as pd

    from optformer.planning.prediction import Prediction
    from optformer.serving.study.pruning import PrunerLike

_RECLAIM_SECONDS = 10.0  # between two looks at who is gone, which cost a read


class Study:
    """One search: a space, a metric with its goal, or several of them, and the trials so far.

    Studies are made by `create_study` and `load_study`. All methods may be called from several
    threads; several processes share a study by opening it from one storage.

    Args:
        record: Configuration, seed, strategy and model.
        store: Where the trials are kept.
        name: The study's name.
        planner: Who suggests; None loads the record's model at the first suggestion.
        pruner: Which trials stop early; None takes the record's.
    """

    def __init__(
        self,
        record: StudyRecord,
        store: TrialStore,
        *,
        name: str,
        planner: StudyPlanner | None = None,
        pruner: PrunerLike | None = None,
    ) -> None:
        self._record = record
        self._store = store
        self._name = name
        self._suggester = Suggester(record, store, name, planner)
        self._explanations: dict[int, Any] = {}
        self._pending: dict[int, Trial] = {}  # suggested here; spares a read at observe
        self._lock = freed_by_fork(threading.RLock())
        pruner = record.pruner if pruner is None else pruner
        self._reporter = Reporter(record.config, store, name, pruner, self._lock)
        self._described: dict[str, Any] = {}  # what `load_study` was told
        self._stopping = threading.Event()  # ends `optimize`
        self._turn = freed_by_fork(threading.Lock())  # of the threads that suggest
        self._reclaimed = 0.0  # when stale trials were last looked for

    def __repr__(self) -> str:
        config = self.config
        aims = ", ".join(f"{goal} {name!r}" for name, goal in config.goals.items())
        aims += "".join(f", {name!r} {limit}" for name, limit in config.limits.items())
        return f"Study({self.name!r}, {aims}, seed={self.seed})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A stored study is copied by its address and name: the copy opens it again."""
        if self._store.address is None:
            raise StudyError(
                f"study {self.name!r} is in the memory of this process and cannot be copied; "
                "create it with storage=, such as 'sqlite:///studies.db'"
            )
        options = {
            "model": self._record.model,
            "strategy": self._record.strategy,
            "pruner": self._reporter.pruner,
            **self._described,
        }
        return _reopened, (self._store.address, self.name, options)

    @property
    def record(self) -> StudyRecord:
        """What is stored about the study besides its trials."""
        return self._record

    @property
    def config(self) -> StudyConfig:
        """Space, metric, goal, metadata and fixed values."""
        return self._record.config

    @property
    def name(self) -> str:
        """The study's name, unique in its storage."""
        return self._name

    @property
    def seed(self) -> int:
        """Seed of the suggestions; with the history it determines them."""
        return self._record.seed

    @property
    def strategy(self) -> str:
        """How suggestions are chosen, one of `STRATEGIES`."""
        return self._record.strategy

    @property
    def prunes(self) -> bool:
        """Whether a pruner stops trials early."""
        return self._reporter.pruner is not None

    @property
    def trials(self) -> list[Trial]:
        """All trials by number, those of other processes on the same storage too.

        Raises:
            StorageError: The storage cannot be read.
        """
        with self._lock:
            return [self._bound(trial) for trial in self._store.all()]

    @property
    def best_trial(self) -> Trial:
        """The completed trial of the best value that keeps the limits, the earliest of equals.

        Raises:
            StudyError: No trial is completed yet, or none keeps the limits, or the study has
                several goals.
        """
        if self.config.further_goals:
            raise StudyError(
                f"study {self.name!r} has several goals, {list(self.config.goals)}, so no trial "
                "is the best in all; its best_trials are the Pareto front"
            )
        completed = [trial for trial in self.trials if trial.status is TrialStatus.COMPLETED]
        if not completed:
            raise StudyError(f"study {self.name!r} has no completed trial yet; observe one first")
        kept = [trial for trial in completed if self.config.keeps_limits(trial)]
        if not kept:
            limits = ", ".join(f"{name} {limit}" for name, limit in self.config.limits.items())
            raise StudyError(f"no trial of study {self.name!r} keeps its limits yet: {limits}")
        return max(kept, key=lambda trial: self.config.sign * (trial.value or 0.0))

    @property
    def best_trials(self) -> list[Trial]:
        """The Pareto front by number: completed trials that keep the limits and none other beats.

        A trial beats another one when it is at least as good in every goal and better in one. With
        one goal these are the trials of the best value. Empty before a trial keeps the limits.
        """
        return pareto_front(self.config, self.trials)

    @property
    def best_value(self) -> float:
        """The value of `best_trial`.

        Raises:
            StudyError: No trial is completed yet.
        """
        value = self.best_trial.value
        assert value is not None  # noqa: S101 - it is completed
        return value

    @property
    def best_params(self) -> dict[str, Value]:
        """A copy of the parameters of `best_trial`.

        Raises:
            StudyError: No trial is completed yet.
        """
        return dict(self.best_trial.params)

    @overload
    def suggest(self, count: None = None, *, fixed: Mapping[str, Value] | None = None) -> Trial: ...
    @overload
    def suggest(self, count: int, *, fixed: Mapping[str, Value] | None = None) -> list[Trial]: ...
    def suggest(
        self, count: int | None = None, *, fixed: Mapping[str, Value] | None = None
    ) -> Trial | list[Trial]:
        """Propose what to try next; the trials are recorded as pending at once.

        Trials that were enqueued with Optuna come first, with the parameters they were given.
        Pending trials of processes that were killed are given up first; see `fail_stale_trials`.

        Args:
            count: How many trials; without it, one that is not in a list. The trials of one call
                are ordered, and each is chosen knowing the earlier ones.
            fixed: Parameters held at one value for this call, besides those of the study.

        Returns:
            A pending trial, or a list of `count`.

        Raises:
            StudyError: `count` is not a positive whole number.
            SearchSpaceError: A fixed value is not legal, or contradicts the study's own.
            SpaceExhaustedError: A finite space has fewer points left than are asked for.
            StorageError: A trial could not be stored; nothing is lost, the call can be repeated.
        """
        if count is not None and not is_whole(count):
            raise StudyError(f"count must be a whole number, got {count!r}")
        if count is not None and count < 1:
            raise StudyError(f"count must be at least 1, got {count}")
        held = self._suggester.held(fixed or {})
        with self._suggesting():
            trials = self._suggest(1 if count is None else int(count), held)
        return trials[0] if count is None else trials

    def preview(self) -> Trial:
        """What `suggest` would propose now, with its explanation; nothing is stored.

        Returns:
            A trial that is not part of the study, with the number that it would have; an enqueued
            one, without explanation, where somebody has enqueued a trial.

        Raises:
            SpaceExhaustedError: Every point of a finite space was tried.
            StorageError: The storage cannot be read.
        """
        with self._lock:
            return self._suggester.preview()

    def suggest_within(self, budget: int) -> Trial | None:
        """Propose one trial, unless the study has enough: for workers that share a number of them.

        What counts are trials that have ended, interrupted ones aside, and pending trials whose
        process is known and there. It is counted in turn with all who suggest, where the storage
        knows turns, so that workers together never run more than `budget` trials.

        Args:
            budget: How many trials the study is to have.

        Returns:
            A pending trial; None when there are enough.

        Raises:
            SpaceExhaustedError: Every point of a finite space was tried.
            StorageError: The trial could not be stored; the call can be repeated.
        """
        with self._suggesting():
            if self._has(budget):
                return None
            (trial,) = self._suggest(1, {})
            return trial

    def _has(self, budget: int) -> bool:
        """Whether there are as many trials as were asked for; see `suggest_within`."""
        counted = [
            trial
            for trial in self._store.all()
            if trial.status is not TrialStatus.PENDING and not trial.interrupted
        ]
        return len(counted) + len(self._store.under_way()) >= budget

    def observe(
        self,
        trial: Trial | Mapping[str, Value],
        value: float | Mapping[str, float] | None = None,
        *,
        failed: str | BaseException | None = None,
        stopped: bool = False,
    ) -> Trial:
        """Record what became of a trial, once and for all.

        A metric that is NaN or infinite is recorded as a failure, with a warning.

        Args:
            trial: A pending trial of this study; or the parameters of a point evaluated elsewhere,
                which is added as a new trial.
            value: The metric in its own units and sign, or several metrics by name, which several
                goals and limits need. Numbers of NumPy and torch will do, also in an array or
                tensor of one element, and decimals.
            failed: Why there is no value, when it failed: a text, or the exception that ended it.
            stopped: Whether it was stopped early and `value` is its last one; without a value it
                is the one that the trial reported at its latest step.

        Returns:
            The trial as recorded.

        Raises:
            TrialError: The trial was observed before, or is not one of this study; or both a value
                and a failure are given, or neither.
            MetricError: A metric of the study is missing, or something is not a number.
            SearchSpaceError: A parameter's value is outside the space.
            StorageError: The outcome could not be stored; the trial stays pending, repeat the call.
        """
        finished, warning = self._observe(trial, value, failed, stopped)
        if warning:
            warnings.warn(warning, OptFormerWarning, stacklevel=2)
        return finished

    def _observe(
        self,
        trial: Trial | Mapping[str, Value],
        value: float | Mapping[str, float] | None,
        failed: str | BaseException | None,
        stopped: bool,
    ) -> tuple[Trial, str | None]:
        """The trial as recorded, and what its observer should be warned of."""
        with self._lock:
            if isinstance(trial, Trial):
                pending = self._own(trial)
                if stopped is True and value is None:
                    pending = self._store.all()[pending.number]  # with what it has reported
            elif isinstance(trial, Mapping):
                point = self.config.space.validate(trial)
                pending = Trial(number=-1, params=point, study=self.name)
            else:
                raise TrialError(
                    f"observe needs a trial or a mapping of parameters, got {trial!r}; "
                    "study.trials[number] is the trial of a number"
                )
            finished, warning = decide_outcome(self.config, pending, value, failed, stopped)
            if pending.number < 0:
                finished = self._store.append(finished)
            else:
                finished = self._store.update(finished)
                self._pending.pop(pending.number, None)
        return finished, f"trial {finished.number}: {warning}" if warning else None

    def enqueue(self, params: Mapping[str, Value]) -> Trial:
        """Have a trial handed out before any suggestion, such as one with today's settings.

        `suggest` hands enqueued trials out in order and lets the model choose what they leave
        open. Optuna sees them as its own enqueued trials.

        Args:
            params: Values of some or all parameters.

        Returns:
            The trial, pending.

        Raises:
            SearchSpaceError: A parameter is unknown, its value is not legal, or contradicts a value
                fixed for the whole study.
            StorageError: It could not be stored.
        """
        if not isinstance(params, Mapping):
            raise TrialError(f"enqueue needs a mapping of parameters, got {params!r}")
        held = self._suggester.held(params)
        with self._lock:
            return self._bound(self._store.enqueue(held))

    def optimize(
        self,
        objective: Objective,
        trials: int | None = 50,
        *,
        workers: int = 1,
        processes: bool = False,
        timeout: float | None = None,
        min_gain: float | None = None,
        callbacks: Sequence[Callback] = (),
        catch: type[BaseException] | Sequence[type[BaseException]] = (Exception,),
        progress: bool = True,
    ) -> None:
        """Search: suggest, evaluate and observe, until there is no more to do.

        The search ends after `trials` trials, after `timeout` seconds, when every point of a finite
        space was tried, when there is little to gain, or when `stop` is called. All it learns is in
        the study: another call goes on from there. Ctrl-C ends it as well, with a
        `KeyboardInterrupt`: finished trials stay, running ones are failed as interrupted, and their
        points may be suggested again.

        Args:
            objective: Takes a trial, whose parameters are `trial["name"]`, and returns the metric's
                value, or several metrics by name. What it raises is the reason of a failed trial.
                `raise optformer.TrialPruned` (or `optuna.TrialPruned`) ends a trial early with the
                value that it reported last. So does returning, with the returned value if there is
                one, after `trial.should_prune()` said so.
            trials: How many trials to run in this call; None for no limit.
            workers: How many trials to run at a time. One worker runs them in the calling thread,
                several run them in threads, and see each other's trials as pending.
            processes: Whether the workers are processes, for objectives that keep Python busy. Each
                has one thread for its linear algebra. The study must be in a storage, the objective
                a function of a module, and a script needs `if __name__ == "__main__":`.
            timeout: Seconds after which no trial begins; running ones end.
            min_gain: Ends the search when the model has expected less than this improvement, in
                the metric's units, of five trials in a row that it suggested. It says what the next
                trial brings on average: many more can still find something better.
            callbacks: Called with the study and each finished trial, in the calling thread.
            catch: Exceptions of the objective that fail their trial alone. Others end the search:
                their trial is failed, those that run are still observed, and the exception comes
                out.
            progress: Whether to show a bar, where the output is a terminal.

        Raises:
            StudyError: A setting is not understood; or with processes, study or objective cannot
                be copied.
            StorageError: An outcome could not be stored; a note of the error says which.
        """
        if min_gain is not None and self.config.further_goals:
            raise StudyError("min_gain is an improvement of one goal, and the study has several")
        optimize(
            self,
            objective,
            trials=trials,
            workers=workers,
            processes=processes,
            timeout=timeout,
            min_gain=min_gain,
            callbacks=callbacks,
            catch=(catch,) if isinstance(catch, type) else tuple(catch),
            progress=progress,
            stopping=self._stopping,
        )

    def stop(self) -> None:
        """Have `optimize` begin no further trial; for its objective and callbacks."""
        self._stopping.set()

    def fail_stale_trials(self, *, older_than: float | None = None) -> list[Trial]:
        """Fail the pending trials whose process was killed, as interrupted.

        The process that suggested a trial is its owner. One on this machine has ended when it does
        not run any more; one on another machine when it was not heard of for five minutes.
        Interrupted trials say nothing about their points, which may be suggested again; enqueued
        ones are enqueued again. What comes of one after all can still be observed and becomes a new
        trial.

        `suggest` does this by itself for owners that are gone and were not heard of for five
        minutes. Trials of a process that ended in order are left to whoever observes them.

        Args:
            older_than: Seconds since its start after which a pending trial without a known owner is
                failed, too: those that Optuna has started, and those whose process ended in order;
                never when absent.

        Returns:
            The trials that were failed.

        Raises:
            StorageError: The storage cannot be read or written.
        """
        with self._lock:
            return self._reclaim(grace=0.0, older_than=older_than)

    def adopt(self, trial: Trial, *, helper: int | None = None) -> None:
        """Make this process the owner of a pending trial that another one has suggested.

        It is then left alone, by whatever calls `fail_stale_trials`, as long as this process runs.

        Args:
            trial: The trial.
            helper: Number of a process on this machine that goes on with the trial when this one
                is killed, and whose trial it is then.

        Raises:
            TrialError: The trial is not pending, or not one of this study.
            StorageError: The storage cannot be read or written.
        """
        with self._lock:
            self._store.adopt(self._own(trial), helper)

    def _reclaim(self, *, grace: float, older_than: float | None = None) -> list[Trial]:
        self._reclaimed = time.time()
        failed = self._store.reclaim(grace=grace, older_than=older_than)
        for trial in failed:
            self._pending.pop(trial.number, None)
        return failed

    def predict(self, points: Sequence[Mapping[str, Value]]) -> list[Prediction]:
        """Predict the metric at points, from the trials so far.

        Args:
            points: Complete points of the space.

        Returns:
            One prediction a point, in the metric's own units and sign. With several goals or
            limits it is of the first one, and has the predictions of all in its `metrics`.

        Raises:
            SearchSpaceError: A point is not legal; the message names the parameter.
            StudyError: `points` is not a list.
        """
        if isinstance(points, Mapping) or not isinstance(points, Sequence):
            raise StudyError(f"predict needs a list of points, got {type(points).__name__}")
        valid = [self.config.space.validate(point) for point in points]
        if not valid:
            return []
        with self._lock:
            return self._suggester.predict(valid)

    def importances(
        self, evaluator: str = "ped_anova", *, metric: str | None = None
    ) -> dict[str, float]:
        """How much each parameter decides about the metric, of the trials that are completed.

        Args:
            evaluator: One of Optuna's: "ped_anova", which also rates conditional parameters,
                "fanova" or "mean_decrease_impurity", which rate those of all completed trials.
            metric: Another metric that the trials have.

        Returns:
            Parameters and their shares, which add up to 1, the largest first.

        Raises:
            StudyError: The evaluator is unknown, fewer than two completed trials have the metric,
                or it cannot rate them.
            SearchSpaceError: The space is one that Optuna cannot hold.
        """
        with random_untouched():
            from optformer.serving.study.importances import evaluate_importances

            return evaluate_importances(self.config, self.trials, evaluator, metric, self.seed)

    def trials_dataframe(self) -> pd.DataFrame:
        """All trials as a table, one a row.

        Returns:
            Columns `number`, `status`, `value` and `reason`, then `params.<name>` for every
            parameter of the space and `metrics.<name>` for every metric. A parameter without a
            value is missing (NaN); a choice that is None is None.
        """
        import pandas as pd

        columns: dict[str, Any] = dict(trial_columns(self.config, self.trials))
        for name, parameter in self.config.space.items():
            if isinstance(parameter, Categorical | Ordinal) and None in parameter.choices:
                cells = [trial.params.get(name, math.nan) for trial in self.trials]
                columns[f"params.{name}"] = pd.Series(cells, dtype=object)
        table = pd.DataFrame(columns)
        numbers = ["value", *(name for name in table if str(name).startswith("metrics."))]
        return table.astype(dict.fromkeys(numbers, float))

    @contextmanager
    def _suggesting(self) -> Iterator[None]:
        """The turn to suggest, with a planner or plan at hand and stale trials out of the way."""
        if self._suggester.ahead is None:
            with self._lock:
                self._suggester.planner()  # takes seconds, in which others may hold the lock
        # The turn comes first: whoever waits for it keeps no other thread from observing.
        with self._turn, self._store.suggest_lock(), self._lock:
            if time.time() - self._reclaimed >= _RECLAIM_SECONDS:
                self._reclaim(grace=LEASE_SECONDS)
            yield

    def _suggest(self, count: int, held: Mapping[str, Value]) -> list[Trial]:
        trials = self._suggester.hand_out(count, held)
        self._pending |= {trial.number: trial for trial in trials}
        missing = count - len(trials)
        for suggestion in self._suggester.plan(missing, held) if missing else []:
            point = self.config.space.validate(suggestion.params)
            trials.append(self._append(point, suggestion.explanation, trials))
        return [self._bound(trial) for trial in trials]

    def _append(self, point: dict[str, Value], explanation: Any, before: list[Trial]) -> Trial:
        try:
            trial = self._store.append(
                Trial(number=-1, params=point, study=self.name, explanation=explanation)
            )
        except StorageError as error:
            if not before:
                raise
            numbers = ", ".join(str(trial.number) for trial in before)
            raise StorageError(f"{error}; trials {numbers} of this call are pending") from error
        self._pending[trial.number] = trial
        if explanation is not None:
            self._explanations[trial.number] = explanation
        return trial

    def _bound(self, trial: Trial) -> Trial:
        """A trial as it is given away: with its explanation, and able to report while pending."""
        reporter = self._reporter if trial.status is TrialStatus.PENDING else None
        explanation = self._explanations.get(trial.number, trial.explanation)
        if reporter is None and explanation is None:
            return trial
        return replace(trial, explanation=explanation, reporter=reporter)

    def _own(self, trial: Trial) -> Trial:
        """The stored twin of a trial, after checking that it is one of this study."""
        if trial.study != self.name:
            raise TrialError(
                f"trial {trial.number} belongs to study {trial.study!r}, this is {self.name!r}"
            )
        stored = self._pending.get(trial.number)
        if stored is None:
            trials = self.trials
            if not 0 <= trial.number < len(trials):
                raise TrialError(unknown_trial(trial, len(trials)))
            stored = trials[trial.number]
        if stored.params != trial.params:
            self.config.space.validate(trial.params)
            raise TrialError(
                f"trial {trial.number} has {dict(stored.params)} in study {self.name!r}, "
                f"got {dict(trial.params)}; observe another point by its parameters alone"
            )
        return stored


def create_study(
    space: SearchSpace,
    *,
    metric: str | Weighted | None = None,
    goal: Goal | None = None,
    metrics: Mapping[str, Goal] | None = None,
    limits: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    fixed: Mapping[str, Value] | None = None,
    metric_range: MetricRange | Mapping[str, MetricRange] | None = None,
    storage: StorageLike | None = None,
    name: str | None = None,
    model: str | Path | None = None,
    strategy: str = "ei",
    pruner: PrunerLike | None = None,
    seed: int | None = None,
) -> Study:
    """Start a study.

    Args:
        space: What to search.
        metric: Name of the metric, or a `Weighted` sum of several.
        goal: "maximize" or "minimize".
        metrics: Instead of metric and goal, several goals by the names of their metrics:
            `{"accuracy": "maximize", "latency": "minimize"}`.
        limits: Limits that a trial must keep to count, by the name of the metric: `{"memory":
            "<= 8"}`. They may be of metrics with a goal, or of others.
        metadata: Free text about the task, which the model reads (task, data set, model, ...).
        fixed: Parameters held at one value for the whole study.
        metric_range: Least and most possible value of the metric, such as `(0, 1)`; None is an open
            end. Predictions keep to it. With several metrics, ranges by name.
        storage: Where to keep it: an SQL URL such as `sqlite:///studies.db`, a journal file
            (`journal:///studies.journal`, or a path ending in .journal or .log), or an Optuna
            storage. Without it the study lives in memory.
        name: Name of the study, unique in its storage; drawn when absent.
        model: Directory of a checkpoint; the shipped one when absent.
        strategy: How suggestions are chosen: "ei", "pi", "ucb", "ts" or "optimum".
        pruner: Which trials stop early: a name of `PRUNERS`, with settings if need be, as in
            "median" or "percentile(percentile=10, n_warmup_steps=5)"; or a pruner of Optuna. A name
            is stored with the study, so that all its processes stop alike; an object belongs to
            this one alone. None stops no trial.
        seed: Seed of the suggestions, at least 0; drawn and recorded when absent.

    Raises:
        StudyError: A setting is not understood, or the storage has a study of this name.
        MetricError: The metric has no name, or two goals, or a limit is none.
        SearchSpaceError: A fixed value is not legal.
        TokenizationError: The space has more parameters or choices than the model can read.
        StorageError: The storage cannot be opened or written.
    """
    config = new_config(
        space,
        metric=metric,
        goal=goal,
        metrics=metrics,
        limits=limits,
        metadata=metadata,
        fixed=fixed,
        metric_range=metric_range,
    )
    record = new_record(config, seed=seed, strategy=strategy, model=model, pruner=pruner)
    name = f"study-{uuid.uuid4().hex[:8]}" if name is None else name
    if not isinstance(name, str) or not name.strip():
        raise StudyError(f"name must be text, got {name!r}")
    store = create_store(storage, name, record, prunes=pruner is not None)
    return Study(record, store, name=name, pruner=pruner)


def new_config(
    space: SearchSpace,
    *,
    metric: str | Weighted | None,
    goal: Goal | None,
    metrics: Mapping[str, Goal] | None,
    limits: Mapping[str, str] | None,
    metadata: Mapping[str, str] | None,
    fixed: Mapping[str, Value] | None,
    metric_range: MetricRange | Mapping[str, MetricRange] | None,
) -> StudyConfig:
    """The configuration of a new study, checked; arguments and errors as `create_study`."""
    metric, goal, further = _aims(metric, goal, metrics)
    return StudyConfig(
        space=space,
        metric=metric,
        goal=goal,
        metadata=metadata or {},
        fixed=fixed or {},
        further_goals=further,
        limits=read_limits(limits or {}),
        metric_ranges=ranges_by_name(metric_range, metric),
    )


def new_record(
    config: StudyConfig,
    *,
    seed: int | None = None,
    strategy: str = "ei",
    model: str | Path | None = None,
    pruner: PrunerLike | None = None,
) -> StudyRecord:
    """What is to be stored about a new study, checked; arguments and errors as `create_study`."""
    check_limits(config.space)
    checked_pruner(pruner, config)
    strategy = _checked_strategy(strategy)
    if config.several and strategy != "ei":
        raise StudyError(f"several goals and limits need the strategy 'ei', got {strategy!r}")
    return StudyRecord(
        config=config,
        seed=secrets.randbelow(2**32) if seed is None else _checked_seed(seed),
        strategy=strategy,
        model=_recorded_model(model),
        pruner=pruner if isinstance(pruner, str) else None,
    )


def load_study(
    *,
    storage: StorageLike,
    name: str | None = None,
    model: str | Path | None = None,
    strategy: str | None = None,
    pruner: PrunerLike | None = None,
    space: SearchSpace | None = None,
    metric: str | None = None,
    goal: Goal | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Study:
    """Open a stored study, where it was left; or a study that Optuna wrote.

    The space of an Optuna study is the union of its trials' distributions, with the conditions that
    its completed trials follow. Its metric's name is "value" unless it has one, its metadata are
    its user attributes and its name, and its seed follows from its name. What is given here says it
    better, for this object only. Opening writes nothing.

    Args:
        storage: Where it is kept, as in `create_study`.
        name: Its name; may be left out when the storage holds one study.
        model: Directory of another checkpoint, for this object only.
        strategy: Another way to choose suggestions, for this object only.
        pruner: Another pruner, for this object only; as in `create_study`.
        space: What a study that Optuna wrote searches. Its trials outside are left out.
        metric: Name of that study's objective, where it has one.
        goal: The objective's direction.
        metadata: Text about the task.

    Raises:
        StudyError: There is no such study, or its space is not known; or space, metric, goal or
            metadata are given of a study that was not written by Optuna.
        SearchSpaceError: A parameter of the space cannot be what Optuna has stored.
        StorageError: The storage cannot be opened or read.
    """
    from optformer.serving.study.optuna_studies import Description

    description = Description(space=space, metric=metric, goal=goal, metadata=metadata)
    store, name, record = open_store(storage, name, description)
    if model is not None:
        record = replace(record, model=_recorded_model(model))
    if strategy is not None:
        record = replace(record, strategy=_checked_strategy(strategy))
    study = Study(record, store, name=name, pruner=pruner)
    study._described = {key: getattr(description, key) for key in description.given()}
    return study


def suggest_many(studies: Sequence[Study]) -> list[Trial]:
    """Propose one trial in each of several studies; the same ones as `suggest` in each in turn.

    The studies are planned at the same time, by one process a core. These start with the first
    call, which takes seconds, and wait five minutes for the next one. Studies in which somebody
    else suggests meanwhile are planned again, here.

    Args:
        studies: The studies.

    Returns:
        A pending trial a study.

    Raises:
        StudyError: `studies` is not a list of studies, or the processes were killed.
        SpaceExhaustedError: A finite space has no points left; the studies before it in the list
            have their trials.
        StorageError: A trial could not be stored; the studies before it have theirs.
    """
    if not isinstance(studies, Sequence) or not all(isinstance(each, Study) for each in studies):
        raise StudyError(f"suggest_many needs a list of studies, got {studies!r:.200}")
    prepare_suggestions(studies)
    return [study.suggest() for study in studies]


def prepare_suggestions(studies: Sequence[Study]) -> None:
    """Plan the next suggestion of several studies at once; `suggest` takes it if it still holds.

    Raises:
        StudyError: The processes that plan were killed.
    """
    suggesters = [study._suggester for study in studies]
    plans = plan_ahead([suggester.request() for suggester in suggesters])
    for suggester, plan in zip(suggesters, plans, strict=True):
        suggester.ahead = plan


def _reopened(storage: str, name: str, options: dict[str, Any]) -> Study:
    return load_study(storage=storage, name=name, **options)


def _aims(
    metric: str | Weighted | None, goal: Goal | None, metrics: Mapping[str, Goal] | None
) -> tuple[str | Weighted, Goal, dict[str, Goal]]:
    """The first metric, its goal and the further ones, given in either way."""
    if metrics is None:
        if metric is None or goal is None:
            raise StudyError("create_study needs metric= and goal=, or metrics={name: goal}")
        return metric, goal, {}
    if metric is not None or goal is not None:
        raise StudyError("create_study takes metric= and goal=, or metrics=, got both")
    if not isinstance(metrics, Mapping) or not metrics:
        raise StudyError(
            "metrics must map names to goals, such as {'accuracy': 'maximize', 'latency': "
            f"'minimize'}}, got {metrics!r}"
        )
    (metric, goal), *further = metrics.items()
    return metric, goal, dict(further)


def _checked_strategy(strategy: str) -> str:
    if strategy not in STRATEGIES:
        raise StudyError(f"strategy must be one of {list(STRATEGIES)}, got {strategy!r}")
    return strategy


def _checked_seed(seed: int) -> int:
    if not is_whole(seed) or seed < 0:
        raise StudyError(f"seed must be a whole number of at least 0, got {seed!r}")
    return int(seed)


def _recorded_model(model: str | Path | None) -> str | None:
    """A model as it is stored: a directory by its full path, so that any process finds it."""
    if model is None:
        return None
    if not isinstance(model, str | Path):
        raise StudyError(f"model must be the folder of a checkpoint, got {model!r}")
    return str(Path(model).absolute()) if Path(model).exists() else str(model)
