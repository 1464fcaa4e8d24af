"""Plans of several studies at once, one process a core.

A study's plan is made as `Planner.suggest` makes it, whatever else is planned: so the suggestions
are the very same. What a plan costs is products of matrices and Python around them; neither becomes
much cheaper when studies share a product, and threads of one process wait for each other.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from optformer.data.studies.errors import OptFormerError, StudyError
from optformer.data.studies.trials import Trial
from optformer.serving.study.trial_store import StudyRecord

if TYPE_CHECKING:
    from optformer.planning.planner import Planner, Suggestion

_STUDIES = 64  # whose encoded metadata a process keeps


@dataclass(frozen=True)
class PlanRequest:
    """What the next suggestion of a study follows from.

    Attributes:
        record: The study.
        history: Its trials.
    """

    record: StudyRecord
    history: Sequence[Trial]


@dataclass(frozen=True)
class Plan:
    """The next suggestion of a study, for as long as its history stays as it was.

    Attributes:
        history: Trials that the suggestion follows from.
        suggestion: What comes next.
    """

    history: Sequence[Trial]
    suggestion: Suggestion


def plan_ahead(requests: Sequence[PlanRequest | None]) -> list[Plan | None]:
    """Plan the next suggestion of several studies.

    Processes start with the first call, which takes seconds, and wait five minutes for the next.

    Args:
        requests: What to plan; None for nothing.

    Returns:
        A plan a request; None where nothing was asked for, where planning failed, or where this
        process does as well alone.

    Raises:
        StudyError: The processes were killed.
    """
    from joblib import Parallel, cpu_count, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    asked = [request for request in requests if request is not None]
    processes = min(cpu_count(), len(asked))
    if processes < 2:
        return [None] * len(requests)
    run = Parallel(n_jobs=processes, backend="loky", batch_size=1, pre_dispatch="all")
    calls = [(pickle.dumps(request.record), request.history) for request in asked]
    try:
        planned = iter(run(delayed(_plan)(*call) for call in calls))
    except BrokenProcessPool as error:
        raise StudyError(f"processes that plan were killed: {error}; repeat the call") from error
    plans = [None if request is None else next(planned) for request in requests]
    return [
        None if request is None or suggestion is None else Plan(request.history, suggestion)
        for request, suggestion in zip(requests, plans, strict=True)
    ]


def end_processes() -> None:
    """End the processes that plan, of a program that will end by a signal."""
    from joblib.externals.loky import reusable_executor

    executor = reusable_executor._executor
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


def _plan(record: bytes, history: Sequence[Trial]) -> Suggestion | None:
    """The next suggestion of a study; None when there is none: whoever asks again learns why."""
    planner, known = _planner(record)
    try:
        (suggestion,) = planner.suggest(known.config, history, 1, seed=known.seed)
    except OptFormerError:
        return None
    return suggestion


@lru_cache(maxsize=_STUDIES)
def _planner(record: bytes) -> tuple[Planner, StudyRecord]:
    """The planner of a study, with what it has encoded."""
    from optformer.planning.planner import load_planner

    known: StudyRecord = pickle.loads(record)
    return load_planner(known.model, strategy=known.strategy), known
