"""Histories of search methods on synthetic functions, many studies at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from optformer.data.corpora.synthetic.spaces import SyntheticSpaces
from optformer.data.methods import gaussian_process

PROBE_SCALES = (0.003, 0.1)  # distance of half of the probes from the incumbent
REFIT_EVERY = 6  # trials between two choices of the Gaussian process's hyperparameters
UNIFORM_CANDIDATES, LOCAL_CANDIDATES = 192, 64
MEMBERS, TOURNAMENT, EVOLUTION_STEP = 20, 5, 0.2  # of regularized evolution


class Functions(Protocol):
    """F functions on each of S spaces, evaluated together; points are (S, F, N, P)."""

    @property
    def spaces(self) -> SyntheticSpaces:
        """The spaces."""

    @property
    def per_space(self) -> int:
        """Number of functions F on each space."""

    def select(self, rows: slice) -> Functions:
        """The functions of some of the spaces."""

    def observe(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Values to maximize, with noise, (S, F, N); NaN where the trial fails."""

    def expected(self, values: Tensor) -> Tensor:
        """Values to maximize, without noise, (S, F, N); NaN where the trial fails."""


@dataclass(frozen=True)
class SyntheticHistory:
    """Trials of B = S * F studies in the order they were tried.

    Attributes:
        values: Points, (S, F, T, P), as in `SyntheticSpaces`.
        gain: Values to maximize, NaN where the trial failed, (S, F, T).
    """

    values: Tensor
    gain: Tensor


def random_search(
    functions: Functions, trials: int, generator: torch.Generator
) -> SyntheticHistory:
    """Uniform points."""
    values = _uniform(functions, trials, generator)
    return SyntheticHistory(values, functions.observe(values, generator))


def quasi_random(functions: Functions, trials: int, generator: torch.Generator) -> SyntheticHistory:
    """A Kronecker sequence, shifted at random (Roberts 2018's generalised golden ratio)."""
    spaces = functions.spaces
    count, per_space, parameters = _shape(functions)
    ratio = _golden_ratio(parameters)
    steps = torch.tensor([ratio ** -(p + 1) for p in range(parameters)], device=generator.device)
    shift = torch.rand(count, per_space, 1, parameters, generator=generator, device=steps.device)
    index = torch.arange(1, trials + 1, device=steps.device)[:, None]
    values = spaces.legal((shift + index * steps) % 1.0)
    return SyntheticHistory(values, functions.observe(values, generator))


def local_search(functions: Functions, trials: int, generator: torch.Generator) -> SyntheticHistory:
    """Hill climbing: perturb the best point so far by a step of fixed size for each study."""
    count, per_space, _ = _shape(functions)
    scale = _log_uniform((count, per_space, 1, 1), 0.03, 0.2, generator)
    start = min(trials, 2)

    def propose(values: Tensor, gain: Tensor) -> Tensor:
        return functions.spaces.mutate(_best(values, gain), scale, 0.3, generator)

    return _sequential(functions, trials, start, propose, generator)


def clustered(functions: Functions, trials: int, generator: torch.Generator) -> SyntheticHistory:
    """Uniform points and, at a rate of each study's own, points around the best at any distance."""
    count, per_space, _ = _shape(functions)
    rate = torch.rand(count, per_space, 1, 1, generator=generator, device=generator.device)

    def propose(values: Tensor, gain: Tensor) -> Tensor:
        scale = _log_uniform((count, per_space, 1, 1), 0.003, 0.3, generator)
        near = functions.spaces.mutate(_best(values, gain), scale, 0.2, generator)
        draw = torch.rand(count, per_space, 1, 1, generator=generator, device=near.device)
        return torch.where(draw < rate, near, _uniform(functions, 1, generator))

    return _sequential(functions, trials, 1, propose, generator)


def regularized_evolution(
    functions: Functions, trials: int, generator: torch.Generator
) -> SyntheticHistory:
    """The best of a few of the latest has one parameter changed; the oldest is forgotten.

    As the registered method of that name: 20 members, 5 in a tournament, steps of 0.2.
    """
    count, per_space, _ = _shape(functions)

    def propose(values: Tensor, gain: Tensor) -> Tensor:
        valued = ~gain.isnan()
        age = valued.flip(-1).cumsum(-1).flip(-1)  # 1 for the newest that has a value
        members = (valued & (age <= MEMBERS)).flatten(0, 1)
        members |= ~members.any(-1, keepdim=True)  # nobody has: the draw is not used
        drawn = torch.multinomial(members.float(), TOURNAMENT, True, generator=generator)
        drawn = drawn.view(count, per_space, TOURNAMENT)
        scores = torch.gather(gain.nan_to_num(nan=-math.inf), 2, drawn)
        parent = torch.gather(drawn, 2, scores.argmax(-1, keepdim=True))
        parent = parent[..., None].expand(-1, -1, -1, values.shape[-1])
        child = _change_one(functions.spaces, torch.gather(values, 2, parent), generator)
        founding = (valued.sum(-1) < MEMBERS)[..., None, None]
        return torch.where(founding, _uniform(functions, 1, generator), child)

    return _sequential(functions, trials, 1, propose, generator)


