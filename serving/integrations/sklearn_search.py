"""OptFormer as a search of scikit-learn, beside `GridSearchCV` and `RandomizedSearchCV`."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import RandomizedSearchCV

from optformer.data.studies.errors import ConfigError, OptFormerWarning, SpaceExhaustedError
from optformer.data.studies.parameters import Parameter
from optformer.data.studies.space_files import translate_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial
from optformer.serving.integrations.sklearn_metadata import (
    ToldMetric,
    final_step,
    told_metric,
    told_task,
)
from optformer.serving.study.study import Study, create_study

_ALL_FAILED = "fits failed"  # what scikit-learn says when all fits of a batch did
_Evaluate = Callable[[list[dict[str, Any]]], dict[str, Any]]


@dataclass
class _Run:
    """What is known during one fit.

    Attributes:
        inputs: What is fitted, as it was given.
        targets: Its targets.
        params: The candidates so far, the list of scikit-learn itself.
        counted: How many they were when their results were last put together.
        n_splits: Folds.
        out: What was measured of each candidate and fold, the list of scikit-learn itself.
        results: The last `cv_results_`, which scikit-learn keeps.
        lost: Candidates whose fits failed with all others of their batch, and the error: in the
            end they have rows like any others.
    """

    inputs: Any = None
    targets: Any = None
    params: list[dict[str, Any]] = field(default_factory=list)
    counted: int = 0
    n_splits: int = 0
    out: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, Any] | None = None
    lost: list[tuple[dict[str, Any], ValueError]] = field(default_factory=list)

    def __reduce__(self) -> tuple[type[_Run], tuple[()]]:
        return _Run, ()  # the processes of the fits need nothing of it

    def add_lost(self, place: int, error_score: float) -> None:
        """Give the lost candidates rows, from a place on."""
        like = self.out[0]
        for params, error in self.lost:
            row = {
                **like,
                **{key: _error_scores(like[key], error_score) for key in like if "scores" in key},
                **{key: 0.0 for key in like if "time" in key},
                "fit_error": str(error),
            }
            self.params.insert(place, params)
            self.out[place * self.n_splits : place * self.n_splits] = [row] * self.n_splits
            place += 1
        self.lost = []

    def failed(self, count: int) -> list[bool]:
        """Which of the last candidates have a failed fit."""
        rows = self.out[-count * self.n_splits :]
        return [
            any(row["fit_error"] is not None for row in rows[start : start + self.n_splits])
            for start in range(0, len(rows), self.n_splits)
        ]


class OptFormerSearchCV(RandomizedSearchCV):  # type: ignore[misc]
    """Searches the parameters of an estimator by cross-validation; the model suggests them.

        search = OptFormerSearchCV(SVC(), {"C": loguniform(1e-3, 1e3)}, n_iter=20, random_state=0)
        search.fit(X, y).best_params_

    It takes what `RandomizedSearchCV` takes, and has what that has when it is fitted. The model
    reads the names of the parameters, the kind of estimator, the size of the data and the score. A
    candidate with a failed fit is a failure to the model, whatever `error_score` says.

    Args:
        estimator: What to tune.
        param_distributions: Name to a list, a distribution of SciPy, or a `Float`, `Int`,
            `Categorical` or `Ordinal`; or a `SearchSpace`, whose conditions are kept; or a list of
            mappings that one parameter tells apart.
        n_iter: Number of candidates.
        scoring: As in `RandomizedSearchCV`. With several scores, `refit` names the one that is
            searched.
        n_jobs: Fits that run at once.
        refit: As in `RandomizedSearchCV`.
        cv: As in `RandomizedSearchCV`.
        verbose: As in `RandomizedSearchCV`.
        pre_dispatch: As in `RandomizedSearchCV`.
        random_state: Seed of the suggestions; drawn when absent.
        error_score: As in `RandomizedSearchCV`.
        return_train_score: As in `RandomizedSearchCV`.
        metadata: More for the model to read, such as `{"dataset": "wine"}`; an entry replaces what
            is told by itself (`task`, `model`, `dataset size`, `classes`).
        batch_size: Candidates that are suggested together, each knowing the others; as many as
            `n_jobs` when absent. Larger batches keep more processes busy and learn less.
        model: Directory of a checkpoint; the shipped one when absent.

    Attributes:
        cv_results_: As in `RandomizedSearchCV`, in the order of the search.
        best_estimator_: As in `RandomizedSearchCV`, like the other attributes of its name.
        space_: What was searched, a `SearchSpace`.

    Raises:
        SearchSpaceError: `param_distributions` cannot be read; the message names the parameter.
        ConfigError: There are several scores, and `refit` names none of them.
    """

    _parameter_constraints = {  # noqa: RUF012
        **RandomizedSearchCV._parameter_constraints,
        "param_distributions": [Mapping, list],
        "metadata": [Mapping, None],
        "batch_size": [numbers.Integral, None],
        "model": [str, Path, None],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        metadata: Mapping[str, str] | None = None,
        batch_size: int | None = None,
        model: str | Path | None = None,
    ) -> None:
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.metadata = metadata
        self.batch_size = batch_size
        self.model = model

    def fit(self, X: Any, y: Any = None, **params: Any) -> OptFormerSearchCV:  # noqa: N803
        """Search, and fit the best candidate on all data; as `RandomizedSearchCV.fit`."""
        self._run = _Run(X, y)
        try:
            super().fit(X, y, **params)
        finally:
            del self._run
        return self

    def _run_search(self, evaluate_candidates: _Evaluate) -> None:
        """Suggest, evaluate and observe until there are `n_iter` candidates."""
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")
        translated = translate_space(self.param_distributions)
        for note in translated.notes:
            warnings.warn(note, OptFormerWarning, stacklevel=2)
        self.space_ = translated.space
        short = _short_names(self.estimator, translated.space)
        full = {name: parameter for parameter, name in short.items()}
        metric = self._metric()
        told = told_task(self.estimator, self._run.inputs, self._run.targets)
        study = create_study(
            _renamed(translated.space, short),
            metric=metric.name,
            goal=metric.goal,
            metadata={**told, **(self.metadata or {})},
            model=self.model,
            seed=_seed(self.random_state),
        )
        batch = self.batch_size or effective_n_jobs(self.n_jobs)
        left = self.n_iter
        while left > 0:
            trials = _suggest(study, min(batch, left))
            if not trials:
                warnings.warn(
                    f"the space has {self.n_iter - left} points, fewer than n_iter={self.n_iter}; "
                    "all of them are evaluated",
                    UserWarning,
                    stacklevel=2,
                )
                break
            left -= len(trials)
            points = [
                translated.decode({full[name]: value for name, value in trial.params.items()})
                for trial in trials
            ]
            scores = self._evaluate(evaluate_candidates, points)
            for trial, score in zip(trials, scores, strict=True):
                if math.isfinite(score):
                    study.observe(trial, metric.sign * score)
                else:
                    study.observe(trial, failed="a fit failed, or its score is not finite")
        self._complete_results()

    def _metric(self) -> ToldMetric:
        """What the model is told of the score that is searched."""
        if isinstance(self.scoring, Mapping):
            return told_metric(self.scoring[self._searched_score()], self.estimator)
        if isinstance(self.scoring, list | tuple | set):
            return told_metric(self._searched_score(), self.estimator)
        if callable(self.scoring) and isinstance(self.refit, str):
            return told_metric(self.refit, self.estimator)  # maybe one of several scores
        return told_metric(self.scoring, self.estimator)

    def _searched_score(self) -> str:
        if not isinstance(self.refit, str):
            raise ConfigError(
                "with several scores, refit must name the one to search, "
                f"one of {sorted(self.scoring)}; got refit={self.refit!r}"
            )
        return self.refit

    def _evaluate(
        self, evaluate_candidates: _Evaluate, points: list[dict[str, Any]]
    ) -> Sequence[float]:
        """The mean score of each point, NaN where a fit failed."""
        try:
            results = evaluate_candidates(points)
        except ValueError as error:
            # Random search ends where all fits fail. Here a batch may be a single candidate.
            if self.error_score == "raise" or _ALL_FAILED not in str(error):
                raise
            warnings.warn(str(error), FitFailedWarning, stacklevel=2)
            self._run.lost += [(point, error) for point in points]
            return [math.nan] * len(points)
        column = "mean_test_score"
        if column not in results:  # a callable gave several scores
            column = f"mean_test_{self.refit}"
            if column not in results:
                raise ConfigError(
                    "with several scores, refit must name the one to search; "
                    f"got refit={self.refit!r}"
                )
        means = results[column]
        return [
            math.nan if failed else float(mean)
            for mean, failed in zip(
                means[-len(points) :], self._run.failed(len(points)), strict=True
            )
        ]

    def _format_results(
        self,
        candidate_params: list[dict[str, Any]],
        n_splits: int,
        out: list[dict[str, Any]],
        more_results: Any = None,
    ) -> dict[str, Any]:
        """All candidates so far as `cv_results_`; those whose fits all failed among them."""
        run = self._run
        run.params, run.n_splits, run.out = candidate_params, n_splits, out
        run.add_lost(run.counted, self.error_score)
        run.counted = len(candidate_params)
        with warnings.catch_warnings():  # of scores that are not finite, once is enough
            warnings.simplefilter("ignore", UserWarning)
            run.results = super()._format_results(candidate_params, n_splits, out, more_results)
        return run.results

    def _complete_results(self) -> None:
        """Add the candidates of the last batches where all their fits failed."""
        run = self._run
        if run.results is None:
            raise run.lost[-1][1]
        run.add_lost(len(run.params), self.error_score)
        run.results.update(super()._format_results(run.params, run.n_splits, run.out))


def _error_scores(scores: Any, error_score: float) -> Any:
    return dict.fromkeys(scores, error_score) if isinstance(scores, Mapping) else error_score


def _suggest(study: Study, count: int) -> list[Trial]:
    """So many trials, or as many as a finite space has left."""
    for wanted in range(count, 0, -1):
        try:
            return study.suggest(wanted)
        except SpaceExhaustedError:
            continue
    return []


def _short_names(estimator: Any, space: SearchSpace) -> dict[str, str]:
    """Parameter to the name that the model reads: those of a pipeline's model without its step."""
    prefix, _ = final_step(estimator)
    short = {
        name: name.removeprefix(prefix) for name in space if prefix and name.startswith(prefix)
    }
    names = {name: short.get(name) or name for name in space}
    return names if len(set(names.values())) == len(names) else {name: name for name in space}


def _renamed(space: SearchSpace, names: Mapping[str, str]) -> SearchSpace:
    parameters: dict[str, Parameter] = {}
    for name, parameter in space.items():
        when = {names[parent]: values for parent, values in (parameter.when or {}).items()}
        parameters[names[name]] = replace(parameter, when=when) if when else parameter
    return SearchSpace(parameters)


def _seed(random_state: Any) -> int | None:
    if random_state is None or isinstance(random_state, numbers.Integral):
        return random_state if random_state is None else int(random_state)
    return int(random_state.randint(2**31 - 1))
