"""A whole search in one call: suggest, evaluate and observe, until there is no more to do."""

from __future__ import annotations

import logging
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from optformer.data.runtime.interrupts import no_interrupt, one_interrupt
from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.errors import (
    MetricError,
    ObjectiveError,
    OptFormerWarning,
    SpaceExhaustedError,
    StorageError,
    StudyError,
    TrialError,
)
from optformer.data.studies.parameters import is_whole
from optformer.data.studies.trials import INTERRUPTED, Trial, TrialStatus

logger = logging.getLogger(__name__)

_PATIENCE = 5  # suggestions in a row: single ones look far from the best on purpose

Objective: TypeAlias = Callable[[Trial], "float | Mapping[str, float]"]
"""What is tuned: takes a trial and returns the metric, or several by name."""

Callback: TypeAlias = Callable[[Any, Trial], object]
"""Called with the study and a finished trial."""


class Tunable(Protocol):
    """What a search asks of its study."""

    @property
    def best_value(self) -> float:
        """The best value so far."""

    def suggest(self) -> Trial:
        """A trial to evaluate."""

    def observe(
        self,
        trial: Trial,
        value: float | Mapping[str, float] | None = None,
        *,
        failed: str | BaseException | None = None,
        stopped: bool = False,
    ) -> Trial:
        """Record what became of it."""


def optimize(
    study: Tunable,
    objective: Objective,
    *,
    trials: int | None,
    workers: int,
    processes: bool,
    timeout: float | None,
    min_gain: float | None,
    callbacks: Sequence[Callback],
    catch: tuple[type[BaseException], ...],
    progress: bool,
    stopping: threading.Event,
) -> None:
    """Search a study; see `Study.optimize`, whose `stop` sets `stopping`."""
    _check(objective, trials, workers, {"timeout": timeout, "min_gain": min_gain})
    _check_hooks(callbacks, catch)
    stopping.clear()
    runner: _Runner
    if processes:
        runner = _Processes(study, objective, workers)
    else:
        runner = _Here(objective) if workers == 1 else _Threads(objective, workers)
    with _Progress(study, trials, timeout, progress) as shown:
        search = _Search(study, runner, workers, min_gain, catch, callbacks, shown, stopping)
        # Where the objective runs in this thread, every Ctrl-C is for the objective.
        with one_interrupt() if workers > 1 or processes else nullcontext():
            try:
                search.run(trials, timeout)
            except BaseException:
                with no_interrupt():
                    search.abandon()
                raise
            finally:
                runner.close(wait=not search.running)


@dataclass(frozen=True)
class _Evaluation:
    """What an objective did with a trial, when it did not raise."""

    value: Any
    stopped: bool


def _evaluate(objective: Objective, trial: Trial) -> _Evaluation:
    from optformer.serving.study.pruning import TrialPruned

    try:
        value = objective(trial)
    except TrialPruned:
        return _Evaluation(None, stopped=True)
    told = trial.reporter is not None and trial.reporter.was_told_to_stop(trial)
    return _Evaluation(value, stopped=told)


class _Runner(Protocol):
    """Evaluates trials, here or elsewhere."""

    def submit(self, trial: Trial) -> Future[_Evaluation]:
        """Begin with a trial."""

    def close(self, *, wait: bool) -> None:
        """Begin with no more trials."""


