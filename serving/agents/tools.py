"""The tools of coding agents: the verbs of a study, with text for answers."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from optformer.data.runtime.text import hide_passwords
from optformer.data.studies.errors import (
    ConfigError,
    OptFormerError,
    OptFormerWarning,
    SearchSpaceError,
    SpaceExhaustedError,
    TrialError,
)
from optformer.data.studies.parameters import Value
from optformer.data.studies.space_files import translate_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.agents import answers
from optformer.serving.agents.catalogue import CATALOGUE
from optformer.serving.agents.homes import StudyHome
from optformer.serving.study.study import Study

_LISTED = 50  # studies in a list, or pending trials: more would fill the agent's context

_log = logging.getLogger(__name__)


class Tools:
    """Tools over the studies of one home. One call is answered at a time.

    Args:
        home: Where the studies are.
    """

    def __init__(self, home: StudyHome) -> None:
        self._home = home
        self._open: dict[str, Study] = {}  # they know what they suggested, and why
        self._turn = threading.Lock()
        self._described = {tool.name: tool for tool in CATALOGUE}

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """Answer a call; it never raises.

        Args:
            name: Name of the tool.
            arguments: What the agent gave, by name.

        Returns:
            The answer, and whether it tells an error.
        """
        with self._turn, warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", OptFormerWarning)
            try:
                if name not in self._described:
                    raise ConfigError(f"there is no tool {name!r}; the tools are {self._names()}")
                text = getattr(self, name)(**self._described[name].read(arguments))
                failed = False
            except SpaceExhaustedError as error:
                text, failed = f"{error}; the search is complete: call best", True
            except OptFormerError as error:
                text, failed = str(error), True
            except Exception as error:  # noqa: BLE001 - a fault must not end the session
                _log.exception("tool %r", name)
                text, failed = f"{name} failed unexpectedly: {type(error).__name__}: {error}", True
        notes = "".join(f"\nnote: {note.message}" for note in noted)
        return hide_passwords(text + notes), failed

    def create_study(
        self,
        space: Mapping[str, Any],
        try_first: Sequence[Mapping[str, Value]] = (),
        fixed: Mapping[str, Value] | None = None,
        **settings: Any,
    ) -> str:
        """Begin a search."""
        translated = translate_space(space)
        for position, params in enumerate(try_first):
            _check_part(translated.space, params, fixed or {}, f"try_first[{position}]")
        if settings.get("name") in self._home.names():
            raise ConfigError(
                f"there is a study {settings['name']!r} already: go on with it, or give another "
                "name"
            )
        study = self._home.create(translated.space, fixed=fixed, **settings)
        for params in try_first:
            study.enqueue(params)
        self._open[study.name] = study
        parameters = ", ".join(study.config.space.names)
        lines = [f"Study {_quoted(study.name)}: {answers.aims(study.config)} over {parameters}."]
        lines += [f"note: {remark}" for remark in translated.remarks]
        if try_first:
            lines.append(f"To try first: {len(try_first)}.")
        lines.append(f"Next: suggest(study={_quoted(study.name)}).")
        return "\n".join(lines)

    def list_studies(self) -> str:
        """The studies that there are."""
        names = self._home.names()
        if not names:
            return f"There is no study in {self._home.place} yet. Next: create_study."
        lines = [self._line(name) for name in names[:_LISTED]]
        if len(names) > _LISTED:
            lines.append(f"... and {len(names) - _LISTED} more")
        return "\n".join(lines)

    def suggest(
        self,
        study: str | None = None,
        count: int = 1,
        fixed: Mapping[str, Value] | None = None,
    ) -> str:
        """What to try next."""
        opened = self._study(study)
        trials = opened.suggest(int(count), fixed=fixed)
        best = _best(opened.config, opened.trials)
        lines = []
        for trial in trials:
            lines.append(f"trial {trial.number}: {answers.point(trial.params)}")
            prediction = getattr(trial.explanation, "prediction", None)
            if prediction is not None:
                lines.append(f"  {answers.expectation(opened.config, prediction, best)}")
        which = str(trials[0].number) if len(trials) == 1 else "<its number>"
        lines.append(
            answers.how_to_observe(opened.name, opened.config, which, prunes=opened.prunes)
        )
        return "\n".join(lines)

    def observe(
        self,
        study: str | None = None,
        trial: int | None = None,
        params: Mapping[str, Value] | None = None,
        value: float | Mapping[str, float] | None = None,
        failed: str | None = None,
        stopped: bool = False,
    ) -> str:
        """Record what came of a trial."""
        if (trial is None) == (params is None):
            raise TrialError(
                "observe needs either trial, the number that suggest gave, or params, a whole "
                f"point; got {'neither' if trial is None else 'both'}"
            )
        opened = self._study(study)
        before = _best(opened.config, opened.trials)
        given = self._trial(opened, trial) if trial is not None else params or {}
        seen = opened.observe(given, value, failed=failed, stopped=stopped)
        trials = opened.trials
        lines = [
            f"Recorded trial {seen.number}: {answers.outcome(opened.config, seen)}.",
            f"{answers.counts(trials)}. {_standing(opened, before)}",
        ]
        return "\n".join([*lines, f"Next: suggest(study={_quoted(opened.name)}), or best."])

    def report(self, trial: int, step: int, value: float, study: str | None = None) -> str:
        """Tell the metric of a running trial; whether to stop it."""
        opened = self._study(study)
        running = self._trial(opened, trial)
        running.report(value, int(step))
        if not opened.prunes:
            return "Go on. (The study has no pruner: no trial is stopped.)"
        if running.should_prune():
            return f"Stop the trial now, then call observe(trial={trial}, stopped=true)."
        return "Go on."

    def predict(self, points: Sequence[Mapping[str, Value]], study: str | None = None) -> str:
        """What the model expects of points."""
        opened = self._study(study)
        best = _best(opened.config, opened.trials)
        predictions = opened.predict(list(points))
        return "\n".join(
            f"{answers.point(params)}: {answers.expectation(opened.config, prediction, best)}"
            for params, prediction in zip(points, predictions, strict=True)
        )

    def explain(self, trial: int, study: str | None = None) -> str:
        """Why a trial was suggested."""
        opened = self._study(study)
        config, trials = opened.config, opened.trials
        asked = self._trial(opened, trial)
        lines = [
            f"trial {trial}: {answers.point(asked.params)}",
            f"outcome: {answers.outcome(config, asked)}",
        ]
        why = asked.explanation
        prediction = getattr(why, "prediction", None)
        if why is not None:
            lines.append(f"found as: {answers.source(why.source)}")
        if prediction is not None:
            before = _best(config, [t for t in trials if t.number < trial])
            lines.append(f"then: {answers.expectation(config, prediction, before)}")
        elif _is_whole(config.space, asked.params):
            (now,) = opened.predict([asked.params])
            lines.append(f"now: {answers.expectation(config, now, _best(config, trials))}")
        if why is None:
            lines.append("The model did not suggest it in this session: no more is known.")
        for near in getattr(why, "nearest", ())[:3]:
            like = trials[near]
            lines.append(
                f"like trial {near}: {answers.point(like.params)}, {answers.outcome(config, like)}"
            )
        return "\n".join(lines)

    def best(self, study: str | None = None, top: int = 5) -> str:
        """The result so far."""
        opened = self._study(study)
        config, trials = opened.config, opened.trials
        lines = [f"Study {_quoted(opened.name)} ({answers.aims(config)}): {answers.counts(trials)}"]
        if config.further_goals:
            lines.append("Pareto front, no trial is better in all goals:")
            shown = opened.best_trials[:top]
        else:
            shown = answers.ranking(config, trials, top)
        lines += [
            f"trial {trial.number}: {answers.outcome(config, trial)} {answers.point(trial.params)}"
            for trial in shown
        ]
        if not shown:
            lines.append(f"No trial has a value yet. Next: suggest(study={_quoted(opened.name)}).")
        pending = [str(t.number) for t in trials if t.status is TrialStatus.PENDING]
        if pending:
            waiting = ", ".join(pending[:_LISTED]) + (", ..." if len(pending) > _LISTED else "")
            lines.append(f"Pending, to be observed: {waiting}")
        return "\n".join(lines)

    def importances(self, study: str | None = None, metric: str | None = None) -> str:
        """How much each parameter decides."""
        opened = self._study(study)
        shares = opened.importances(metric=metric)
        return "\n".join(f"{name}: {share:.0%}" for name, share in shares.items())

    def _names(self) -> str:
        return ", ".join(self._described)

    def _study(self, name: str | None) -> Study:
        """The study of a name; without one the only one."""
        if name is None:
            names = self._home.names()
            if len(names) != 1:
                some = [*names[:_LISTED], *(["..."] if len(names) > _LISTED else [])]
                raise ConfigError(
                    f"give study=, one of {some}"
                    if names
                    else "there is no study yet: call create_study"
                )
            (name,) = names
        if name not in self._open:
            self._open[name] = self._home.load(name)
        return self._open[name]

    @staticmethod
    def _trial(study: Study, number: int) -> Trial:
        trials = study.trials
        if number >= len(trials):
            known = f"0 to {len(trials) - 1}" if trials else "none; call suggest"
            raise TrialError(f"study {study.name!r} has no trial {number}; its trials are {known}")
        return trials[int(number)]

    def _line(self, name: str) -> str:
        """A study in a list."""
        try:
            study = self._study(name)
            trials = study.trials
        except OptFormerError as error:  # another tool's study, not one for us
            return f"{_quoted(name)}: cannot be opened: {error}"
        best = _best(study.config, trials)
        found = "" if best is None else f"; best: trial {best.number}, {_value(study, best)}"
        return f"{_quoted(name)}: {answers.aims(study.config)}; {answers.counts(trials)}{found}"


def _check_part(
    space: SearchSpace, params: Mapping[str, Value], fixed: Mapping[str, Value], where: str
) -> None:
    """Refuse a part of a point that could not be enqueued, before anything is stored."""
    try:
        for name, value in params.items():
            held = space.validate_value(name, value)
            if name in fixed and space.validate_value(name, fixed[name]) != held:
                raise SearchSpaceError(f"parameter {name!r} is fixed to {fixed[name]!r}")
    except SearchSpaceError as error:
        raise SearchSpaceError(f"{where}: {error}") from None


def _is_whole(space: SearchSpace, params: Mapping[str, Value]) -> bool:
    """Whether a point can be predicted: an enqueued one may leave parameters open."""
    try:
        space.validate(params)
    except SearchSpaceError:
        return False
    return True


def _best(config: StudyConfig, trials: Sequence[Trial]) -> Trial | None:
    """The best completed trial that keeps the limits; none with several goals."""
    kept = [t for t in trials if t.status is TrialStatus.COMPLETED and config.keeps_limits(t)]
    if config.further_goals or not kept:
        return None
    return answers.ranking(config, kept, 1)[0]


def _standing(study: Study, before: Trial | None) -> str:
    """How good the search is now."""
    if study.config.further_goals:
        return f"{len(study.best_trials)} trials are on the Pareto front."
    best = _best(study.config, study.trials)
    if best is None:
        return "No trial counts as the best yet."
    new = before is None or best.number != before.number
    return f"{'New best' if new else 'Best'}: trial {best.number}, {_value(study, best)}."


def _value(study: Study, trial: Trial) -> str:
    return f"{study.config.metric_name} {answers.number(trial.value or 0.0)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
