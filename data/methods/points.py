"""Points of a search space as search methods handle them: identity, novelty, coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

import numpy as np

from optformer.data.studies.errors import SearchSpaceError, SpaceExhaustedError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial

_NEIGHBOURS = 10  # points that are drawn in one place before moving on
_DRAWS = 100  # repeated draws in a row before the untried points are listed one by one


def point_key(params: Mapping[str, Value]) -> Hashable:
    """Equal for equal points whatever the order of their parameters; tells True from 1."""
    return frozenset((name, isinstance(value, bool), value) for name, value in params.items())


def tried_keys(history: Iterable[Trial]) -> set[Hashable]:
    """Keys of all points in a history, whatever became of them."""
    return {point_key(trial.params) for trial in history}


def draw_untried(
    draw: Callable[[], dict[str, Value]],
    listed: Callable[[], Iterator[dict[str, Value]]],
    tried: set[Hashable],
    rng: np.random.Generator,
) -> dict[str, Value]:
    """Draw a point that was not tried yet, and mark it as tried.

    Args:
        draw: Draws any point.
        listed: Lists all points; it raises `SearchSpaceError` when there is a continuum of them,
            and only then may a point be repeated.
        tried: Keys of the points tried so far; the new one is added.
        rng: Picks among the points left once drawing finds no new one.

    Raises:
        SpaceExhaustedError: All points were tried.
    """
    point = draw()
    for _ in range(_DRAWS):
        if point_key(point) not in tried:
            break
        point = draw()
    else:
        point = _pick(point, listed, tried, rng)
    tried.add(point_key(point))
    return point


def sample_untried(
    space: SearchSpace,
    fixed: Mapping[str, Value],
    tried: set[Hashable],
    rng: np.random.Generator,
) -> dict[str, Value]:
    """Draw an untried point from the space's own distribution, and mark it as tried.

    Raises:
        SpaceExhaustedError: The space is finite and all its points were tried.
    """
    return draw_untried(lambda: space.sample(rng, fixed), lambda: space.grid(fixed), tried, rng)


def _pick(
    point: dict[str, Value],
    listed: Callable[[], Iterator[dict[str, Value]]],
    tried: set[Hashable],
    rng: np.random.Generator,
) -> dict[str, Value]:
    try:
        left = [other for other in listed() if point_key(other) not in tried]
    except SearchSpaceError:
        return point
    if not left:
        raise exhausted(tried)
    return left[int(rng.integers(len(left)))]


def exhausted(tried: set[Hashable]) -> SpaceExhaustedError:
    """The error of a finite space without an untried point."""
    return SpaceExhaustedError(
        f"no untried point is left after {len(tried)} different ones; "
        "stop here, widen the space or release fixed values"
    )


def from_uniform(parameter: Parameter, position: float) -> Value:
    """The value at a position in [0, 1): uniform positions give the distribution of `sample`."""
    if isinstance(parameter, Categorical | Ordinal):
        return parameter.choices[_cell(position, len(parameter.choices))]
    if isinstance(parameter, Int) and parameter.log:
        low, high = _log_edges(parameter)
        value = round(math.exp(low + (high - low) * position))
        return min(max(value, parameter.low), parameter.high)
    levels = parameter.num_levels
    if levels is None:
        return parameter.from_unit(position)
    return parameter.validate(parameter.low + _cell(position, levels) * (parameter.step or 0))


def to_uniform(parameter: Parameter, value: Value) -> float:
    """A position that `from_uniform` maps to the value: the middle of the value's share."""
    if isinstance(parameter, Categorical | Ordinal):
        return (parameter.index(value) + 0.5) / len(parameter.choices)
    if isinstance(parameter, Int) and parameter.log:
        low, high = _log_edges(parameter)
        return (math.log(value) - low) / (high - low)
    levels = parameter.num_levels
    if levels is None:
        return parameter.to_unit(value)
    level: int = round((value - parameter.low) / (parameter.step or 1))
    return (level + 0.5) / levels


