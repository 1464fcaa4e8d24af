"""A search space as a table of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optformer.serving.cli import console

if TYPE_CHECKING:
    from optformer.data.studies.parameters import Parameter
    from optformer.data.studies.spaces import SearchSpace


def write_space(space: SearchSpace) -> None:
    """Write one line a parameter: its kind, values, condition and description."""
    console.table(
        ["parameter", "type", "values", "only when", "description"],
        [
            [
                name,
                type(parameter).__name__.lower(),
                _range(parameter),
                ", ".join(f"{p} in {list(v)}" for p, v in (parameter.when or {}).items()),
                parameter.description,
            ]
            for name, parameter in space.items()
        ],
    )


def _range(parameter: Parameter) -> str:
    """A parameter's legal values in words."""
    from optformer.data.studies.parameters import Float, Int

    if not isinstance(parameter, Float | Int):
        return " ".join(map(str, parameter.choices))
    step = f", step {parameter.step:g}" if parameter.step not in (None, 1) else ""
    return f"{parameter.low:g} to {parameter.high:g}{', log' if parameter.log else ''}{step}"
