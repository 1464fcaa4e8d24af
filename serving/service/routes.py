"""The routes of a study's verbs; each is a thin layer over `Study`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Header, Path, Query, Request

from optformer.data.studies.errors import OptFormerError, StudyError, TrialError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.service import schemas
from optformer.serving.service.client_store import Asked
from optformer.serving.service.json_bodies import JsonRoute
from optformer.serving.service.metrics import Metrics
from optformer.serving.service.problems import Problem, about
from optformer.serving.service.served_study import ServedStudy
from optformer.serving.service.studies import Studies, drawn_name, no_study
from optformer.serving.service.wire import (
    explanation_to_wire,
    prediction_to_wire,
    trial_to_wire,
)
from optformer.serving.study.reporting import checked_pruner
from optformer.serving.study.study import new_record
from optformer.serving.study.trial_store import StudyRecord, has_ended

router = APIRouter(prefix="/v1", route_class=JsonRoute)

_KEY = re.compile(r"[!-~]{1,255}")


async def the_studies(request: Request) -> Studies:
    """The studies of this server."""
    studies: Studies = request.app.state.studies
    return studies


async def the_owner(request: Request) -> str | None:
    """Who asks; None on a server without tokens."""
    owner: str | None = request.state.owner
    return owner


async def the_name(name: Annotated[str, Path(description="Name of the study")]) -> str:
    """The study's name as its owner wrote it; the gate leaves paths percent-encoded."""
    try:
        decoded = unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise no_study(name) from None
    if not decoded.isprintable():
        raise no_study(decoded)
    return decoded


async def the_request(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="A name of this request, the same when it is repeated: it is done once",
        ),
    ] = None,
) -> Asked:
    """What tells this request from others."""
    if key is None:
        return Asked()
    if not _KEY.fullmatch(key):
        expected = "1 to 255 characters of ASCII that can be seen"
        raise Problem(422, "ConfigError", field="Idempotency-Key", expected=expected, got=key)
    body = await request.body()
    told = b"\0".join([request.method.encode(), request.scope["path"].encode(), body])
    return Asked(key=key, digest=hashlib.sha256(told).hexdigest()[:32])


_Studies = Annotated[Studies, Depends(the_studies)]
_Owner = Annotated[str | None, Depends(the_owner)]
_Name = Annotated[str, Depends(the_name)]
_Asked = Annotated[Asked, Depends(the_request)]


def the_study(studies: _Studies, owner: _Owner, name: _Name) -> ServedStudy:
    """The study that a path names."""
    return studies.get(owner, name)


async def the_metrics(request: Request) -> Metrics:
    """Where this server counts."""
    metrics: Metrics = request.app.state.metrics
    return metrics


_Study = Annotated[ServedStudy, Depends(the_study)]
_Metrics = Annotated[Metrics, Depends(the_metrics)]
_Number = Annotated[int, Path(ge=0, le=2**31 - 1, description="Number of the trial, from 0")]


@router.post("/studies", status_code=201)
def create_study(
    request: Request, studies: _Studies, owner: _Owner, asked: _Asked, new: schemas.NewStudy
) -> schemas.StudyAnswer:
    """Create a study."""
    name = drawn_name(asked) if new.name is None else new.name
    study = studies.create(owner, name, _record(new), asked)
    return schemas.StudyAnswer.of(study, name, request.app.state.lease)


@router.get("/studies")
def list_studies(studies: _Studies, owner: _Owner) -> schemas.Names:
    """Names of the studies, sorted."""
    return schemas.Names(names=studies.names(owner))


@router.get("/studies/{name}")
def read_study(request: Request, study: _Study, name: _Name) -> schemas.StudyAnswer:
    """What is known about a study besides its trials."""
    return schemas.StudyAnswer.of(study, name, request.app.state.lease)


@router.delete("/studies/{name}", status_code=204)
def delete_study(studies: _Studies, owner: _Owner, name: _Name) -> None:
    """Delete a study and all its trials, for good."""
    studies.delete(owner, name)


