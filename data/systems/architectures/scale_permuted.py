"""Scale-permuted networks: resolution may fall and rise again.

Six blocks with given scales, and two output blocks, follow a stem. The search has three stages:
1. the order of the blocks, any permutation; the output blocks keep their places at the end;
2. the connections: each block adds two earlier features, each resampled to its scale;
3. adjustments: one scale up or down for single blocks, and their type.
All networks cost the same: the channels are chosen so that the operations come just below those of
the ordered network, whose scales only fall and whose blocks take the two latest features.

The order is written as places: `place1` picks among all blocks, `place2` among those left, and so
on, so every point of the space is a permutation and every permutation a point.

Source: US12079695B2; Du, Lin, Jin, Ghiasi, Tan, Cui, Le, Song, "SpineNet: learning scale-permuted
backbone for recognition and localization", 2020. Shrunk: three scales and eight blocks on digits;
each stage is searched by regularized evolution instead of a recurrent controller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn

from optformer.data.methods.regularized_evolution import RegularizedEvolution
from optformer.data.objectives.images import digits
from optformer.data.studies.parameters import Categorical, Int, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.architectures.cost import count_flops
from optformer.data.systems.architectures.networks import Resample, convolution, projection
from optformer.data.systems.architectures.search import System
from optformer.data.systems.architectures.staged import Stage, StagedSearch
from optformer.data.systems.architectures.training import Recipe, accuracy, train

SCALES = (0, 0, 1, 1, 2, 2)  # of the blocks in the ordered network; 0 is full resolution
OUTPUTS = (1, 2)  # scales of the output blocks
STEM = 2  # features that the first block can take
SIZE = 8  # pixels at scale 0
WIDTH = 6.0  # channels of the ordered network at scale 0; they double with each scale
_BLOCKS = len(SCALES) + len(OUTPUTS)
_WIDTHS = [0.25 * quarter for quarter in range(4, 65)]


def scale_permuted() -> System:
    """Scale-permuted networks on scikit-learn's digits, searched in three stages."""
    metadata = {
        "task": "neural architecture search for image classification",
        "dataset": "digits",
        "dataset size": digits().description,
        "model": f"network of {_BLOCKS} residual blocks in permuted scales, at equal operations",
    }
    config = StudyConfig(space(), "accuracy", "maximize", metadata)
    return System("scale-permuted", config, measure, _stages, {"ordered": ordered()})


def space() -> SearchSpace:
    """Places, inputs, shifts and types."""
    parameters: dict[str, Parameter] = {}
    for place in range(1, len(SCALES)):
        parameters[f"place{place}"] = Int(
            0, len(SCALES) - place, description="which of the blocks left comes here"
        )
    for block in range(2, _BLOCKS + 1):  # the first takes both features of the stem
        earlier = STEM + block - 1
        parameters |= {
            f"block{block}.first": Int(
                0, earlier - 1, description="first input, counted back from the latest feature"
            ),
            f"block{block}.second": Int(
                0, earlier - 2, description="second input, counted back among the others"
            ),
        }
    for block in range(1, len(SCALES) + 1):
        parameters |= {
            f"block{block}.shift": Int(-1, 1, description="added to the block's scale"),
            f"block{block}.type": Categorical(
                ["residual", "bottleneck"], description="kind of block"
            ),
        }
    return SearchSpace(parameters)


def ordered() -> dict[str, Value]:
    """The ordered network: falling resolution, each block on the two latest features."""
    return {
        name: "residual" if isinstance(parameter, Categorical) else 0
        for name, parameter in space().items()
    }


def permutation(params: Mapping[str, Value]) -> list[int]:
    """Order of the blocks: indices into `SCALES`, each once."""
    left = list(range(len(SCALES)))
    order = [left.pop(params[f"place{place}"]) for place in range(1, len(SCALES))]
    return order + left


def scales(params: Mapping[str, Value]) -> list[int]:
    """Scale of every block in the network's order, output blocks last."""
    shifted = [
        min(max(SCALES[index] + params[f"block{block}.shift"], 0), max(SCALES))
        for block, index in enumerate(permutation(params), start=1)
    ]
    return shifted + list(OUTPUTS)