def bayesian(
    acquisition: str, functions: Functions, trials: int, generator: torch.Generator
) -> SyntheticHistory:
    """Bayesian optimization: a Gaussian process and an acquisition after a random start."""
    rank = gaussian_process.ACQUISITIONS[acquisition]
    spaces = functions.spaces
    count, per_space, parameters = _shape(functions)
    studies = count * per_space
    start = int(torch.randint(2, 9, (), generator=generator, device=generator.device))
    fitted: dict[str, Tensor] = {}

    def propose(values: Tensor, gain: Tensor) -> Tensor:
        tried = values.shape[2]
        # Failed trials count as the worst value seen.
        worst = torch.nan_to_num(gain, nan=math.inf).amin(-1, keepdim=True)
        filled = torch.where(gain.isnan(), worst, gain).nan_to_num(posinf=0.0)
        x = _kernel_inputs(functions, values).flatten(0, 1).double()
        flat = filled.reshape(studies, tried).double()
        # Exploded values are pulled in: the process sees ranks' sizes, not outliers.
        centred = flat - flat.median(-1, keepdim=True).values
        scaled = torch.asinh(centred / centred.abs().mean(-1, keepdim=True).clamp(min=1e-9))
        scaled = scaled - scaled.mean(-1, keepdim=True)
        scaled = scaled / scaled.std(-1, keepdim=True).clamp(min=1e-6)
        if not fitted or tried % REFIT_EVERY == 0:
            fitted["scale"], fitted["noise"] = gaussian_process.fit(x, scaled)
        scale = _log_uniform((count, per_space, LOCAL_CANDIDATES, 1), 0.003, 0.2, generator)
        best = _best(values, gain).expand(-1, -1, LOCAL_CANDIDATES, -1)
        candidates = torch.cat(
            [
                _uniform(functions, UNIFORM_CANDIDATES, generator),
                spaces.mutate(best, scale, 0.2, generator),
            ],
            2,
        )
        score = rank(
            x,
            scaled,
            _kernel_inputs(functions, candidates).flatten(0, 1).double(),
            fitted["scale"],
            fitted["noise"],
        )
        chosen = score.argmax(-1).reshape(count, per_space, 1, 1).expand(-1, -1, 1, parameters)
        return torch.gather(candidates, 2, chosen)

    return _sequential(functions, trials, min(start, trials), propose, generator)


METHODS: dict[str, Callable[[Functions, int, torch.Generator], SyntheticHistory]] = {
    "random": random_search,
    "quasi-random": quasi_random,
    "local search": local_search,
    "clustered": clustered,
    "regularized evolution": regularized_evolution,
    "gp ei": partial(bayesian, "ei"),
    "gp ucb": partial(bayesian, "ucb"),
}
"""Bulk history generators by the name that the metadata give them."""


def draw_probes(
    functions: Functions,
    history: SyntheticHistory,
    prefix: int,
    count: int,
    generator: torch.Generator,
) -> SyntheticHistory:
    """Points whose values are to be predicted: half near a good point, a quarter at the edges.

    Good points are the incumbent, the best of the first `prefix` trials, and, for one in
    `prefix` + 1 of them, the best that is known of the next function on the same space: where the
    best of such functions lies is what there is to know before any trial, and a function's own best
    would tell too much. At the edges, where an acquisition likes to go, some numbers are moved to
    the ends of their range.
    """
    spaces, per_space, _ = _shape(functions)
    near = count // 2 if prefix or per_space > 1 else 0
    values = _uniform(functions, count - near, generator)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    edge = count // 4
    pushed = values[:, :, :edge]
    moved = draw(*pushed.shape) < draw(spaces, per_space, edge, 1)
    moved &= ~functions.spaces.is_choice[:, None, None]
    values = torch.cat([torch.where(moved, pushed.round(), pushed), values[:, :, edge:]], 2)
    gain = functions.observe(values, generator)
    others = near // (prefix + 1) if per_space > 1 else 0
    known = torch.cat([history.values, values], 2), torch.cat([history.gain, gain], 2)
    best = [_best(*known).roll(1, 1).expand(-1, -1, others, -1)]
    if prefix:
        own = _best(history.values[:, :, :prefix], history.gain[:, :, :prefix])
        best.append(own.expand(-1, -1, near - others, -1))
    scale = _log_uniform((spaces, per_space, near, 1), *PROBE_SCALES, generator)
    close = functions.spaces.mutate(torch.cat(best, 2), scale, 0.1, generator)
    return SyntheticHistory(
        torch.cat([values, close], 2),
        torch.cat([gain, functions.observe(close, generator)], 2),
    )