@router.get("/studies/{name}/trials")
def read_trials(
    study: _Study,
    first: Annotated[int, Query(alias="from", ge=0, le=2**31, description="First number")] = 0,
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
async def suggest(
    request: Request, study: _Study, metrics: _Metrics, asked: _Asked, ask: schemas.Ask
) -> schemas.Trials:
    """Propose what to try next; the trials are recorded as pending at once.

    Whoever runs one has it for the lease, which every report and heartbeat renews. Then it is
    failed as interrupted; what comes of it after all becomes a new trial.
    """
    state = request.app.state
    asked = replace(asked, lease=ask.lease or state.lease, worker=ask.worker)
    with about("fixed", ask.fixed), about("count", ask.count, kind=StudyError):
        trials = await state.suggestions.suggest(study, asked, ask.count, ask.fixed, ask.budget)
    metrics.suggestions.inc(len(trials))
    return _trials(trials)


@router.post("/studies/{name}/preview")
def preview(study: _Study) -> schemas.TrialAnswer:
    """What would be suggested now, with its explanation; nothing is stored."""
    return _trial(study.preview())


@router.post("/studies/{name}/observations", status_code=201)
def add_observation(
    study: _Study, metrics: _Metrics, asked: _Asked, outcome: schemas.Evaluated
) -> schemas.Observed:
    """Record a point that was evaluated elsewhere, as a new trial."""
    with about("params", outcome.params):
        study.config.space.validate(outcome.params)
    return _observe(study, metrics, asked, outcome.params, outcome)


@router.post("/studies/{name}/trials/{number}/observation")
def observe(
    study: _Study, number: _Number, metrics: _Metrics, asked: _Asked, outcome: schemas.Outcome
) -> schemas.Observed:
    """Record what became of a trial, once and for all."""
    return _observe(study, metrics, asked, number, outcome)


@router.post("/studies/{name}/trials/{number}/reports")
def report(study: _Study, number: _Number, asked: _Asked, report: schemas.Report) -> schemas.Warned:
    """Store what a trial measured at a step; a step that was reported before keeps its value."""
    trial = _pending(study, number)
    with about("value", report.value), about("number", number, kind=TrialError):
        warnings = study.record_report(asked, trial, report.measured, report.step)
    return schemas.Warned(warnings=warnings)


@router.post("/studies/{name}/trials/{number}/should-prune")
def should_prune(study: _Study, number: _Number) -> schemas.ShouldPrune:
    """Whether the study's pruner would stop a trial at the latest step that it reported."""
    return schemas.ShouldPrune(should_prune=_pending(study, number).should_prune())


@router.post("/studies/{name}/trials/{number}/user-attributes", status_code=204)
def set_user_attribute(study: _Study, number: _Number, attribute: schemas.UserAttribute) -> None:
    """Store something else about a pending trial."""
    trial = _pending(study, number)
    with about("key", attribute.key):
        trial.set_user_attr(attribute.key, attribute.value)


@router.post("/studies/{name}/trials/{number}/heartbeat", status_code=204)
def beat(study: _Study, number: _Number, beat: schemas.Beat) -> None:
    """Renew the lease of a pending trial."""
    study.renew(Asked(lease=beat.lease, worker=beat.worker), _pending(study, number))


@router.get("/studies/{name}/trials/{number}/explanation")
def explain(study: _Study, number: _Number) -> schemas.Explained:
    """Why a trial was suggested."""
    wired: Any = explanation_to_wire(study.trial(number).explanation)
    return schemas.Explained(explanation=wired)


@router.post("/studies/{name}/enqueued", status_code=201)
def enqueue(study: _Study, asked: _Asked, enqueued: schemas.Enqueued) -> schemas.TrialAnswer:
    """Have a trial handed out before any suggestion."""
    with about("params", enqueued.params):
        return _trial(study.put_first(asked, enqueued.params))


@router.post("/studies/{name}/stale-trials")
def fail_stale_trials(study: _Study, stale: schemas.Stale) -> schemas.Trials:
    """Fail the pending trials whose owner is gone, as interrupted; returns them."""
    return _trials(study.fail_stale_trials(older_than=stale.older_than))


@router.post("/studies/{name}/predictions")
def predict(study: _Study, points: schemas.Points) -> schemas.Predictions:
    """Predict the metric at points, from the trials so far."""
    with about("points", points.points):
        predicted: Any = [prediction_to_wire(p) for p in study.predict(points.points)]
    return schemas.Predictions(predictions=predicted)


@router.get("/studies/{name}/importances")
def read_importances(
    study: _Study, evaluator: str = "ped_anova", metric: str | None = None
) -> schemas.Importances:
    """How much each parameter decides about the metric, of the trials that are completed."""
    with about("evaluator", evaluator):
        shares = study.importances(evaluator, metric=metric)
    return schemas.Importances(importances=shares)


def _observe(
    study: ServedStudy,
    metrics: Metrics,
    asked: Asked,
    told: int | dict[str, Any],
    outcome: schemas.Outcome,
) -> schemas.Observed:
    field = "number" if isinstance(told, int) else "params"
    with about("value", outcome.value), about(field, told, kind=TrialError):
        trial, warnings = study.record_outcome(
            asked, told, outcome.measured, outcome.failed, outcome.stopped
        )
    metrics.observations.labels(trial.status.value).inc()
    return schemas.Observed(trial=_trial(trial), warnings=warnings)


def _record(new: schemas.NewStudy) -> StudyRecord:
    """What is to be stored about a new study.

    Raises:
        Problem: It is no study; the configuration's own words say why.
    """
    with about("config", new.config, status=422):
        try:
            config = StudyConfig.from_dict(new.config)
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, OptFormerError):
                raise
            raise StudyError(f"it is no configuration of a study: {error}") from error
    with about("pruner", new.pruner, status=422):
        checked_pruner(new.pruner, config)
    with about("config", new.config, status=422):
        return new_record(config, seed=new.seed, strategy=new.strategy, pruner=new.pruner)


def _pending(study: ServedStudy, number: int) -> Trial:
    trial = study.trial(number)
    with about("number", number):
        if trial.status is not TrialStatus.PENDING:
            raise TrialError(has_ended(trial))
    return trial


def _trial(trial: Trial) -> schemas.TrialAnswer:
    return schemas.TrialAnswer.model_validate(trial_to_wire(trial))


def _trials(trials: Sequence[Trial]) -> schemas.Trials:
    return schemas.Trials(trials=[_trial(trial) for trial in trials])
