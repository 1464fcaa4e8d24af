"""OptFormer as a search algorithm of Ray Tune."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optformer.data.studies.errors import OptFormerWarning, SpaceExhaustedError, StudyError
from optformer.data.studies.extras import importing
from optformer.data.studies.space_files import translate_space
from optformer.data.studies.space_formats import ray_tune
from optformer.data.studies.space_formats.translated import TranslatedSpace
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal
from optformer.data.studies.trials import INTERRUPTED, Trial, TrialStatus
from optformer.serving.study.storage import StorageLike
from optformer.serving.study.study import Study, create_study, load_study

with importing("OptFormerSearcher", "ray[tune]", extra="ray"):
    from ray import cloudpickle
    from ray.air.constants import TRAINING_ITERATION
    from ray.tune.result import DEFAULT_METRIC
    from ray.tune.search import Searcher
    from ray.tune.utils.util import unflatten_dict  # type: ignore[attr-defined]

_GOALS: dict[str, Goal] = {"max": "maximize", "min": "minimize"}


class OptFormerSearcher(Searcher):
    """Suggests the trials of a Ray Tune experiment.

        tune.TuneConfig(search_alg=optformer.OptFormerSearcher(), metric="loss", mode="min")

    The trials form a study, in memory or in a storage, which plots and predicts as any other one.
    A trial that a scheduler ends, and that is shorter than the longest one, is recorded as stopped
    early. A trial that raises is recorded as failed. With several metrics the search is for their
    Pareto front.

    Args:
        space: What to search: our space, or that of any tool that `load_space` reads; the
            `param_space` of the tuner when absent. Our names have a slash for each level of
            nesting.
        metric: The reported metric to search on, or a list of several; that of `TuneConfig` when
            absent.
        mode: "min" or "max", or a list of them, one a metric; that of `TuneConfig` when absent.
        points_to_evaluate: Configurations to try first, nested or with slashes in their names. The
            model fills in what one leaves open.
        evaluated_rewards: The metric at each of these points where it is known already: they are
            told to the model and not run again. With several metrics, these by name.
        limits: Limits that a trial must keep, as in `create_study`: `{"memory": "<= 8"}`.
        metadata: Free text about the task, which the model reads (task, data set, model, ...).
        storage: Where to keep the study, as in `create_study`; in memory when absent, from where
            Ray's checkpoints of the experiment take it.
        name: Name of the study; drawn when absent.
        model: Directory of a checkpoint; the shipped one when absent.
        strategy: How suggestions are chosen, as in `create_study`.
        seed: Seed of the suggestions; drawn when absent.

    Raises:
        MissingExtraError: Ray Tune is not installed.
        SearchSpaceError: The space cannot be read, or a point is outside of it; the message names
            the parameter.
        StudyError: A setting is not understood.
    """

    def __init__(
        self,
        space: Any = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        *,
        points_to_evaluate: Sequence[Mapping[str, Any]] = (),
        evaluated_rewards: Sequence[float | Mapping[str, float]] | None = None,
        limits: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        storage: StorageLike | None = None,
        name: str | None = None,
        model: str | Path | None = None,
        strategy: str = "ei",
        seed: int | None = None,
    ) -> None:
        modes = _listed(mode)
        if mode is not None and not all(one in _GOALS for one in modes):
            raise StudyError(f"mode must be 'min' or 'max', or a list of them, got {mode!r}")
        if metric is not None and isinstance(mode, list) != isinstance(metric, list):
            raise StudyError(f"metric and mode must both be lists, got {metric!r} and {mode!r}")
        if isinstance(metric, list) and len(metric) != len(modes):
            raise StudyError(f"mode must have one entry a metric, got {metric!r} and {mode!r}")
        if evaluated_rewards is not None and len(evaluated_rewards) != len(points_to_evaluate):
            raise StudyError(
                f"evaluated_rewards must have a value for each of the {len(points_to_evaluate)} "
                f"points_to_evaluate, got {len(evaluated_rewards)}"
            )
        # Ray takes lists, of which its types do not tell.
        super().__init__(metric=metric, mode=mode)  # type: ignore[arg-type]
        self._space = None if space is None else _told_of_notes(translate_space(space))
        self._points, self._values = list(points_to_evaluate), evaluated_rewards
        self._settings: dict[str, Any] = {
            "limits": limits,
            "metadata": metadata,
            "name": name,
            "model": model,
            "strategy": strategy,
            "seed": seed,
        }
        self._storage = storage
        self._criteria: Mapping[str, float] = {}
        self._study: Study | None = None
        self._numbers: dict[str, int] = {}  # of the trials, by Ray's ids

    @property
    def study(self) -> Study:
        """The study of the trials so far.

        Raises:
            StudyError: Space or metric are not known yet.
        """
        if self._study is None:
            self._study = self._started()
        return self._study

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take metric, mode and space of a tuner; False when there was a space before."""
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        if isinstance(spec.get("stop"), Mapping):
            self._criteria = dict(spec["stop"])
        if self._space is not None:
            return False
        self._space = _told_of_notes(ray_tune.read(config))
        return True

    def suggest(self, trial_id: str) -> Any:
        """The configuration of a new trial; `FINISHED` when every point has been tried."""
        try:
            trial = self.study.suggest()
        except SpaceExhaustedError:
            return Searcher.FINISHED
        self._numbers[trial_id] = trial.number
        return unflatten_dict(self._translated.decode(trial.params))

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Keep the curve of a running trial."""
        trial = self._trial(trial_id)
        value = result.get(self.study.config.metric_name)  # of several, the first
        if trial is not None and trial.status is TrialStatus.PENDING and value is not None:
            trial.report(value, result[TRAINING_ITERATION])

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record what became of a trial."""
        trial = self._trial(trial_id)
        if trial is None:
            return
        value, reason = self._measured(trial, result)
        stopped = not error and self._was_stopped(trial, result)
        # The last result of a trial that is ended from outside comes here alone.
        self.on_trial_result(trial_id, result or {})
        # Ray can run a failed trial again; what then comes of it is a trial of its own.
        tried = trial if trial.status is TrialStatus.PENDING else trial.params
        if error:
            self.study.observe(tried, failed="it raised in Ray Tune")
        elif value is None:
            self.study.observe(tried, failed=reason)
        else:
            self.study.observe(tried, value, stopped=stopped)

    def add_evaluated_point(
        self,
        parameters: Mapping[str, Any],
        value: float | Mapping[str, float],
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Tell of a configuration that was evaluated elsewhere.

        Args:
            parameters: The configuration; what is no parameter of the space is left out.
            value: Its metric, or several by name, unless it failed.
            error: Whether it failed.
            pruned: Whether it was stopped early.
            intermediate_values: Not used.
        """
        space = self.study.config.space
        point = {k: v for k, v in self._flat_point(parameters).items() if k in space}
        if error:
            self.study.observe(point, failed="it raised in Ray Tune")
        else:
            self.study.observe(point, value, stopped=pruned)

    def save(self, checkpoint_path: str) -> None:
        """Write the state of the search to a file."""
        state: bytes = cloudpickle.dumps(self.__getstate__())  # type: ignore[no-untyped-call]
        Path(checkpoint_path).write_bytes(state)

    def restore(self, checkpoint_path: str) -> None:
        """Take the state of a search from a file that `save` wrote."""
        self.__setstate__(cloudpickle.loads(Path(checkpoint_path).read_bytes()))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_study": None if self._study is None else self._study.name}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_study"] is not None:
            self._study = load_study(storage=state["_storage"], name=state["_study"])
            ours = set(self._numbers.values())
            for trial in self._study.trials:
                if trial.number in ours and trial.status is TrialStatus.PENDING:
                    self._study.adopt(trial)  # Ray goes on with it

    @property
    def _translated(self) -> TranslatedSpace:
        if self._space is None:
            raise StudyError("give the tuner a param_space, or OptFormerSearcher a space")
        return self._space

    def _started(self) -> Study:
        space = self._translated.space
        if self._mode is None:
            raise StudyError("give TuneConfig, or OptFormerSearcher, a metric and a mode")
        self._metric = self._metric or DEFAULT_METRIC
        if self._storage is None:
            from optuna.storages import InMemoryStorage

            self._storage = InMemoryStorage()  # unlike a study in memory, it can be pickled
        study = create_study(
            space,
            metrics={
                name: _GOALS[mode]
                for name, mode in zip(_listed(self._metric), _listed(self._mode), strict=True)
            },
            storage=self._storage,
            **self._settings,
        )
        points = [self._flat_point(point) for point in self._points]
        if self._values is None:
            for point in points:
                study.enqueue(point)
        else:
            for point, value in zip(points, self._values, strict=True):
                study.observe(point, value)
        return study

    def _flat_point(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return self._translated.encode(dict(_flattened(config, self._translated.space)))

    def _trial(self, trial_id: str) -> Trial | None:
        if trial_id in self._numbers:
            return self.study.trials[self._numbers[trial_id]]
        warnings.warn(
            f"trial {trial_id} is none of this searcher's; its result is left out",
            OptFormerWarning,
            stacklevel=3,
        )
        return None

    def _measured(
        self, trial: Trial, result: Mapping[str, Any] | None
    ) -> tuple[float | Mapping[str, float] | None, str]:
        """The metrics of a trial that has ended, or why there are none."""
        config = self.study.config
        names = [*config.goals, *config.limits]
        if not result:  # it was paused and does not go on
            curve = trial.intermediate_values
            return None if config.several else curve.get(max(curve, default=0)), INTERRUPTED
        missing = [name for name in names if result.get(name) is None]
        if missing:
            return None, f"metric {missing[0]!r} is missing"
        values = {name: result[name] for name in names}
        return values if config.several else values[config.metric_name], ""

    def _was_stopped(self, trial: Trial, result: Mapping[str, Any] | None) -> bool:
        """Whether a scheduler ended a trial before its time.

        Ray tells of no reason. A trial that ends by itself has reported its last result before; one
        that is ended from outside has not.
        """
        if not result:
            return True
        seen = max(trial.intermediate_values, default=0)
        iteration = result.get(TRAINING_ITERATION, seen)
        if iteration == seen or any(
            name in result and result[name] >= bound for name, bound in self._criteria.items()
        ):
            return False
        longest = (max(other.intermediate_values, default=0) for other in self.study.trials)
        return bool(iteration < max(longest))


def _told_of_notes(translated: TranslatedSpace) -> TranslatedSpace:
    for note in translated.notes:
        warnings.warn(note, OptFormerWarning, stacklevel=3)
    return translated


def _listed(names: Any) -> list[Any]:
    return names if isinstance(names, list) else [names]


def _flattened(
    config: Mapping[str, Any], space: SearchSpace, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """The entries of a nested configuration by their paths; a parameter's value stays whole."""
    for name, value in config.items():
        path = f"{prefix}{name}"
        if path in space or not isinstance(value, Mapping):
            yield path, value
        else:
            yield from _flattened(value, space, f"{path}/")
