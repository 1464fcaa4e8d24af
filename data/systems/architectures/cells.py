"""A cell space on digits, searched by regularized evolution with workers.

The network repeats one cell at falling resolution. A cell makes three new states one after another:
each adds two operations on two earlier states, chosen freely. The states that no other uses are the
cell's output. One mutation changes one operation or one input. `search.run_search` with workers
is the source's loop: whoever is free takes a parent, mutates it, trains the child and adds it,
without waiting.

Source: US11144831B2; Real, Aggarwal, Huang, Le, "Regularized evolution for image classifier
architecture search", 2019. Shrunk: one cell instead of a normal and a reduction cell, three
combinations instead of five, six operations instead of eight.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from optformer.data.methods.regularized_evolution import RegularizedEvolution
from optformer.data.objectives.images import digits
from optformer.data.studies.parameters import Categorical, Int, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.architectures.networks import (
    classifier,
    convolution,
    projection,
    separable,
)
from optformer.data.systems.architectures.search import System
from optformer.data.systems.architectures.training import Recipe, accuracy, train

COMBINATIONS = 3  # new states a cell
CELLS = 3  # at full, half and quarter resolution
WIDTH = 8  # channels of every state
OPERATIONS = [
    "identity",
    "separable 3x3",
    "separable 5x5",
    "dilated 3x3",
    "average pool",
    "max pool",
]


def cells() -> System:
    """The cell space on scikit-learn's digits, with regularized evolution."""
    metadata = {
        "task": "neural architecture search for image classification",
        "dataset": "digits",
        "dataset size": digits().description,
        "model": f"convolutional network of {CELLS} equal cells of {COMBINATIONS} combinations",
    }
    config = StudyConfig(space(), "accuracy", "maximize", metadata)
    return System("regularized-evolution", config, measure, _evolution, {"plain": plain()})


def space() -> SearchSpace:
    """Two inputs and two operations for each combination of the cell."""
    parameters: dict[str, Parameter] = {}
    for number in range(1, COMBINATIONS + 1):
        for side in ("left", "right"):
            parameters |= {
                f"combination{number}.{side}.input": Int(
                    0, number, description="earlier state, 0 and 1 are the cell's inputs"
                ),
                f"combination{number}.{side}.operation": Categorical(
                    OPERATIONS, description="what is done to it"
                ),
            }
    return SearchSpace(parameters)


def plain() -> dict[str, Value]:
    """A hand-made cell: a chain of separable convolutions with skips."""
    point: dict[str, Value] = {}
    for number in range(1, COMBINATIONS + 1):
        point |= {
            f"combination{number}.left.input": number,
            f"combination{number}.left.operation": "separable 3x3",
            f"combination{number}.right.input": number,
            f"combination{number}.right.operation": "identity",
        }
    return point


def measure(params: Mapping[str, Value], recipe: Recipe | None = None) -> dict[str, float]:
    """Train a point's network; its validation `accuracy`."""
    images = digits()
    network = train(lambda: CellNetwork(params), images, recipe or Recipe())
    return {"accuracy": accuracy(network, images.validation, images.validation_classes)}


class CellNetwork(nn.Module):
    """The network of a point: a stem, cells with pooling between them, a classifier."""

    def __init__(self, params: Mapping[str, Value]) -> None:
        super().__init__()
        self.stem = convolution(1, WIDTH, 3)
        self.cells = nn.ModuleList(_Cell(params) for _ in range(CELLS))
        self.pool = nn.MaxPool2d(2)
        self.head = classifier(WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (N, 10)."""
        earlier = latest = self.stem(inputs)
        for index, cell in enumerate(self.cells):
            if index:
                earlier, latest = self.pool(earlier), self.pool(latest)
            earlier, latest = latest, cell(earlier, latest)
        logits: Tensor = self.head(latest)
        return logits


class _Cell(nn.Module):
    def __init__(self, params: Mapping[str, Value]) -> None:
        super().__init__()
        self.inputs: list[tuple[int, int]] = []
        self.operations = nn.ModuleList()
        for number in range(1, COMBINATIONS + 1):
            names = [f"combination{number}.{side}" for side in ("left", "right")]
            self.inputs.append((params[f"{names[0]}.input"], params[f"{names[1]}.input"]))
            self.operations.extend(_operation(params[f"{name}.operation"]) for name in names)
        used = {source for pair in self.inputs for source in pair}
        self.loose = [state for state in range(2, COMBINATIONS + 2) if state not in used]
        self.join = projection(len(self.loose) * WIDTH, WIDTH)

    def forward(self, earlier: Tensor, latest: Tensor) -> Tensor:
        states = [earlier, latest]
        for number, (left, right) in enumerate(self.inputs):
            first, second = self.operations[2 * number], self.operations[2 * number + 1]
            states.append(first(states[left]) + second(states[right]))
        joined: Tensor = self.join(torch.cat([states[state] for state in self.loose], 1))
        return joined


def _operation(name: Value) -> nn.Module:
    if name == "identity":
        return nn.Identity()
    if name == "average pool":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    if name == "max pool":
        return nn.MaxPool2d(3, 1, 1)
    if name == "dilated 3x3":
        return separable(WIDTH, WIDTH, 3, dilation=2)
    return separable(WIDTH, WIDTH, 3 if name == "separable 3x3" else 5)


def _evolution(config: StudyConfig, trials: int) -> RegularizedEvolution:
    """A population of a third of the trials, so that most of them are children."""
    size = min(20, max(2, trials // 3))
    return RegularizedEvolution(config, population_size=size, sample_size=max(2, size // 4))
