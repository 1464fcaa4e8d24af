"""What the page of one study shows: at once what was measured, in parts what is believed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from optformer.data.studies.errors import OptFormerError, StudyError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter
from optformer.serving.service.page import beliefs, charts
from optformer.serving.service.page.addresses import study_address
from optformer.serving.service.page.cache import Cache
from optformer.serving.service.page.history import History
from optformer.serving.service.page.texts import line, value_text
from optformer.serving.service.page.trial_table import ORDERS, trial_table
from optformer.serving.study.study import Study

logger = logging.getLogger(__name__)

_CHOICES = 12  # of a parameter that are listed

PARTS: dict[str, str] = {
    "next": "Next suggestion",
    "importances": "Which parameters matter",
    "responses": "Predicted response",
}
"""Slow parts of the page, with their headings."""


def study_values(study: Study, name: str, order: str, page: int) -> dict[str, Any]:
    """What the page shows before any model is asked.

    Args:
        study: The study.
        name: The name that its owner knows.
        order: How its trials are listed, a name of `ORDERS`.
        page: Which page of them.
    """
    history = History.of(study, name)
    return {
        "study": study,
        "history": history,
        "charts": {
            "history": charts.history_chart(history),
            "curves": charts.curves_chart(history),
            "parallel": charts.parallel_chart(history),
        },
        "fronts": charts.front_charts(history) if study.config.further_goals else [],
        "table": trial_table(history, order, page),
        "orders": ORDERS,
        "space": [
            ParameterRow.of(name, parameter, study.config.fixed)
            for name, parameter in study.config.space.items()
        ],
        "parts": PARTS,
        "address": lambda **query: study_address(name, **query),
    }


def part_values(
    study: Study, name: str, part: str, page: int, cache: Cache, owner: Hashable
) -> dict[str, Any]:
    """What a slow part shows, or why there is nothing to show.

    Args:
        study: The study.
        name: The name that its owner knows.
        part: A name of `PARTS`.
        page: Which page of it, where it has several.
        cache: Keeps what was computed.
        owner: Whose study it is.
    """
    history = History.of(study, name)
    compute = _COMPUTED[part]
    try:
        found = cache.get(
            (owner, part, page, history.fingerprint), lambda: compute(study, history, page)
        )
        fault, early = "", False
    except OptFormerError as error:
        found, fault, early = {}, line(error, 400), isinstance(error, StudyError)
    except Exception as error:  # the rest of the page is as good without this part
        logger.exception("part %r of a page failed", part)
        found, fault, early = {}, f"This went wrong: {type(error).__name__}: {line(error)}", False
    return {
        "study": study,
        "history": history,
        "part": part,
        "heading": PARTS[part],
        "fault": fault,
        "early": early,
        "address": lambda **query: study_address(name, **query),
        **found,
    }


def _next(study: Study, history: History, page: int) -> dict[str, Any]:
    return {"next": beliefs.next_trial(study, history)}


def _importances(study: Study, history: History, page: int) -> dict[str, Any]:
    return {"importances": beliefs.importances(study)}


def _responses(study: Study, history: History, page: int) -> dict[str, Any]:
    names = beliefs.response_order(study)
    pages = max(1, -(-len(names) // beliefs.RESPONSES))
    page = min(max(page, 1), pages)
    shown = names[(page - 1) * beliefs.RESPONSES : page * beliefs.RESPONSES]
    responses = beliefs.response_charts(study, shown)
    return {"responses": responses, "page": page, "pages": pages, "best": history.best}


_COMPUTED: dict[str, Callable[[Study, History, int], dict[str, Any]]] = {
    "next": _next,
    "importances": _importances,
    "responses": _responses,
}


@dataclass(frozen=True)
class ParameterRow:
    """A parameter in words."""

    name: str
    kind: str
    values: str
    condition: str
    fixed: str
    description: str

    @classmethod
    def of(cls, name: str, parameter: Parameter, fixed: Mapping[str, Any]) -> ParameterRow:
        """The words for a parameter, harmless."""
        when = parameter.when or {}
        conditions = (
            f"{line(parent)} is {' or '.join(value_text(value) for value in values)}"
            for parent, values in when.items()
        )
        return cls(
            name=line(name),
            kind=type(parameter).__name__.lower(),
            values=_values(parameter),
            condition=" and ".join(conditions),
            fixed=value_text(fixed[name]) if name in fixed else "",
            description=line(parameter.description, 300),
        )


def _values(parameter: Parameter) -> str:
    if isinstance(parameter, Float | Int):
        step = f", step {parameter.step:g}" if parameter.step not in (None, 1) else ""
        scale = ", logarithmic" if parameter.log else ""
        return f"{parameter.low:g} to {parameter.high:g}{scale}{step}"
    assert isinstance(parameter, Categorical | Ordinal)  # noqa: S101 - there are four kinds
    listed = ", ".join(value_text(choice) for choice in parameter.choices[:_CHOICES])
    left = len(parameter.choices) - _CHOICES
    return f"{listed}, and {left} more" if left > 0 else listed
