"""A factorized hierarchical space: every block of the network has a small space of its own.

The network is a list of blocks at falling resolution. The layers inside a block are equal, and the
block's choices (operation, kernel, expansion, attention, skip, filters, number of layers) are its
own, so the layers differ where it matters and the space stays a product of few choices a block.
The reward is accuracy x (latency / target)^w with w = -0.07, a soft constraint. The latency is
measured on this machine, side by side with that of a reference network, whose latency is the
target; it may be counted in operations instead, which repeats exactly. The space is searched by the
recurrent controller of `controller`.

Source: US20220101090A1; Tan, Chen, Pang, Vasudevan, Sandler, Howard, Le, "MnasNet: platform-aware
neural architecture search for mobile", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optformer.data.objectives.images import digits
from optformer.data.studies.parameters import Categorical, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.architectures.controller import RecurrentController
from optformer.data.systems.architectures.cost import (
    LATENCY_EXPONENT,
    cost_aware_reward,
    count_flops,
    measure_latencies,
)
from optformer.data.systems.architectures.networks import (
    SqueezeExcite,
    classifier,
    convolution,
    inverted_bottleneck,
    separable,
)
from optformer.data.systems.architectures.search import System
from optformer.data.systems.architectures.training import Recipe, accuracy, train

STEM = 8  # filters of the first convolution
FILTERS = (8, 16, 24)  # of each block, before the chosen factor
STRIDES = (1, 2, 2)  # of each block's first layer
Latency = Literal["measured", "flops"]


def factorized(latency: Latency = "measured", exponent: float = LATENCY_EXPONENT) -> System:
    """The space on scikit-learn's digits, with its controller.

    Args:
        latency: Time on this machine, or operations counted.
        exponent: w of the reward, at most 0.
    """
    metadata = {
        "task": "neural architecture search for image classification",
        "dataset": "digits",
        "dataset size": digits().description,
        "model": "convolutional network of three blocks, each with its own layers",
        "reward": f"accuracy times (latency / target) to the power of {exponent}",
    }
    config = StudyConfig(space(), "reward", "maximize", metadata)
    return System(
        "factorized-hierarchy",
        config,
        partial(measure, latency=latency, exponent=exponent),
        lambda config, trials: RecurrentController(config),
        {"reference": reference()},
    )


def space() -> SearchSpace:
    """Seven choices for each of the three blocks."""
    parameters: dict[str, Parameter] = {}
    for block in range(1, len(FILTERS) + 1):
        operation = f"block{block}.operation"
        parameters |= {
            operation: Categorical(
                ["convolution", "separable", "inverted bottleneck"], description="kind of layer"
            ),
            f"block{block}.kernel": Ordinal([3, 5], description="kernel size"),
            f"block{block}.expansion": Ordinal(
                [2, 3, 6],
                when={operation: ["inverted bottleneck"]},
                description="how much wider the layer is inside",
            ),
            f"block{block}.attention": Ordinal(
                [0.0, 0.25, 0.5], description="squeeze-and-excitation ratio, 0 for none"
            ),
            f"block{block}.skip": Categorical(
                ["none", "identity", "pool"], description="what goes around a layer"
            ),
            f"block{block}.filters": Ordinal(
                [0.5, 0.75, 1.0, 1.5], description="channels relative to the block's standard"
            ),
            f"block{block}.layers": Ordinal([1, 2, 3], description="number of equal layers"),
        }
    return SearchSpace(parameters)


def reference() -> dict[str, Value]:
    """The hand-made network whose latency is the target: one inverted bottleneck a block."""
    chosen: dict[str, Value] = {}
    for block in range(1, len(FILTERS) + 1):
        chosen |= {
            f"block{block}.operation": "inverted bottleneck",
            f"block{block}.kernel": 3,
            f"block{block}.expansion": 3,
            f"block{block}.attention": 0.0,
            f"block{block}.skip": "identity",
            f"block{block}.filters": 1.0,
            f"block{block}.layers": 1,
        }
    return chosen


def measure(
    params: Mapping[str, Value], *, latency: Latency, exponent: float, recipe: Recipe | None = None
) -> dict[str, float]:
    """Train a point's network; `reward`, `accuracy`, `cost` and `target` (ms or operations)."""
    images = digits()
    network = train(lambda: build(params), images, recipe or Recipe())
    share = accuracy(network, images.validation, images.validation_classes)
    if latency == "measured":
        cost, target = measure_latencies([network, _reference_network()], images.size)
    else:
        cost = count_flops(network, images.size)
        target = count_flops(_reference_network(), images.size)
    reward = cost_aware_reward(share, cost, target, exponent)
    return {"reward": reward, "accuracy": share, "cost": cost, "target": target}


def build(params: Mapping[str, Value]) -> nn.Module:
    """The network of a point."""
    layers: list[nn.Module] = [convolution(1, STEM, 3)]
    width = STEM
    for block, (filters, stride) in enumerate(zip(FILTERS, STRIDES, strict=True), start=1):
        chosen = {name: params.get(f"block{block}.{name}") for name in _CHOICES}
        outputs = round(filters * params[f"block{block}.filters"])
        for layer in range(params[f"block{block}.layers"]):
            layers.append(_Layer(width, outputs, stride if layer == 0 else 1, chosen))
            width = outputs
    return nn.Sequential(*layers, classifier(width))


_CHOICES = ("operation", "kernel", "expansion", "attention", "skip", "filters", "layers")


class _Layer(nn.Module):
    """One layer of a block, with attention and what goes around it."""

    def __init__(self, inputs: int, outputs: int, stride: int, chosen: Mapping[str, Value]) -> None:
        super().__init__()
        kernel = chosen["kernel"]
        body: list[nn.Module] = []
        if chosen["operation"] == "convolution":
            body.append(convolution(inputs, outputs, kernel, stride=stride))
        elif chosen["operation"] == "separable":
            body.append(separable(inputs, outputs, kernel, stride=stride))
        else:
            body.append(
                inverted_bottleneck(
                    inputs, outputs, kernel, stride=stride, expansion=chosen["expansion"]
                )
            )
        if chosen["attention"]:
            body.append(SqueezeExcite(outputs, chosen["attention"]))
        self.body = nn.Sequential(*body)
        self.stride = stride
        self.skip = chosen["skip"] if inputs == outputs else "none"
        if self.skip == "identity" and stride > 1:
            self.skip = "none"  # nothing of the same size to add

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.body(inputs)
        if self.skip == "identity":
            return outputs + inputs
        if self.skip == "pool":
            return outputs + F.avg_pool2d(inputs, 3, self.stride, 1)
        return outputs


@cache
def _reference_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return build(reference()).eval()