class _Here:
    """Evaluates in the calling thread, so that Ctrl-C reaches the objective."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def submit(self, trial: Trial) -> Future[_Evaluation]:
        future: Future[_Evaluation] = Future()
        try:
            future.set_result(_evaluate(self._objective, trial))
        except BaseException as error:  # noqa: BLE001 - told as a thread would tell it
            future.set_exception(error)
        return future

    def close(self, *, wait: bool) -> None:
        pass


class _Threads:
    """Evaluates in threads of this process."""

    def __init__(self, objective: Objective, workers: int) -> None:
        self._objective = objective
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="optformer-trial")

    def submit(self, trial: Trial) -> Future[_Evaluation]:
        return self._pool.submit(_evaluate, self._objective, trial)

    def close(self, *, wait: bool) -> None:
        self._pool.shutdown(wait, cancel_futures=True)


class _Processes:
    """Evaluates in processes of their own; one that dies takes its trial with it, no other."""

    def __init__(self, study: Tunable, objective: Objective, workers: int) -> None:
        pickle.dumps(study)  # says what to do about a study in memory
        try:
            pickle.dumps(objective)
        except (pickle.PickleError, AttributeError, TypeError) as error:
            raise StudyError(
                f"the objective cannot be sent to a process ({error}); make it a function of a "
                "module, or leave processes out"
            ) from None
        self._objective = objective
        self._pool = WorkerPool(workers, attempts=1)

    def submit(self, trial: Trial) -> Future[_Evaluation]:
        light = replace(trial, explanation=None)  # reading one loads torch in the process
        return self._pool.submit(_evaluate, self._objective, light)

    def close(self, *, wait: bool) -> None:
        self._pool.shutdown(wait, cancel_futures=True)


@dataclass
class _Search:
    """One call of `Study.optimize`."""

    study: Tunable
    runner: _Runner
    workers: int
    min_gain: float | None
    catch: tuple[type[BaseException], ...]
    callbacks: Sequence[Callback]
    shown: _Progress
    stopping: threading.Event
    running: dict[Future[_Evaluation], Trial] = field(default_factory=dict)
    unstored: dict[Future[_Evaluation], Trial] = field(default_factory=dict)  # the storage was away
    reasons: set[str] = field(default_factory=set)  # of failures that the user was told of
    hopeless: int = 0  # suggestions in a row of which the model expected too little
    fatal: BaseException | None = None  # what ends the search

    def run(self, trials: int | None, timeout: float | None) -> None:
        """Begin trials and observe them until the search has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        begun = 0
        while True:
            while (
                len(self.running) < self.workers
                and (trials is None or begun < trials)
                and (deadline is None or time.monotonic() < deadline)
                and not self.stopping.is_set()
                and self.fatal is None
            ):
                self._begin()
                begun += 1
            if not self.running:
                break
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                self._end(future)
        if self.fatal is not None:
            raise self.fatal

    def abandon(self) -> None:
        """Give up the trials that are running; those that have ended are observed."""
        for future, trial in {**self.unstored, **self.running}.items():
            with suppress(TrialError, StorageError):  # it was observed before, or cannot be stored
                error = future.exception() if future.done() else KeyboardInterrupt()
                if isinstance(error, KeyboardInterrupt):
                    self.study.observe(trial, failed=INTERRUPTED)
                else:
                    self._observe(trial, error, future)

    def _begin(self) -> None:
        try:
            trial = self.study.suggest()
        except SpaceExhaustedError:
            logger.info("every point of the space was tried")
            self.stopping.set()
            return
        except Exception as error:  # noqa: BLE001 - it comes out when the running trials have ended
            self.fatal = error
            return
        self._hope(trial)
        self.running[self._submit(trial)] = trial

    def _hope(self, trial: Trial) -> None:
        """Begin with no more trials when the model has long expected too little of them."""
        prediction = getattr(trial.explanation, "prediction", None)
        if self.min_gain is None or prediction is None:  # enqueued, or before any value
            return
        hopeless = prediction.expected_improvement < self.min_gain
        self.hopeless = self.hopeless + 1 if hopeless else 0
        if self.hopeless == _PATIENCE:
            logger.info("less than %g is expected of another trial", self.min_gain)
            self.stopping.set()

    def _submit(self, trial: Trial) -> Future[_Evaluation]:
        try:
            return self.runner.submit(trial)
        except BaseException:
            self.running[Future()] = trial  # to be abandoned
            raise

    def _end(self, future: Future[_Evaluation]) -> None:
        """Observe a trial that has ended."""
        trial = self.running[future]
        error = future.exception()
        if isinstance(error, KeyboardInterrupt):
            raise error
        try:
            finished, error = self._observe(trial, error, future)
        except (StorageError, TrialError) as failure:  # away, or observed by somebody else
            failure.add_note(f"trial {trial.number} had ended: {_told(future)}")
            self.fatal = self.fatal or failure
            self.unstored[future] = self.running.pop(future)
            return
        del self.running[future]
        self.shown.count(finished)
        if error is not None and not isinstance(error, self.catch):
            self.fatal = self.fatal or error
        elif finished.status is TrialStatus.FAILED:
            self._warn(finished)
        try:
            for callback in self.callbacks:
                callback(self.study, finished)
        except Exception as failure:  # noqa: BLE001 - it comes out when the others have ended
            self.fatal = self.fatal or failure

    def _observe(
        self, trial: Trial, error: BaseException | None, future: Future[_Evaluation]
    ) -> tuple[Trial, BaseException | None]:
        """Record a trial; also gives what the objective did wrong."""
        if isinstance(error, BrokenProcessPool):
            return self.study.observe(trial, failed="its worker process died"), None
        if error is not None:
            return self.study.observe(trial, failed=error), error
        done = future.result()
        if done.value is None and not done.stopped:
            wrong = ObjectiveError(
                "the objective returned nothing; have it return a number, or metrics by name"
            )
            return self.study.observe(trial, failed=wrong), wrong
        try:
            return self.study.observe(trial, done.value, stopped=done.stopped), None
        except MetricError as metric_error:  # a list, a text, a metric that is missing
            return self.study.observe(trial, failed=metric_error), metric_error
        except TrialError:
            if not done.stopped or done.value is not None:
                raise
            return self.study.observe(trial, failed="pruned before it reported a value"), None

    def _warn(self, trial: Trial) -> None:
        """Tell of a failure, of each kind once."""
        if trial.reason is not None and trial.reason not in self.reasons:
            self.reasons.add(trial.reason)
            warnings.warn(
                f"trial {trial.number} failed: {trial.reason}", OptFormerWarning, stacklevel=6
            )


