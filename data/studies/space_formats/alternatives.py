"""Several spaces of which one holds, as scikit-learn's searches take them: a list of mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Float, Int, Parameter, Value
from optformer.data.studies.space_formats import python_objects
from optformer.data.studies.space_formats.translated import TranslatedSpace, choices_of
from optformer.data.studies.spaces import SearchSpace, is_among


def read(alternatives: Sequence[Mapping[str, Any]]) -> TranslatedSpace:
    """One space with conditions for all alternatives.

    A parameter that all of them have, each with choices of its own, tells them apart: what only
    some of them have is active under their choices.

        [{"kernel": ["linear"], "C": C}, {"kernel": ["rbf", "sigmoid"], "C": C, "gamma": gamma}]

    Raises:
        SearchSpaceError: No parameter tells the alternatives apart, or one has several ranges.
    """
    spaces = [_read(number, alternative) for number, alternative in enumerate(alternatives)]
    if len(spaces) == 1:
        return spaces[0]
    selector = _selector([read.space for read in spaces])
    kinds = [_choices(read.space[selector]) for read in spaces]
    parameters = {selector: choices_of([choice for choices in kinds for choice in choices], None)}
    for name in dict.fromkeys(name for read in spaces for name in read.space if name != selector):
        parameters[name] = _shared(name, selector, kinds, [read.space.get(name) for read in spaces])
    originals: dict[str, dict[str, Any]] = {}
    for read_one in spaces:
        for name, choices in read_one.originals.items():
            originals.setdefault(name, {}).update(choices)
    notes = dict.fromkeys(note for read in spaces for note in read.notes)
    return TranslatedSpace(python_objects.TOOL, SearchSpace(parameters), originals, tuple(notes))


def _read(number: int, alternative: Mapping[str, Any]) -> TranslatedSpace:
    try:
        return python_objects.read(alternative)
    except SearchSpaceError as error:
        raise SearchSpaceError(f"[{number}].{error}") from None


def _selector(spaces: Sequence[SearchSpace]) -> str:
    for name in spaces[0]:
        listed = [_choices(space[name]) if name in space else [] for space in spaces]
        together = [choice for choices in listed for choice in choices]
        if all(listed) and not any(
            is_among(choice, together[place + 1 :]) for place, choice in enumerate(together)
        ):
            return name
    raise SearchSpaceError(
        f"no parameter tells the {len(spaces)} alternatives apart; give them one that all have, "
        "each with choices of its own, or search them one by one"
    )


def _choices(parameter: Parameter) -> list[Value]:
    return [] if isinstance(parameter, Float | Int) else list(parameter.choices)


def _shared(
    name: str, selector: str, kinds: Sequence[list[Value]], found: Sequence[Parameter | None]
) -> Parameter:
    """A parameter of some alternatives, with its condition."""
    present = {n: parameter for n, parameter in enumerate(found) if parameter is not None}
    (first, shared), *others = present.items()
    for number, other in others:
        if other != shared:
            raise SearchSpaceError(
                f"{name!r} has one range in alternative {first} and another one in {number}; give "
                "both the same, or search them one by one"
            )
    if len(present) == len(found):
        return shared
    return replace(shared, when={selector: [choice for n in present for choice in kinds[n]]})
