"""The routes of a study's verbs; each is a thin layer over `Study`."""

from __future__ import annotations

import uuid
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Path, Query, Request

from optformer.data.studies.errors import OptFormerError, TrialError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.service import schemas
from optformer.serving.service.problems import Problem
from optformer.serving.service.served_study import ServedStudy
from optformer.serving.service.studies import Studies, no_study
from optformer.serving.service.wire import (
    explanation_to_wire,
    prediction_to_wire,
    trial_to_wire,
)
from optformer.serving.study.study import new_record
from optformer.serving.study.trial_store import StudyRecord, has_ended

router = APIRouter(prefix="/v1")


async def the_studies(request: Request) -> Studies:
    """The studies of this server."""
    studies: Studies = request.app.state.studies
    return studies


async def the_name(name: Annotated[str, Path(description="Name of the study")]) -> str:
    """The study's name as its owner wrote it; `app` leaves paths percent-encoded."""
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise no_study(name) from None


_Studies = Annotated[Studies, Depends(the_studies)]
_Name = Annotated[str, Depends(the_name)]


def the_study(studies: _Studies, name: _Name) -> ServedStudy:
    """The study that a path names."""
    return studies.get(name)


_Study = Annotated[ServedStudy, Depends(the_study)]
_Number = Annotated[int, Path(ge=0, le=2**31 - 1, description="Number of the trial, from 0")]


@router.post("/studies", status_code=201)
def create_study(studies: _Studies, new: schemas.NewStudy) -> schemas.StudyAnswer:
    """Create a study."""
    name = f"study-{uuid.uuid4().hex[:8]}" if new.name is None else new.name
    study = studies.create(name, _record(new))
    return schemas.StudyAnswer.of(study, name)


@router.get("/studies")
def list_studies(studies: _Studies) -> schemas.Names:
    """Names of the studies, sorted."""
    return schemas.Names(names=studies.names())


@router.get("/studies/{name}")
def read_study(study: _Study, name: _Name) -> schemas.StudyAnswer:
    """What is known about a study besides its trials."""
    return schemas.StudyAnswer.of(study, name)


@router.delete("/studies/{name}", status_code=204)
def delete_study(studies: _Studies, name: _Name) -> None:
    """Delete a study and all its trials, for good."""
    studies.delete(name)


@router.get("/studies/{name}/trials")
def read_trials(
    study: _Study,
    first: Annotated[int, Query(alias="from", ge=0, description="First number")] = 0,
    status: Annotated[TrialStatus | None, Query(description="Only trials of this kind")] = None,
) -> schemas.Trials:
    """Trials by number."""
    trials = study.trials[first:]
    return _trials([t for t in trials if status is None or t.status is status])


@router.get("/studies/{name}/trials/{number}")
def read_trial(study: _Study, number: _Number) -> schemas.TrialAnswer:
    """One trial."""
    return _trial(study.trial(number))


@router.post("/studies/{name}/suggestions")
def suggest(study: _Study, ask: schemas.Ask) -> schemas.Trials:
    """Propose what to try next; the trials are recorded as pending at once."""
    if ask.budget is not None:
        trial = study.suggest_within(ask.budget)
        return _trials([] if trial is None else [trial])
    return _trials(study.suggest(ask.count, fixed=ask.fixed))


@router.post("/studies/{name}/preview")
def preview(study: _Study) -> schemas.TrialAnswer:
    """What would be suggested now, with its explanation; nothing is stored."""
    return _trial(study.preview())


@router.post("/studies/{name}/observations", status_code=201)
def add_observation(study: _Study, outcome: schemas.Evaluated) -> schemas.Observed:
    """Record a point that was evaluated elsewhere, as a new trial."""
    trial, warnings = study.record_outcome(
        outcome.params, outcome.measured, outcome.failed, outcome.stopped
    )
    return schemas.Observed(trial=_trial(trial), warnings=warnings)