def inputs(params: Mapping[str, Value], block: int) -> tuple[int, int]:
    """The two features a block (from 1) takes; 0 and 1 are the stem's, block k makes k + 1."""
    latest_first = list(reversed(range(STEM + block - 1)))
    if block == 1:
        return latest_first[0], latest_first[1]
    first = latest_first.pop(params[f"block{block}.first"])
    return first, latest_first[params[f"block{block}.second"]]


def measure(params: Mapping[str, Value], recipe: Recipe | None = None) -> dict[str, float]:
    """Train a point's network at the ordered network's cost; `accuracy`, `cost` and `width`."""
    images = digits()
    width, cost = fitting_width(params)
    network = train(lambda: PermutedNetwork(params, width), images, recipe or Recipe())
    share = accuracy(network, images.validation, images.validation_classes)
    return {"accuracy": share, "cost": float(cost), "width": width}


def fitting_width(params: Mapping[str, Value]) -> tuple[float, int]:
    """The largest width whose operations do not exceed the ordered network's, and the operations.

    The smallest width, 1, is taken when even that costs more.
    """
    budget = _flops(tuple(ordered().items()), WIDTH)
    key = tuple(params.items())
    low, high = 0, len(_WIDTHS)  # the answer is in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if _flops(key, _WIDTHS[middle]) <= budget:
            low = middle
        else:
            high = middle
    return _WIDTHS[low], _flops(key, _WIDTHS[low])


@lru_cache(maxsize=64)
def _flops(items: tuple[tuple[str, Value], ...], width: float) -> int:
    with torch.random.fork_rng(devices=[]):
        return count_flops(PermutedNetwork(dict(items), width), SIZE)


class PermutedNetwork(nn.Module):
    """The network of a point.

    Args:
        params: The point.
        width: Channels at scale 0; they double with each scale.
    """

    def __init__(self, params: Mapping[str, Value], width: float) -> None:
        super().__init__()
        widths = [round(width * 2**scale) for scale in range(max(SCALES) + 1)]
        self.stem = nn.ModuleList(
            [convolution(1, widths[0], 3), convolution(widths[0], widths[0], 3)]
        )
        self.sources: list[tuple[int, int]] = []
        self.links = nn.ModuleList()
        self.blocks = nn.ModuleList()
        made = [widths[0]] * STEM
        for block, scale in enumerate(scales(params), start=1):
            sources = inputs(params, block)
            self.sources.append(sources)
            self.links.extend(
                Resample(made[source], widths[scale], SIZE // 2**scale) for source in sources
            )
            kind = params.get(f"block{block}.type", "residual")
            self.blocks.append(_Block(widths[scale], kind))
            made.append(widths[scale])
        self.head = nn.Linear(sum(made[-len(OUTPUTS) :]), 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (N, 10)."""
        features = [self.stem[0](images)]
        features.append(self.stem[1](features[0]))
        for index, (first, second) in enumerate(self.sources):
            summed = self.links[2 * index](features[first])
            summed = summed + self.links[2 * index + 1](features[second])
            features.append(self.blocks[index](summed))
        pooled = [feature.mean((2, 3)) for feature in features[-len(OUTPUTS) :]]
        logits: Tensor = self.head(torch.cat(pooled, 1))
        return logits


class _Block(nn.Module):
    """A residual block of two convolutions, or a bottleneck of half the channels."""

    def __init__(self, width: int, kind: Value) -> None:
        super().__init__()
        if kind == "residual":
            self.body = nn.Sequential(
                convolution(width, width, 3),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
            )
        else:
            half = max(1, width // 2)
            self.body = nn.Sequential(
                convolution(width, half, 1), convolution(half, half, 3), projection(half, width)
            )

    def forward(self, summed: Tensor) -> Tensor:
        features: Tensor = torch.relu(summed + self.body(summed))
        return features


def _stages(config: StudyConfig, trials: int) -> StagedSearch:
    """A third of the trials a stage."""
    third = max(1, trials // 3)
    groups: list[Callable[[str], bool]] = [
        lambda name: name.startswith("place"),
        lambda name: name.endswith((".first", ".second")),
        lambda name: name.endswith((".shift", ".type")),
    ]
    stages = [Stage(tuple(filter(group, config.space)), third) for group in groups]
    return StagedSearch(config, stages, ordered(), lambda held: _evolution(held, third))


def _evolution(config: StudyConfig, trials: int) -> RegularizedEvolution:
    size = min(20, max(2, trials // 3))
    return RegularizedEvolution(config, population_size=size, sample_size=max(2, size // 3))
