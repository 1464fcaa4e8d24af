"""Compound scaling: make a network deeper, wider and sharper at once, in a fixed proportion.

1. A small baseline network has a depth, a width and a resolution.
2. At compound coefficient phi = 1, which doubles the cost, a small grid of coefficients is tried
   for real: depth is multiplied by alpha, width by beta, resolution by gamma, with
   alpha x beta^2 x gamma^2 = 2, since operations grow with depth and with the others' squares.
3. The best coefficients are kept, and any larger network is alpha^phi deeper, beta^phi wider and
   gamma^phi sharper: about 2^phi times the operations, one number to choose.

The space divides the doubling: `depth_share` of its logarithm goes to depth, `width_share` of the
rest to width, what is left to resolution. Every point keeps the product exactly; rounding to whole
layers, channels and pixels moves the counted operations a little, and trials report them.

Source: US11893491B2; Tan, Le, "EfficientNet: rethinking model scaling for convolutional neural
networks", 2019. Shrunk: residual networks on generated drawings, which have more to show at a
higher resolution, as enlarged digits have not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count as counting

import numpy as np
import torch
from torch import Tensor, nn

from optformer.data.methods.base import check_count
from optformer.data.methods.points import point_key, tried_keys
from optformer.data.objectives.images import glyphs
from optformer.data.studies.errors import ConfigError, SpaceExhaustedError
from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.architectures.cost import count_flops
from optformer.data.systems.architectures.networks import classifier, convolution
from optformer.data.systems.architectures.search import System
from optformer.data.systems.architectures.training import Recipe, accuracy, train

_FINEST = 64  # parts of the doubling in the finest grid


@dataclass(frozen=True)
class Shape:
    """Size of a network.

    Attributes:
        depth: Residual layers a stage.
        width: Channels of the first stage; the second has twice as many.
        resolution: Height and width of the images in pixels.
    """

    depth: int = 2
    width: int = 8
    resolution: int = 8


BASELINE = Shape()


@dataclass(frozen=True)
class Coefficients:
    """How a network grows when phi grows by one.

    Attributes:
        alpha: Factor of the depth.
        beta: Factor of the width.
        gamma: Factor of the resolution.
    """

    alpha: float
    beta: float
    gamma: float

    @classmethod
    def of(cls, params: Mapping[str, Value]) -> Coefficients:
        """The coefficients of a point; their cost product is 2."""
        depth = params["depth_share"]
        width = (1.0 - depth) * params["width_share"]
        rest = 1.0 - depth - width
        return cls(2.0**depth, 2.0 ** (width / 2.0), 2.0 ** (rest / 2.0))

    @property
    def cost(self) -> float:
        """Factor of the operations, alpha x beta^2 x gamma^2."""
        return self.alpha * self.beta**2 * self.gamma**2

    def scale(self, phi: float, baseline: Shape = BASELINE) -> Shape:
        """The baseline scaled by the compound coefficient phi, rounded to whole numbers."""
        return Shape(
            depth=round(baseline.depth * self.alpha**phi),
            width=round(baseline.width * self.beta**phi),
            resolution=round(baseline.resolution * self.gamma**phi),
        )


def compound_scaling(phi: float = 1.0) -> System:
    """The choice of coefficients, measured on the network scaled by phi."""
    metadata = {
        "task": "scaling a network for image classification to more operations",
        "dataset": "generated line drawings",
        "dataset size": glyphs(BASELINE.resolution).description,
        "model": f"residual network scaled to {2.0**phi:g} times its operations",
    }
    config = StudyConfig(space(), "accuracy", "maximize", metadata)
    alone = {
        "depth alone": {"depth_share": 1.0, "width_share": 0.0},
        "width alone": {"depth_share": 0.0, "width_share": 1.0},
        "resolution alone": {"depth_share": 0.0, "width_share": 0.0},
    }
    return System(
        "compound-scaling",
        config,
        partial(measure, phi=phi),
        lambda config, trials: CoefficientGrid(config, trials),
        alone,
    )


def space() -> SearchSpace:
    """How the growth is divided among depth, width and resolution."""
    return SearchSpace(
        depth_share=Float(0.0, 1.0, description="share of the growth that goes to depth"),
        width_share=Float(0.0, 1.0, description="share of the rest that goes to width"),
    )


def measure(
    params: Mapping[str, Value], *, phi: float, recipe: Recipe | None = None, seed: int = 0
) -> dict[str, float]:
    """Train the scaled network of a point; `accuracy`, `cost` and the counted baseline's `base`."""
    shape = Coefficients.of(params).scale(phi)
    images = glyphs(shape.resolution)
    network = train(lambda: ScaledNetwork(shape), images, recipe or Recipe(), seed)
    share = accuracy(network, images.validation, images.validation_classes)
    cost = count_flops(network, shape.resolution)
    return {"accuracy": share, "cost": float(cost), "base": float(baseline_flops())}


def baseline_flops() -> int:
    """Operations of the baseline."""
    with torch.random.fork_rng(devices=[]):
        return count_flops(ScaledNetwork(BASELINE), BASELINE.resolution)


class ScaledNetwork(nn.Module):
    """A residual network of two stages, the second at half the resolution and twice the width."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.body = nn.Sequential(
            convolution(1, width, 3),
            *(_Residual(width) for _ in range(shape.depth)),
            convolution(width, 2 * width, 3, stride=2),
            *(_Residual(2 * width) for _ in range(shape.depth)),
            classifier(2 * width),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (N, 10)."""
        logits: Tensor = self.body(inputs)
        return logits


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = convolution(width, width, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = inputs + self.body(inputs)
        return outputs


class CoefficientGrid:
    """Walks an even grid of the ways to divide the growth, then ever finer ones.

    The first grid divides the growth into as many equal parts as the trials allow: with n parts,
    there are (n + 1)(n + 2) / 2 ways to give them to depth, width and resolution.

    Args:
        config: A study of this module's space.
        trials: Trials that will be made, at least 3.

    Raises:
        ConfigError: The trials are too few, or the space is another one.
    """

    def __init__(self, config: StudyConfig, trials: int = 15) -> None:
        if trials < 3:
            raise ConfigError(f"a grid of coefficients needs at least 3 trials, got {trials}")
        if tuple(config.space) != tuple(space()):
            raise ConfigError(
                f"a grid of coefficients searches {list(space())}, and this space has "
                f"{list(config.space)}"
            )
        self._config = config
        self._parts = next(n for n in counting(1) if (n + 2) * (n + 3) // 2 > trials)

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`; `rng` is not used."""
        check_count(count)
        tried = tried_keys(history)
        points: list[dict[str, Value]] = []
        for point in self._walk():
            if len(points) == count:
                break
            if point_key(point) not in tried:
                tried.add(point_key(point))
                points.append(point)
        if len(points) < count:
            raise SpaceExhaustedError(f"no untried coefficients are left after {len(tried)}")
        return points

    def _walk(self) -> Iterator[dict[str, Value]]:
        for parts in range(self._parts, _FINEST + 1):
            for depth in range(parts + 1):
                rest = parts - depth
                for width in range(rest + 1):
                    shares = {
                        "depth_share": depth / parts,
                        "width_share": width / rest if rest else 0.0,
                    }
                    yield shares | dict(self._config.fixed)