@router.post("/studies/{name}/trials/{number}/observation")
def observe(study: _Study, number: _Number, outcome: schemas.Outcome) -> schemas.Observed:
    """Record what became of a trial, once and for all."""
    trial, warnings = study.record_outcome(
        study.trial(number), outcome.measured, outcome.failed, outcome.stopped
    )
    return schemas.Observed(trial=_trial(trial), warnings=warnings)


@router.post("/studies/{name}/trials/{number}/reports")
def report(study: _Study, number: _Number, report: schemas.Report) -> schemas.Warned:
    """Store what a trial measured at a step; a step that was reported before keeps its value."""
    trial = _pending(study, number)
    return schemas.Warned(warnings=study.record_report(trial, report.measured, report.step))


@router.post("/studies/{name}/trials/{number}/should-prune")
def should_prune(study: _Study, number: _Number) -> schemas.ShouldPrune:
    """Whether the study's pruner would stop a trial at the latest step that it reported."""
    return schemas.ShouldPrune(should_prune=_pending(study, number).should_prune())


@router.post("/studies/{name}/trials/{number}/user-attributes", status_code=204)
def set_user_attribute(study: _Study, number: _Number, attribute: schemas.UserAttribute) -> None:
    """Store something else about a pending trial."""
    _pending(study, number).set_user_attr(attribute.key, attribute.value)


@router.post("/studies/{name}/trials/{number}/heartbeat", status_code=204)
def beat(study: _Study, number: _Number) -> None:
    """Say that a pending trial is still run."""
    _pending(study, number)


@router.get("/studies/{name}/trials/{number}/explanation")
def explain(study: _Study, number: _Number) -> schemas.Explained:
    """Why a trial was suggested."""
    wired: Any = explanation_to_wire(study.trial(number).explanation)
    return schemas.Explained(explanation=wired)


@router.post("/studies/{name}/enqueued", status_code=201)
def enqueue(study: _Study, enqueued: schemas.Enqueued) -> schemas.TrialAnswer:
    """Have a trial handed out before any suggestion."""
    return _trial(study.enqueue(enqueued.params))


@router.post("/studies/{name}/stale-trials")
def fail_stale_trials(study: _Study, stale: schemas.Stale) -> schemas.Trials:
    """Fail the pending trials whose owner is gone, as interrupted; returns them."""
    return _trials(study.fail_stale_trials(older_than=stale.older_than))


@router.post("/studies/{name}/predictions")
def predict(study: _Study, points: schemas.Points) -> schemas.Predictions:
    """Predict the metric at points, from the trials so far."""
    predicted: Any = [prediction_to_wire(p) for p in study.predict(points.points)]
    return schemas.Predictions(predictions=predicted)


@router.get("/studies/{name}/importances")
def read_importances(
    study: _Study, evaluator: str = "ped_anova", metric: str | None = None
) -> schemas.Importances:
    """How much each parameter decides about the metric, of the trials that are completed."""
    return schemas.Importances(importances=study.importances(evaluator, metric=metric))


def _record(new: schemas.NewStudy) -> StudyRecord:
    """What is to be stored about a new study.

    Raises:
        Problem: It is no study; the configuration's own words say why.
    """
    try:
        return new_record(
            StudyConfig.from_dict(new.config),
            seed=new.seed,
            strategy=new.strategy,
            pruner=new.pruner,
        )
    except OptFormerError as error:
        name = type(error).__name__
        raise Problem(422, name, field="config", expected=str(error), got=new.config) from error


def _pending(study: ServedStudy, number: int) -> Trial:
    trial = study.trial(number)
    if trial.status is not TrialStatus.PENDING:
        raise TrialError(has_ended(trial))
    return trial


def _trial(trial: Trial) -> schemas.TrialAnswer:
    return schemas.TrialAnswer.model_validate(trial_to_wire(trial))


def _trials(trials: list[Trial]) -> schemas.Trials:
    return schemas.Trials(trials=[_trial(trial) for trial in trials])