def _told(future: Future[_Evaluation]) -> str:
    error = future.exception()
    return repr(future.result().value) if error is None else repr(error)


class _Progress:
    """A bar with the trials, the best value, the failures and the time left."""

    def __init__(
        self, study: Tunable, trials: int | None, timeout: float | None, wanted: bool
    ) -> None:
        from tqdm.auto import tqdm
        from tqdm.notebook import tqdm_notebook

        self._study, self._failed, self._stopped = study, 0, 0
        self._deadline = None if timeout is None else time.monotonic() + timeout
        hidden = False if issubclass(tqdm, tqdm_notebook) else None  # None: unless on a terminal
        self._bar = tqdm(total=trials, unit="trial", disable=hidden if wanted else True)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def count(self, trial: Trial) -> None:
        """Show one more trial."""
        self._failed += trial.status is TrialStatus.FAILED
        self._stopped += trial.status is TrialStatus.STOPPED
        if not self._bar.disable:
            told: dict[str, object] = {"failed": self._failed}
            with suppress(StudyError):  # no value yet
                told = {"best": f"{self._study.best_value:.6g}", **told}
            if self._stopped:
                told["stopped"] = self._stopped
            if self._deadline is not None:
                told["left"] = f"{max(0.0, self._deadline - time.monotonic()):.0f}s"
            self._bar.set_postfix(told, refresh=False)
        self._bar.update()


def _check(
    objective: object, trials: int | None, workers: int, limits: Mapping[str, float | None]
) -> None:
    if not callable(objective):
        raise StudyError(f"objective must be a function of a trial, got {objective!r}")
    for name, number in (("trials", 1 if trials is None else trials), ("workers", workers)):
        if not is_whole(number) or number < 1:
            raise StudyError(f"{name} must be a whole number of at least 1, got {number!r}")
    for name, limit in limits.items():
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is not None and not (is_number and limit > 0):
            raise StudyError(f"{name} must be a number above 0, got {limit!r}")


def _check_hooks(callbacks: Sequence[object], catch: Sequence[object]) -> None:
    for callback in callbacks:
        if not callable(callback):
            raise StudyError(f"callbacks must be functions of study and trial, got {callback!r}")
    for kind in catch:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise StudyError(f"catch must be classes of exceptions, got {kind!r}")