def mutate(
    space: SearchSpace,
    params: Mapping[str, Value],
    rng: np.random.Generator,
    *,
    step_size: float,
    fixed: Mapping[str, Value],
) -> dict[str, Value]:
    """A neighbour of a point: one or more parameters moved, the rest kept.

    Each free parameter moves with probability 1/n, at least one of the n always. A number moves by
    a normal step on the unit interval, reflected at the ends, and by one level at least; a
    categorical takes another choice. Children that become active are drawn, others dropped.

    Args:
        space: Where the point lies.
        params: A legal point.
        rng: Source of randomness.
        step_size: Standard deviation of the steps on the unit interval, above 0.
        fixed: Values that are kept.
    """
    free = [name for name in params if name not in fixed and space[name].num_levels != 1]
    moved = dict(params)
    if free:
        chosen = rng.random(len(free)) < 1.0 / len(free)
        chosen[int(rng.integers(len(free)))] = True
        for name, is_chosen in zip(free, chosen, strict=True):
            if is_chosen:
                moved[name] = _step(space[name], params[name], step_size, rng)
    return space.repair({**moved, **fixed}, rng)


def untried_neighbour(
    space: SearchSpace,
    params: Mapping[str, Value],
    tried: set[Hashable],
    rng: np.random.Generator,
    *,
    step_size: float,
    fixed: Mapping[str, Value],
) -> dict[str, Value]:
    """An untried point with one parameter moved as in `mutate`, marked as tried.

    When several neighbours in a row were tried before, the search goes on around the last of them.

    Raises:
        SpaceExhaustedError: The space is finite and all its points were tried.
    """
    centre, moves = dict(params), 0

    def move() -> dict[str, Value]:
        nonlocal centre, moves
        free = [name for name in centre if name not in fixed and space[name].num_levels != 1]
        moved = dict(centre)
        if free:
            name = free[int(rng.integers(len(free)))]
            moved[name] = _step(space[name], centre[name], step_size, rng)
        neighbour = space.repair({**moved, **fixed}, rng)
        moves += 1
        if moves % _NEIGHBOURS == 0:
            centre = neighbour
        return neighbour

    return draw_untried(move, lambda: space.grid(fixed), tried, rng)


def draw_or_move(
    draw: Callable[[], dict[str, Value]],
    space: SearchSpace,
    tried: set[Hashable],
    rng: np.random.Generator,
    *,
    step_size: float,
    fixed: Mapping[str, Value],
) -> dict[str, Value]:
    """Draw an untried point, or, when several in a row were tried, take a neighbour of the last.

    For drawers that may settle on few points of a space too large to list. The point is marked as
    tried.

    Raises:
        SpaceExhaustedError: The space is finite and all its points were tried.
    """
    for _ in range(_NEIGHBOURS):
        point = draw()
        if point_key(point) not in tried:
            tried.add(point_key(point))
            return point
    return untried_neighbour(space, point, tried, rng, step_size=step_size, fixed=fixed)


def _step(parameter: Parameter, value: Value, step_size: float, rng: np.random.Generator) -> Value:
    if isinstance(parameter, Categorical):
        index = parameter.index(value)
        others = [choice for i, choice in enumerate(parameter.choices) if i != index]
        return others[int(rng.integers(len(others)))]
    unit = parameter.to_unit(value)
    target = unit + step_size * float(rng.standard_normal())
    target = abs(target) % 2.0  # a triangle wave reflects at both ends
    new = parameter.from_unit(min(target, 2.0 - target))
    if new != value or (isinstance(parameter, Float) and parameter.step is None):
        return new
    return _next_level(parameter, value, upward=bool(rng.random() < 0.5))


def _next_level(parameter: Int | Float | Ordinal, value: Value, *, upward: bool) -> Value:
    """The neighbouring level, the other way when the value is at an end."""
    if isinstance(parameter, Ordinal):
        index = parameter.index(value)
        other = index + 1 if upward else index - 1
        if not 0 <= other < len(parameter.choices):
            other = 2 * index - other
        return parameter.choices[other]
    step = parameter.step or 0
    other = value + step if upward else value - step
    if not parameter.low <= other <= parameter.from_unit(1.0):
        other = 2 * value - other
    return parameter.validate(other)


def _cell(position: float, cells: int) -> int:
    return min(int(position * cells), cells - 1)


def _log_edges(parameter: Int) -> tuple[float, float]:
    """Each whole number owns the half steps around it, as when sampling."""
    return math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