def _sequential(
    functions: Functions,
    trials: int,
    start: int,
    propose: Callable[[Tensor, Tensor], Tensor],
    generator: torch.Generator,
) -> SyntheticHistory:
    values = _uniform(functions, start, generator)
    gain = functions.observe(values, generator)
    for _ in range(trials - start):
        point = propose(values, gain)
        values = torch.cat([values, point], 2)
        gain = torch.cat([gain, functions.observe(point, generator)], 2)
    return SyntheticHistory(values, gain)


def _change_one(spaces: SyntheticSpaces, values: Tensor, generator: torch.Generator) -> Tensor:
    """Points (S, F, N, P) with one active parameter changed, which one is random."""

    def draw() -> Tensor:
        return torch.rand(values.shape, generator=generator, device=values.device)

    choices, levels = (tensor[:, None, None] for tensor in (spaces.choices, spaces.levels))
    step = torch.randn(values.shape, generator=generator, device=values.device)
    target = (values + EVOLUTION_STEP * step).abs() % 2  # a triangle wave reflects at both ends
    moved = spaces.snap(torch.minimum(target, 2 - target))
    level = torch.where(draw() < 0.5, 1.0, -1.0) / (levels - 1).clamp(min=1)
    level = torch.where((values + level - 0.5).abs() > 0.5 + 1e-6, -level, level)
    moved = torch.where((levels > 0) & (moved == values), spaces.snap(values + level), moved)
    another = values + 1 + torch.floor(draw() * (choices - 1).clamp(min=1))
    moved = torch.where(choices > 0, another % choices.clamp(min=1), moved)
    chosen = draw().masked_fill(~spaces.active(values), -1.0).argmax(-1, keepdim=True)
    slots = torch.arange(values.shape[-1], device=values.device)
    return torch.where(slots == chosen, moved, values)


def _best(values: Tensor, gain: Tensor) -> Tensor:
    """The best point of each study, (S, F, 1, P); the first when all failed."""
    index = torch.nan_to_num(gain, nan=-torch.inf).argmax(-1)
    index = index[..., None, None].expand(-1, -1, 1, values.shape[-1])
    return torch.gather(values, 2, index)


def _kernel_inputs(functions: Functions, values: Tensor) -> Tensor:
    """Coordinates for a searcher that knows the space but not the function, (S, F, N, E)."""
    spaces = functions.spaces
    active = spaces.active(values)
    most = int(spaces.choices.max())
    numeric = torch.where(spaces.is_choice[:, None, None], torch.zeros_like(values), values)
    parts = [torch.where(active, numeric, torch.full_like(values, 0.5))]
    if most:
        chosen = values[..., None] == torch.arange(most, device=values.device)
        chosen &= (spaces.is_choice[:, None, None] & active)[..., None]
        parts.append(chosen.flatten(-2).float() * 0.5)
    return torch.cat(parts, -1)


def _uniform(functions: Functions, count: int, generator: torch.Generator) -> Tensor:
    spaces, per_space, parameters = _shape(functions)
    draw = torch.rand(
        spaces, per_space, count, parameters, generator=generator, device=generator.device
    )
    return functions.spaces.legal(draw)


def _shape(functions: Functions) -> tuple[int, int, int]:
    spaces, parameters = functions.spaces.choices.shape
    return spaces, functions.per_space, parameters


def _log_uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator
) -> Tensor:
    draw = torch.rand(shape, generator=generator, device=generator.device)
    return torch.exp(math.log(low) + math.log(high / low) * draw)


def _golden_ratio(dimensions: int) -> float:
    """The root above 1 of x ** (d + 1) = x + 1."""
    root = 2.0
    for _ in range(30):
        root = (1 + root) ** (1 / (dimensions + 1))
    return root
