"""Networks that are graphs of blocks, whose connections have learned weights.

Up to six blocks hang on a stem. A block is an operation with a number of filters at a resolution;
it adds what comes in over its connections, each brought to the block's size and width and weighed
by a gate, the sigmoid of a number that is trained with the network. After training, the gates tell
which connections were worth having: trials carry them as metrics (`gate 0-3` leads from the stem,
which is 0, to block 3), and `connection_evolution` breeds from them.

Source: US20220189154A1; Ryoo, Piergiovanni, Tan, Angelova, "AssembleNet: searching for multi-stream
neural connectivity in video architectures", 2020. Shrunk: still images in one stream instead of
videos in several.

The searched reward weighs accuracy against operations, since more blocks and connections cost more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import torch
from torch import Tensor, nn

from optformer.data.objectives.images import digits
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.architectures.connection_evolution import ConnectionEvolution
from optformer.data.systems.architectures.cost import cost_aware_reward, count_flops
from optformer.data.systems.architectures.genes import (
    BLOCKS,
    SIZES,
    block_gene,
    connection_gene,
    gate_metric,
    present_blocks,
    space,
)
from optformer.data.systems.architectures.networks import (
    Resample,
    convolution,
    projection,
    separable,
)
from optformer.data.systems.architectures.search import System
from optformer.data.systems.architectures.training import Recipe, accuracy, train

STEM = 8  # filters of the stem
GATE_GAIN = 10.0  # gates learn this much faster than weights: training is short
GATE_START = 0.1  # a gate starts at sigmoid(1), nearer to open


def connections() -> System:
    """Graphs on scikit-learn's digits, with evolution guided by their connections' weights."""
    metadata = {
        "task": "neural architecture search for image classification",
        "dataset": "digits",
        "dataset size": digits().description,
        "model": f"graph of up to {BLOCKS} convolutional blocks with weighted connections",
        "reward": "accuracy times (operations / target) to the power of -0.07",
    }
    config = StudyConfig(space(), "reward", "maximize", metadata)
    return System(
        "connection-evolution",
        config,
        measure,
        lambda config, trials: ConnectionEvolution(config, population_size=max(2, trials // 4)),
        {"chain": chain()},
    )


def chain() -> dict[str, Value]:
    """A hand-made graph: three convolutions in a row at falling resolution."""
    point: dict[str, Value] = {block_gene(k, "operation"): "none" for k in range(1, BLOCKS + 1)}
    for block, size in enumerate(SIZES, start=1):
        point |= {
            block_gene(block, "operation"): "convolution",
            block_gene(block, "filters"): 16 if block > 1 else 8,
            block_gene(block, "size"): size,
        }
        point |= {connection_gene(i, block): i == block - 1 for i in range(block)}
    return point


def measure(params: Mapping[str, Value], recipe: Recipe | None = None) -> dict[str, float]:
    """Train a point's graph; `reward`, `accuracy`, `cost`, `target` and the gates in [0, 1]."""
    images = digits()
    network = train(lambda: GraphNetwork(params), images, recipe or Recipe())
    share = accuracy(network, images.validation, images.validation_classes)
    cost, target = count_flops(network, images.size), _target()
    metrics = {"reward": cost_aware_reward(share, cost, target), "accuracy": share}
    metrics |= {"cost": float(cost), "target": float(target)}
    return metrics | network.gates()


class GraphNetwork(nn.Module):
    """The network of a point.

    A block without a connection takes the stem, ungated. The blocks that lead nowhere are averaged
    over the image, and the classifier sees them side by side.
    """

    def __init__(self, params: Mapping[str, Value]) -> None:
        super().__init__()
        self.present = present_blocks(params)
        self.sources: dict[int, list[int]] = {}
        self.links = nn.ModuleDict()
        self.strengths = nn.ParameterDict()
        self.blocks = nn.ModuleDict()
        self.stem = convolution(1, STEM, 3)
        widths = {0: STEM}
        for block in self.present:
            width = params[block_gene(block, "filters")]
            size = params[block_gene(block, "size")]
            before = [i for i in (0, *self.present) if i < block]
            chosen = [i for i in before if params[connection_gene(i, block)]]
            self.sources[block] = chosen or [0]
            for source in self.sources[block]:
                self.links[f"{source}-{block}"] = Resample(widths[source], width, size)
            for source in chosen:
                self.strengths[f"{source}-{block}"] = nn.Parameter(torch.tensor(GATE_START))
            self.blocks[str(block)] = _block(params[block_gene(block, "operation")], width)
            widths[block] = width
        used = {source for sources in self.sources.values() for source in sources}
        self.loose = [block for block in self.present if block not in used] or [0]
        self.head = nn.Linear(sum(widths[block] for block in self.loose), 10)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (N, 10)."""
        features = {0: self.stem(inputs)}
        for block in self.present:
            summed = torch.stack(list(self._incoming(block, features))).sum(0)
            features[block] = self.blocks[str(block)](summed)
        pooled = [features[block].mean((2, 3)) for block in self.loose]
        logits: Tensor = self.head(torch.cat(pooled, 1))
        return logits

    def gates(self) -> dict[str, float]:
        """Metric name to learned weight in [0, 1], for every connection."""
        return {
            gate_metric(name): float(torch.sigmoid(GATE_GAIN * strength.detach()))
            for name, strength in self.strengths.items()
        }

    def _incoming(self, block: int, features: Mapping[int, Tensor]) -> Iterator[Tensor]:
        for source in self.sources[block]:
            name = f"{source}-{block}"
            carried = self.links[name](features[source])
            if name in self.strengths:
                carried = torch.sigmoid(GATE_GAIN * self.strengths[name]) * carried
            yield carried


def _block(operation: Value, width: int) -> nn.Module:
    if operation == "convolution":
        return convolution(width, width, 3)
    if operation == "separable":
        return separable(width, width, 3)
    return nn.Sequential(nn.MaxPool2d(3, 1, 1), projection(width, width))


@cache
def _target() -> int:
    """Operations of the hand-made chain."""
    with torch.random.fork_rng(devices=[]):
        return count_flops(GraphNetwork(chain()), digits().size)
